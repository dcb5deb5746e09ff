#include "tenrec/optim/closure.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/tape.h"

namespace tenrec {
namespace {

// Whether a pass has freed what the loss's node had saved.
bool went_backward(const Tensor& loss) {
  const detail::Node* node = detail::node_of(loss);
  return node && node->released;
}

void check_value(const char* name, const Tensor& y) {
  if (!y.defined()) fail<ValueError>(name, ": the closure returned an undefined tensor");
  if (!is_floating(y.dtype())) fail<DTypeError>(name, ": the closure returned ", y.dtype(), ", not a floating tensor");
  if (!y.requires_grad())
    fail<AutogradError>(name, ": what the closure returned is not on the tape: it does not depend on a parameter that ",
                        "requires grad, or was detached");
}

void check_loss(const char* name, const Tensor& loss) {
  check_value(name, loss);
  if (loss.numel() != 1)
    fail<ShapeError>(name, ": the closure must return a loss of one element, it returned shape ", loss.shape());
}

}  // namespace

ClosureOptimizer::ClosureOptimizer(const char* name, const std::vector<Tensor>& params) : name_(name), params_(params) {
  if (params.empty()) fail<ValueError>(name, ": there are no parameters");
  std::unordered_set<const void*> known;
  for (const Tensor& p : params) {
    if (!p.defined() || !p.is_leaf() || !is_floating(p.dtype()))
      fail<ValueError>(name, ": parameters must be floating leaves");
    if (!p.requires_grad()) fail<ValueError>(name, ": a parameter of shape ", p.shape(), " does not require grad");
    if (!p.is_contiguous()) fail<ValueError>(name, ": a parameter of shape ", p.shape(), " is not contiguous");
    if (!known.insert(p.raw()).second) fail<ValueError>(name, ": a parameter of shape ", p.shape(), " is given twice");
    if (p.device() != params[0].device())
      fail<DeviceError>(name, ": parameters on ", params[0].device(), " and on ", p.device());
  }
}

StepResult ClosureOptimizer::step(const Closure& closure) {
  const Tensor before = point();
  evaluations_ = 0;
  try {
    StepResult result = advance(closure);
    result.evaluations = evaluations_;
    return result;
  } catch (...) {
    move_to(before);
    throw;
  }
}

void ClosureOptimizer::zero_grad() {
  for (Tensor& p : params_) p.set_grad({});
}

bool ClosureOptimizer::Evaluation::finite() const { return std::isfinite(value) && std::isfinite(largest); }

ClosureOptimizer::Evaluation ClosureOptimizer::evaluate(const Closure& closure) {
  const EnableGrad recording;
  ++evaluations_;
  const Tensor loss = closure();
  check_loss(name_, loss);
  std::vector<Tensor> gradients;
  if (went_backward(loss)) {
    for (const Tensor& p : params_) gradients.push_back(p.grad().defined() ? p.grad() : zeros_like(p));
  } else {
    gradients = detail::gradients_or_zeros(loss, params_, {}, false, false);
  }
  Evaluation found{.value = loss.item<double>(), .gradient = flat(gradients)};
  found.largest = detail::max_abs(found.gradient);
  return found;
}

double ClosureOptimizer::value_of(const Closure& closure) {
  const EnableGrad recording;
  ++evaluations_;
  const Tensor loss = closure();
  check_loss(name_, loss);
  return loss.item<double>();
}

Closure ClosureOptimizer::checked(const Closure& closure, Returns what) {
  return [this, &closure, what] {
    ++evaluations_;
    Tensor y = closure();
    what == Returns::loss ? check_loss(name_, y) : check_value(name_, y);
    if (went_backward(y))
      fail<AutogradError>(name_, ": the closure went backward and so freed the graph that this method differentiates; ",
                          "return what it computes without backward");
    return y;
  };
}

Tensor ClosureOptimizer::flat(const std::vector<Tensor>& tensors) const {
  const NoGrad off;
  const bool wide = std::ranges::any_of(params_, [](const Tensor& p) { return p.dtype() == f64; });
  std::vector<Tensor> parts;
  for (const Tensor& x : tensors) parts.push_back(reshape(x.detach(), {x.numel()}).to(wide ? f64 : f32));
  return parts.size() == 1 ? clone(parts[0]) : cat(parts);
}

Tensor ClosureOptimizer::point() const { return flat(params_); }

void ClosureOptimizer::move_to(const Tensor& point) {
  const NoGrad off;
  vector_to_parameters(point, params_);
}

int64_t ClosureOptimizer::size() const {
  int64_t n = 0;
  for (const Tensor& p : params_) n += p.numel();
  return n;
}

StepResult minimize(ClosureOptimizer& optimizer, const Closure& closure, const MinimizeOptions& options) {
  if (options.max_steps < 1) fail<ValueError>("minimize: max_steps must be at least 1, got ", options.max_steps);
  StepResult total = optimizer.step(closure);
  for (int64_t i = 1; i < options.max_steps && total.status == StepStatus::moved; ++i) {
    StepResult last = optimizer.step(closure);
    last.first_loss = total.first_loss;
    last.iterations += total.iterations;
    last.evaluations += total.evaluations;
    total = std::move(last);
  }
  return total;
}

namespace detail {

size_t SavedState::find(const std::string& name) const {
  for (size_t i = 0; i < entries_->size(); ++i)
    if ((*entries_)[i].name == name) return i;
  return entries_->size();
}

bool SavedState::has(const std::string& name) const { return find(name) < entries_->size(); }

double SavedState::number(const std::string& name) {
  const size_t i = find(name);
  if (i == entries_->size()) fail<ValueError>(optimizer_, ": the saved state has no ", name);
  used_[i] = true;
  return (*entries_)[i].tensor.item<double>();
}

Tensor SavedState::tensor(const std::string& name, const Shape& shape) {
  const size_t i = find(name);
  if (i == entries_->size()) return {};
  used_[i] = true;
  const Tensor& saved = (*entries_)[i].tensor;
  if (saved.shape() != shape)
    fail<ShapeError>(optimizer_, ": saved ", name, " has shape ", saved.shape(), ", not ", shape);
  const NoGrad off;
  return clone(saved);
}

void SavedState::finish() const {
  for (size_t i = 0; i < used_.size(); ++i)
    if (!used_[i]) fail<ValueError>(optimizer_, ": the saved state has ", (*entries_)[i].name, ", which is unknown");
}

NamedTensor saved_number(const char* name, double value) { return {name, scalar(value, {.dtype = f64})}; }

double dot(const Tensor& a, const Tensor& b) { return sum(a * b).item<double>(); }

double max_abs(const Tensor& x) { return x.numel() == 0 ? 0 : amax(abs(x)).item<double>(); }

}  // namespace detail

}  // namespace tenrec
