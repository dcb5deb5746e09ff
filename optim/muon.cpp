#include "tenrec/optim/muon.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/core/step_graph.h"
#include "tenrec/core/view.h"

namespace tenrec {

using detail::check_option;

namespace {

// x in the nearest orthogonal matrix's place: the quintic Newton-Schulz iteration.
Tensor orthogonalized(const Tensor& direction, const MuonOptions& o) {
  const Autocast as_it_is(false);
  const auto [a, b, c] = o.ns_coefficients;
  const bool tall = direction.shape()[0] > direction.shape()[1];  // A is the smaller of the two products
  Tensor x = direction.to(o.ns_dtype);
  if (tall) x = t(x);
  x = x / clamp(norm(x), o.eps, {});
  for (int64_t step = 0; step < o.ns_steps; ++step) {
    const Tensor gram = matmul(x, t(x));
    const Tensor polynomial = gram * b, next = x * a;
    add_(polynomial, matmul(gram, gram), c);
    add_(next, matmul(polynomial, x));
    x = next;
  }
  return contiguous((tall ? t(x) : x).to(direction.dtype()));
}

double adjusted(MuonAdjustLr how, const Shape& shape) {
  const auto rows = double(shape[0]), cols = double(shape[1]);
  if (rows == 0 || cols == 0) return 1;
  switch (how) {
    case MuonAdjustLr::original:
      return std::sqrt(std::max(1.0, rows / cols));
    case MuonAdjustLr::match_rms_adamw:
      return 0.2 * std::sqrt(std::max(rows, cols));
    case MuonAdjustLr::spectral_unclamped:
      return std::sqrt(rows / cols);
  }
  fail<ValueError>("Muon: adjust_lr_fn has no value ", int(how));
}

}  // namespace

Muon::Muon(const std::vector<Tensor>& params, const MuonOptions& options)
    : Muon(std::vector<Group>{{params, options}}) {}
Muon::Muon(const std::vector<Group>& groups) : GroupedOptimizer({"momentum"}) {
  for (const auto& [params, options] : groups) add_group(params, options);
}

void Muon::check_options(const MuonOptions& o) const {
  check_option(o.lr >= 0, "Muon", "lr must not be negative", o.lr);
  check_option(o.weight_decay >= 0, "Muon", "weight_decay must not be negative", o.weight_decay);
  check_option(o.momentum >= 0 && o.momentum < 1, "Muon", "momentum must lie in [0, 1)", o.momentum);
  check_option(o.eps >= 0, "Muon", "eps must not be negative", o.eps);
  check_option(o.ns_steps >= 0 && o.ns_steps < 100, "Muon", "ns_steps must lie in [0, 100)", double(o.ns_steps));
  if (!is_floating(o.ns_dtype)) fail<DTypeError>("Muon: ns_dtype must be floating, got ", o.ns_dtype);
}

void Muon::check_parameters(const std::vector<Tensor>& params) const {
  for (const Tensor& p : params)
    if (p.defined() && p.ndim() != 2)
      fail<ValueError>("Muon: a parameter of shape ", p.shape(),
                       " is not a matrix; Muon is for the weights of hidden layers, give this one to AdamW");
}

void Muon::update() {
  for (size_t g = 0; g < options_.size(); ++g)
    for_each_batch(g, {0}, 0, [&](const Batch& batch) { move(batch, options_[g]); });
}

void Muon::move(const Batch& batch, const MuonOptions& o) {
  std::vector<Tensor> directions(batch.slots.size());
  std::vector<kernels::OptimTensor> tensors(batch.tensors.begin(), batch.tensors.end());
  cuda::detail::fixed_on_replay([&] {
    for (size_t i = 0; i < directions.size(); ++i)
      directions[i] = empty(batch.slots[i]->param.shape(), {.dtype = batch.dtype, .device = batch.device});
  });
  dispatch("Muon", batch.device, [&](auto device) {
    for (size_t i = 0; i < directions.size(); ++i)
      tensors[i].param = directions[i].defined() ? view(directions[i]).data : nullptr;
    kernels::muon_momentum(device, batch.dtype, tensors, {o.momentum, o.nesterov});
  });
  for (size_t i = 0; i < directions.size(); ++i) {
    const kernels::DescentStep step{o.lr * adjusted(o.adjust_lr_fn, batch.slots[i]->param.shape()),
                                    1 - o.lr * o.weight_decay};
    kernels::OptimTensor entry{.param = batch.tensors[i].param, .numel = batch.tensors[i].numel};
    cuda::detail::fixed_on_replay([&] { directions[i] = orthogonalized(directions[i], o); });
    dispatch("Muon", batch.device, [&](auto device) {
      entry.grad = directions[i].defined() ? view(directions[i]).data : nullptr;
      kernels::descent_step(device, batch.dtype, {&entry, 1}, step);
    });
  }
}

}  // namespace tenrec
