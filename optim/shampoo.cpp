#include "tenrec/optim/shampoo.h"

#include <cmath>
#include <unordered_map>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/core/view.h"

namespace tenrec {

using detail::check_option;

namespace {

// What is computed with for a parameter, a number as a vector of one.
Tensor widened(const Tensor& x) {
  const Tensor wide = x.to(x.dtype() == f64 ? f64 : f32);
  return wide.ndim() == 0 ? reshape(wide, {1}) : wide;
}

// [size of dim, rest]
Tensor unfolded(const Tensor& x, int64_t dim) {
  return reshape(movedim(x, dim, 0), {x.shape()[dim], x.numel() / x.shape()[dim]});
}

// x multiplied by a matrix along one dimension.
Tensor along(const Tensor& matrix, const Tensor& x, int64_t dim) {
  const Tensor moved = movedim(x, dim, 0);
  return movedim(reshape(matmul(matrix, unfolded(x, dim)), moved.shape()), 0, dim);
}

// (h + eps I)^(-1 / order) of a symmetric h without negative eigenvalues but for rounding.
Tensor inverse_root(const Tensor& h, double eps, int64_t order) {
  const auto [values, vectors] = eigh(h.to(f64));
  const Tensor powers = pow(clamp_min(values, 0) + eps, -1 / double(order));
  return matmul(vectors * powers, t(vectors)).to(h.dtype());
}

// direction, as long as `like`; 0 stays 0.
Tensor with_length_of(const Tensor& direction, const Tensor& like) {
  return direction * (norm(like) / clamp_min(norm(direction), direction.dtype() == f64 ? 1e-300 : 1e-30));
}

}  // namespace

Shampoo::Shampoo(const std::vector<Tensor>& params, const ShampooOptions& options)
    : Shampoo(std::vector<Group>{{params, options}}) {}
Shampoo::Shampoo(const std::vector<Group>& groups) : GroupedOptimizer({"momentum", "square"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Shampoo::check_options(const ShampooOptions& o) const {
  check_option(o.lr >= 0, "Shampoo", "lr must not be negative", o.lr);
  check_option(o.momentum >= 0 && o.momentum < 1, "Shampoo", "momentum must lie in [0, 1)", o.momentum);
  check_option(o.weight_decay >= 0, "Shampoo", "weight_decay must not be negative", o.weight_decay);
  check_option(o.eps > 0, "Shampoo", "eps must be positive", o.eps);
  check_option(o.beta >= 0 && o.beta <= 1, "Shampoo", "beta must lie in [0, 1]", o.beta);
  check_option(o.update_interval > 0, "Shampoo", "update_interval must be positive", double(o.update_interval));
  check_option(o.max_size >= 0, "Shampoo", "max_size must not be negative", double(o.max_size));
  check_option(o.graft_beta2 >= 0 && o.graft_beta2 < 1, "Shampoo", "graft_beta2 must lie in [0, 1)", o.graft_beta2);
  check_option(o.graft_eps >= 0, "Shampoo", "graft_eps must not be negative", o.graft_eps);
}

void Shampoo::update() {
  const NoGrad off;
  const Autocast as_it_is(false);
  check_gradients();
  // All preconditioners first: what cannot be computed then leaves everything as it was.
  std::vector<std::vector<Side>> next = sides_;
  next.resize(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].param.grad().defined()) next[i] = advanced(slots_[i], std::move(next[i]));
  sides_ = std::move(next);
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].param.grad().defined()) move(slots_[i], sides_[i]);
}

void Shampoo::check_gradients() {
  Tensor finite;
  for (const Slot& slot : slots_) {
    const Tensor grad = slot.param.grad();
    if (!grad.defined()) continue;
    const Tensor here = all(isfinite(grad));
    finite = finite.defined() ? logical_and(finite, here.to(finite.device())) : here;
  }
  if (finite.defined() && !finite.item<bool>())
    fail<NumericError>("Shampoo: a gradient is not finite; the step was not made");
}

std::vector<Shampoo::Side> Shampoo::sides_of(const Slot& slot) const {
  std::vector<Side> sides;
  const Shape& shape = slot.param.shape();
  for (int64_t dim = 0; dim < shape.ndim() && slot.param.numel() > 0; ++dim)
    if (shape[dim] <= options_[slot.group].max_size) sides.push_back({dim, {}, {}});
  return sides;
}

std::vector<Shampoo::Side> Shampoo::advanced(const Slot& slot, std::vector<Side> sides) const {
  const ShampooOptions& o = options_[slot.group];
  if (sides.empty()) sides = sides_of(slot);
  const Tensor grad = widened(slot.param.grad());
  for (Side& side : sides) {
    const Tensor g = unfolded(grad, side.dim), gram = matmul(g, t(g));
    const Tensor share = o.beta == 1 ? gram : gram * (1 - o.beta);
    if (side.sum.defined()) side.sum = side.sum.to(grad.device()).to(grad.dtype());  // the model may have been moved
    side.sum = side.sum.defined() ? side.sum * o.beta + share : share;
    if (!side.root.defined() || slot.steps % o.update_interval == 0)
      side.root = inverse_root(side.sum, o.eps, 2 * int64_t(sides.size()));
    side.root = side.root.to(grad.device()).to(grad.dtype());
  }
  return sides;
}

void Shampoo::move(Slot& slot, const std::vector<Side>& sides) {
  const ShampooOptions& o = options_[slot.group];
  ++slot.steps;
  const Tensor grad = widened(slot.param.grad());
  Tensor direction = grad;
  for (const Side& side : sides) direction = along(side.root, direction, side.dim);
  if (o.grafting == Grafting::sgd) direction = with_length_of(direction, grad);
  if (o.grafting == Grafting::adam) {
    ensure_state(slot, 1);
    slot.state[1] = slot.state[1] * o.graft_beta2 + reshape(grad * grad, slot.param.shape()) * (1 - o.graft_beta2);
    const double bias = 1 - std::pow(o.graft_beta2, double(slot.steps));
    const Tensor step = grad / (sqrt(reshape(slot.state[1], grad.shape()) * (1 / bias)) + o.graft_eps);
    direction = with_length_of(direction, step);
  }
  direction = reshape(direction, slot.param.shape());
  if (o.momentum != 0) {
    ensure_state(slot, 0);
    direction = slot.state[0] = slot.state[0] * o.momentum + direction;
  }
  const Tensor step = contiguous(direction.to(slot.param.dtype()));
  dispatch("Shampoo", slot.param.device(), [&](auto device) {
    const kernels::OptimTensor entry{
        .param = view(slot.param).data, .grad = view(step).data, .numel = slot.param.numel()};
    kernels::descent_step(device, slot.param.dtype(), {&entry, 1}, {o.lr, 1 - o.lr * o.weight_decay});
  });
  detail::bump_version(slot.param);
}

std::vector<NamedTensor> Shampoo::state_dict() const {
  std::vector<NamedTensor> out = Optimizer::state_dict();
  for (size_t i = 0; i < sides_.size(); ++i)
    for (const Side& side : sides_[i]) {
      out.push_back({concat(i, ".sum", side.dim), side.sum});
      out.push_back({concat(i, ".root", side.dim), side.root});
    }
  return out;
}

void Shampoo::load_state_dict(const std::vector<NamedTensor>& state) {
  std::unordered_map<std::string, Tensor> given;
  for (const NamedTensor& entry : state) given.emplace(entry.name, entry.tensor);
  const NoGrad off;
  const auto take = [&](const std::string& name, int64_t size) {
    const auto it = given.find(name);
    if (it == given.end()) fail<ValueError>("Shampoo: the saved state has no ", name);
    const Tensor tensor = it->second;
    if (tensor.shape() != Shape{size, size})
      fail<ShapeError>("Shampoo: saved ", name, " has shape ", tensor.shape(), ", expected ", Shape{size, size});
    given.erase(it);
    return clone(tensor);
  };
  std::vector<std::vector<Side>> loaded(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    std::vector<Side> sides = sides_of(slots_[i]);
    if (sides.empty() || !given.contains(concat(i, ".sum", sides[0].dim))) continue;
    for (Side& side : sides) {
      side.sum = take(concat(i, ".sum", side.dim), slots_[i].param.shape()[side.dim]);
      side.root = take(concat(i, ".root", side.dim), slots_[i].param.shape()[side.dim]);
    }
    loaded[i] = std::move(sides);
  }
  std::vector<NamedTensor> rest;  // which the base class wants complete
  for (const NamedTensor& entry : state)
    if (given.contains(entry.name)) rest.push_back(entry);
  Optimizer::load_state_dict(rest);
  sides_ = std::move(loaded);
}

}  // namespace tenrec
