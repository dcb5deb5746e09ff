// The adjoint method: gradients of the solution of an equation by solving another one backwards.
#include <unordered_set>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/odeint.h"
#include "tenrec/autograd/odeint_impl.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/tape.h"

namespace tenrec {
namespace {

constexpr const char* kOp = "odeint_adjoint";
constexpr size_t kParams = 2;  // the node's inputs are y0, ts and then the parameters

// Those that want a gradient, each once.
std::vector<Tensor> trainable(const std::vector<Tensor>& params) {
  std::vector<Tensor> out;
  std::unordered_set<const void*> seen;
  for (const Tensor& p : params)
    if (p.requires_grad() && seen.insert(p.raw()).second) out.push_back(p);
  return out;
}

// Goes through what made `slope`: a gradient that nobody would get is an error and not a surprise.
void check_listed(const Tensor& slope, const std::vector<Tensor>& params) {
  std::unordered_set<const void*> known, seen;
  for (const Tensor& p : params) {
    known.insert(p.raw());
    if (detail::Node* node = detail::node_of(p)) known.insert(node);
  }
  const auto fail_unlisted = [](const Shape& shape) {
    fail<AutogradError>(kOp, ": f uses a tensor of shape ", shape,
                        " that requires grad and is not in params; list it, or detach it");
  };
  if (!slope.requires_grad() || known.contains(slope.raw())) return;
  if (slope.is_leaf()) fail_unlisted(slope.shape());
  std::vector<const detail::Node*> open{detail::node_of(slope)};
  while (!open.empty()) {
    const detail::Node* node = open.back();
    open.pop_back();
    if (known.contains(node) || !seen.insert(node).second) continue;
    for (uint16_t i = 0; i < node->inputs; ++i) {
      const detail::Edge& edge = node->edges[i];
      if (edge.leaf && !known.contains(edge.leaf)) fail_unlisted(edge.leaf->shape);
      if (edge.node) open.push_back(edge.node);
    }
  }
}

struct Problem {
  OdeFunction f;
  OdeOptions options;
  // A pass runs with autocast off; f is called again as it was.
  DType autocast = autocast_dtype();
  bool autocast_enabled = is_autocast_enabled();
};

// Solves for (y, a, g): the state, a = d loss / d y, and the gradients of the parameters.
class AdjointPass {
 public:
  AdjointPass(const Problem& problem, const Saved& saved, Needs needs)
      : problem_(problem), saved_(saved), needs_(needs), ys_(saved.output()), times_(saved.input(1)) {
    for (size_t i = kParams; i < saved.node().inputs; ++i)
      if (needs[i]) params_.push_back(saved.input(int(i)));
  }

  Grads run(const Tensor& dy) {
    const std::vector<double> ts = times_.to_vector<double>();
    const size_t n = ts.size();
    std::vector<Tensor> time_grads(n);
    detail::OdeState state{ys_[0], zeros_like(ys_[0])};
    for (size_t i = 0; i < params_.size(); ++i) state.push_back(zeros(params_[i].shape(), like()));
    for (size_t i = n - 1; i > 0; --i) {
      const Tensor y = ys_[int64_t(i)], cotangent = dy[int64_t(i)];
      if (needs_[1]) time_grads[i] = sum(cotangent * slope(ts[i], y));
      state[0] = y;
      state[1] = state[1] + cotangent;
      const auto rhs = [&](const Tensor& t, const detail::OdeState& s) { return derivative(t, s); };
      state = detail::solve_ode(kOp, rhs, state, {{ts[i], ts[i - 1]}, {}}, problem_.options).back();
    }
    // y0 is what it is whenever the equation starts; all that comes after it moves.
    if (needs_[1]) time_grads[0] = -sum(state[1] * slope(ts[0], ys_[0]));
    return collect(state, dy, time_grads);
  }

 private:
  TensorOptions like() const { return {.dtype = ys_.dtype(), .device = ys_.device()}; }

  Tensor slope(double t, const Tensor& y) const {
    const Autocast scope(problem_.autocast, problem_.autocast_enabled);
    return detail::call_ode(kOp, problem_.f, scalar(t, like()), y);
  }

  // y' = f, a' = -a df/dy, g' = -a df/dp.
  detail::OdeState derivative(const Tensor& t, const detail::OdeState& state) const {
    const EnableGrad recording;
    std::vector<Tensor> xs{state[0].detach().set_requires_grad(true)};
    xs.insert(xs.end(), params_.begin(), params_.end());
    Tensor slope;
    {
      const Autocast scope(problem_.autocast, problem_.autocast_enabled);
      slope = detail::call_ode(kOp, problem_.f, t, xs[0]);
    }
    std::vector<Tensor> grads(xs.size());
    if (slope.requires_grad()) grads = detail::grad_up_to({&slope, 1}, xs, {&state[1], 1}, false);
    const NoGrad off;
    detail::OdeState out{slope.detach()};
    for (size_t i = 0; i < xs.size(); ++i)
      out.push_back(grads[i].defined() ? -grads[i].to(ys_.dtype()) : zeros(xs[i].shape(), like()));
    return out;
  }

  Grads collect(const detail::OdeState& state, const Tensor& dy, const std::vector<Tensor>& time_grads) const {
    std::vector<Tensor> grads(saved_.node().inputs);
    if (needs_[0]) grads[0] = state[1] + dy[0];
    if (needs_[1]) grads[1] = stack(time_grads).to(times_.device());
    size_t next = kParams;
    for (size_t i = kParams; i < grads.size(); ++i)
      if (needs_[i]) grads[i] = state[next++];
    return Grads(std::move(grads));
  }

  const Problem& problem_;
  const Saved& saved_;
  Needs needs_;
  Tensor ys_, times_;
  std::vector<Tensor> params_;
};

// The gradient through the steps, on the tape: it has derivatives of its own.
Grads gradient_through_steps(const Problem& problem, const Saved& saved, const Tensor& dy, Needs needs) {
  const Autocast scope(problem.autocast, problem.autocast_enabled);
  // Aliases, so that the pass stops here and not in the graph behind y0 and ts.
  const Tensor y0 = alias(saved.input(0)), ts = alias(saved.input(1));
  std::vector<Tensor> xs;
  for (size_t i = 0; i < saved.node().inputs; ++i)
    if (needs[i]) xs.push_back(i == 0 ? y0 : i == 1 ? ts : saved.input(int(i)));
  const Tensor ys = odeint(problem.f, y0, ts, problem.options);
  const std::vector<Tensor> found = detail::grad_up_to({&ys, 1}, xs, {&dy, 1}, true);
  std::vector<Tensor> grads(saved.node().inputs);
  for (size_t i = 0, next = 0; i < grads.size(); ++i) {
    if (!needs[i]) continue;
    grads[i] = found[next].defined() ? found[next] : zeros_like(xs[next]);
    ++next;
  }
  return Grads(std::move(grads));
}

}  // namespace

Tensor odeint_adjoint(const OdeFunction& f, const Tensor& y0, const Tensor& ts, const std::vector<Tensor>& params,
                      const OdeOptions& options) {
  detail::OdeTimes times = detail::check_ode(kOp, y0, ts, options);
  const std::vector<Tensor> wanted = trainable(params);
  if (grad_enabled()) {
    const Tensor t = scalar(times.host[0], {.dtype = y0.dtype(), .device = y0.device()});
    check_listed(detail::call_ode(kOp, f, t, y0.detach()), wanted);
  }
  times.tensor.clear();
  Tensor ys;
  {
    const NoGrad off;
    ys = detail::odeint_of(kOp, f, y0, times, options);
  }
  std::vector<TensorRef> inputs{y0, ts};
  inputs.insert(inputs.end(), wanted.begin(), wanted.end());
  return record(kOp, std::span<const TensorRef>(inputs), ys, save_both,
                [problem = Problem{f, options}](const Saved& s, const Tensor& dy, Needs needs) {
                  if (grad_enabled()) return gradient_through_steps(problem, s, dy, needs);
                  return AdjointPass(problem, s, needs).run(dy);
                });
}

}  // namespace tenrec
