#include "tenrec/autograd/gradcheck.h"

#include <cmath>

#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/core/random.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/elementwise.h"

namespace tenrec {
namespace {

// Random ops must draw the same numbers in every evaluation.
std::vector<Tensor> evaluate(const MultiFunction& f, std::span<const Tensor> inputs, GeneratorState state) {
  default_generator().set_state(state);
  return f(inputs);
}

// Element `linear`, in row-major order, as a tensor that shares its memory.
Tensor element(const Tensor& x, int64_t linear) {
  int64_t offset = 0;
  for (int64_t d = x.ndim() - 1; d >= 0; --d) {
    offset += linear % x.shape()[d] * x.strides()[d];
    linear /= x.shape()[d];
  }
  return detail::make_view(x.detach(), {}, {}, offset);
}
// Unseen by the tape, which has recorded x.
void set_element(const Tensor& x, int64_t linear, double value) {
  const Tensor place = element(x, linear);
  dispatch("gradcheck", x.device(), [&](auto device) { kernels::fill(device, view(place), value, 0); });
}

std::vector<std::vector<double>> values(const std::vector<Tensor>& ys) {
  std::vector<std::vector<double>> out;
  for (const Tensor& y : ys) out.push_back(is_floating(y.dtype()) ? y.to_vector<double>() : std::vector<double>());
  return out;
}

// Row of the Jacobian: d ys[output][at] / d x for every x.
std::vector<std::vector<double>> analytic_row(const std::vector<Tensor>& ys, size_t output, int64_t at,
                                              const std::vector<Tensor>& xs) {
  std::vector<std::vector<double>> rows;
  std::vector<Tensor> grads(xs.size());
  if (ys[output].requires_grad()) {
    Tensor v = zeros(ys[output].shape(), {.dtype = f64, .device = ys[output].device()});
    set_element(v, at, 1);
    grads = grad(ys[output], xs, {.retain_graph = true, .allow_unused = true, .grad_output = v});
  }
  for (size_t i = 0; i < xs.size(); ++i)
    rows.push_back(grads[i].defined() ? grads[i].to_vector<double>() : std::vector<double>(size_t(xs[i].numel())));
  return rows;
}

}  // namespace

GradcheckResult gradcheck(const MultiFunction& f, const std::vector<Tensor>& given, const GradcheckOptions& options) {
  const GeneratorState state = default_generator().state();
  std::vector<Tensor> inputs, xs;
  for (const Tensor& x : given) {
    if (!x.requires_grad()) {
      inputs.push_back(x);
      continue;
    }
    if (x.dtype() != f64) fail<DTypeError>("gradcheck: inputs that require grad must be f64, got ", x.dtype());
    inputs.push_back(clone(x.detach()).set_requires_grad(true));  // elements that share memory would move together
    xs.push_back(inputs.back());
  }
  GradcheckResult result;
  const EnableGrad recording;
  const std::vector<Tensor> ys = evaluate(f, inputs, state);
  std::vector<std::vector<std::vector<std::vector<double>>>> rows(ys.size());  // [output][element][input][element]
  for (size_t o = 0; o < ys.size(); ++o)
    for (int64_t i = 0; is_floating(ys[o].dtype()) && i < ys[o].numel(); ++i)
      rows[o].push_back(analytic_row(ys, o, i, xs));
  // Outputs off the tape (indices, updated statistics) are constants, unless there is nothing else.
  bool any_on_tape = false;
  for (const Tensor& y : ys) any_on_tape |= y.requires_grad();
  for (size_t k = 0; k < xs.size(); ++k) {
    for (int64_t j = 0; j < xs[k].numel(); ++j) {
      const double before = element(xs[k], j).item<double>();
      const NoGrad off;
      set_element(xs[k], j, before + options.step);
      const auto above = values(evaluate(f, inputs, state));
      set_element(xs[k], j, before - options.step);
      const auto below = values(evaluate(f, inputs, state));
      set_element(xs[k], j, before);
      for (size_t o = 0; o < ys.size(); ++o) {
        if (any_on_tape && !ys[o].requires_grad()) continue;
        for (size_t i = 0; i < above[o].size(); ++i) {
          // Equal values have no slope, even where both are infinite.
          const double numeric = above[o][i] == below[o][i] ? 0 : (above[o][i] - below[o][i]) / (2 * options.step);
          const double analytic = rows[o][i][k][size_t(j)];
          const double error = std::abs(analytic - numeric);
          ++result.checked;
          if (error > result.worst) result.worst = error;
          if (error <= options.atol + options.rtol * std::abs(numeric)) continue;
          if (result.ok)
            result.message = concat("output ", o, " element ", i, " by input ", k, " element ", j, ": analytic ",
                                    analytic, ", numeric ", numeric);
          result.ok = false;
        }
      }
    }
  }
  return result;
}

GradcheckResult gradgradcheck(const MultiFunction& f, const std::vector<Tensor>& given,
                              const GradcheckOptions& options) {
  const GeneratorState state = default_generator().state();
  std::vector<Tensor> inputs = given;
  const std::vector<Tensor> ys = evaluate(f, given, state);
  const size_t n = given.size();
  std::vector<size_t> outputs;
  for (size_t o = 0; o < ys.size(); ++o) {
    if (!ys[o].requires_grad()) continue;
    outputs.push_back(o);
    std::vector<double> cotangent;  // fixed numbers away from 0
    for (int64_t i = 0; i < ys[o].numel(); ++i) cotangent.push_back(0.5 + 0.25 * std::sin(1.0 + double(i)));
    inputs.push_back(from_vector(cotangent, ys[o].shape()).to(ys[o].device()).set_requires_grad(true));
  }
  default_generator().set_state(state);
  if (outputs.empty()) return {};
  const auto first_derivative = [&](std::span<const Tensor> all) {
    const EnableGrad recording;
    std::vector<Tensor> xs, losses, cotangents;
    std::vector<Tensor> arguments(all.begin(), all.begin() + long(n));
    for (Tensor& x : arguments) {
      if (x.requires_grad()) xs.push_back(x = alias(x));
    }
    const std::vector<Tensor> values_now = f(arguments);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!values_now[outputs[i]].requires_grad()) continue;
      losses.push_back(values_now[outputs[i]]);
      cotangents.push_back(all[n + i]);
    }
    std::vector<Tensor> grads = grad(losses, xs, cotangents, {.create_graph = true, .allow_unused = true});
    std::erase_if(grads, [](const Tensor& g) { return !g.defined(); });
    return grads;
  };
  return gradcheck(first_derivative, inputs, options);
}

}  // namespace tenrec
