#include "tenrec/optim/lbfgs.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/optim/line_search.h"
#include "tenrec/optim/optimizer.h"

namespace tenrec {

using detail::dot, detail::max_abs;

LBFGS::LBFGS(const std::vector<Tensor>& params, const LBFGSOptions& options)
    : ClosureOptimizer("LBFGS", params), options_(options) {
  detail::check_option(options.lr > 0, name_, "lr must be positive", options.lr);
  detail::check_option(options.max_iter >= 1, name_, "max_iter must be at least 1", double(options.max_iter));
  detail::check_option(options.max_eval >= 0, name_, "max_eval must not be negative", double(options.max_eval));
  detail::check_option(options.history_size >= 1, name_, "history_size must be at least 1",
                       double(options.history_size));
  detail::check_option(options.tolerance_grad >= 0, name_, "tolerance_grad must not be negative",
                       options.tolerance_grad);
  detail::check_option(options.tolerance_change >= 0, name_, "tolerance_change must not be negative",
                       options.tolerance_change);
}

// Takes the last change of the gradient into the history if the curvature along it is positive, and returns minus the
// inverse Hessian's estimate times the gradient, by the two-loop recursion.
Tensor LBFGS::direction(State& s, const Tensor& gradient) const {
  if (s.iterations == 1) return -gradient;
  const Tensor change = gradient - s.gradient, step = s.direction * s.step;
  const double curvature = dot(change, step);
  if (curvature > 1e-10) {
    if (int64_t(s.changes.size()) >= options_.history_size) {
      s.changes.erase(s.changes.begin());
      s.steps.erase(s.steps.begin());
    }
    s.changes.push_back(change);
    s.steps.push_back(step);
    s.scale = curvature / dot(change, change);
  }
  Tensor q = -gradient;
  std::vector<double> rho(s.steps.size()), alpha(s.steps.size());
  for (size_t i = s.steps.size(); i-- > 0;) {
    rho[i] = 1 / dot(s.changes[i], s.steps[i]);
    alpha[i] = rho[i] * dot(s.steps[i], q);
    q = q - s.changes[i] * alpha[i];
  }
  q = q * s.scale;
  for (size_t i = 0; i < s.steps.size(); ++i) q = q + s.steps[i] * (alpha[i] - rho[i] * dot(s.changes[i], q));
  return q;
}

bool LBFGS::move(const Closure& closure, State& s, Evaluation& now, double slope, int64_t evaluations) {
  const Tensor from = point();
  const auto at = [&](double t) {
    move_to(from + s.direction * t);
    const Evaluation found = evaluate(closure);
    const NoGrad off;
    return LinePoint{t, found.value, dot(found.gradient, s.direction), found.gradient, found.largest};
  };
  LinePoint best;
  bool finite = true;
  if (options_.line_search == LineSearch::strong_wolfe) {
    const LinePoint start{0, now.value, slope, now.gradient, now.largest};
    const LineSearchResult found =
        strong_wolfe(at, start, s.step, max_abs(s.direction), {.max_iterations = evaluations});
    best = found.point;
    finite = found.finite;
  } else {
    best = at(s.step);
    finite = std::isfinite(best.value) && std::isfinite(best.largest);
    if (!finite) best.t = 0;
  }
  move_to(best.t == 0 ? from : from + s.direction * best.t);
  if (!finite) return false;
  s.step = best.t;
  now = {.value = best.value, .gradient = best.gradient, .largest = best.largest};
  return true;
}

StepResult LBFGS::advance(const Closure& closure) {
  const NoGrad off;
  State s = state_;
  Evaluation now = evaluate(closure);
  StepResult result{.loss = now.value, .first_loss = now.value, .gradient_norm = now.largest};
  const auto stop = [&](StepStatus status, const char* why) {
    result.status = status;
    result.message = why;
    return true;
  };
  if (!now.finite()) {
    stop(StepStatus::nonfinite, "LBFGS: the loss or its gradient is not finite where the step begins");
    return result;
  }
  if (now.largest <= options_.tolerance_grad) {
    stop(StepStatus::converged, "LBFGS: the gradient is within tolerance_grad");
    return result;
  }
  const int64_t most = options_.max_eval > 0 ? options_.max_eval : options_.max_iter * 5 / 4;
  for (bool done = false; !done;) {
    ++s.iterations;
    ++result.iterations;
    s.direction = direction(s, now.gradient);
    s.gradient = now.gradient;
    const double before = now.value, slope = dot(now.gradient, s.direction);
    s.step = options_.lr * (s.iterations == 1 ? std::min(1.0, 1 / sum(abs(now.gradient)).item<double>()) : 1);
    if (slope > -options_.tolerance_change) {
      done = stop(StepStatus::converged, "LBFGS: the slope along the direction is within tolerance_change");
      s.step = 0;  // nothing was moved
    } else if (!move(closure, s, now, slope, most - evaluations_)) {
      s = State();  // what led to here is worth nothing
      done = stop(StepStatus::nonfinite, "LBFGS: a step would make the loss or its gradient not finite");
    } else if (now.largest <= options_.tolerance_grad) {
      done = stop(StepStatus::converged, "LBFGS: the gradient is within tolerance_grad");
    } else if (max_abs(s.direction) * std::abs(s.step) <= options_.tolerance_change) {
      done = stop(s.step == 0 ? StepStatus::no_progress : StepStatus::converged,
                  "LBFGS: no parameter changes by more than tolerance_change");
    } else if (std::abs(now.value - before) < options_.tolerance_change) {
      done = stop(StepStatus::converged, "LBFGS: the loss changes by less than tolerance_change");
    } else {
      done = result.iterations >= options_.max_iter || evaluations_ >= most;
    }
  }
  result.loss = now.value;
  result.gradient_norm = now.largest;
  state_ = std::move(s);
  return result;
}

std::vector<NamedTensor> LBFGS::state_dict() const {
  std::vector<NamedTensor> out{detail::saved_number("iterations", double(state_.iterations)),
                               detail::saved_number("step", state_.step), detail::saved_number("scale", state_.scale),
                               detail::saved_number("history", double(state_.steps.size()))};
  if (state_.iterations == 0) return out;
  out.push_back({"direction", state_.direction});
  out.push_back({"gradient", state_.gradient});
  if (state_.steps.empty()) return out;
  out.push_back({"changes", stack(state_.changes)});
  out.push_back({"steps", stack(state_.steps)});
  return out;
}

void LBFGS::load_state_dict(const std::vector<NamedTensor>& state) {
  detail::SavedState saved(name_, state);
  State s{
      .iterations = int64_t(saved.number("iterations")), .step = saved.number("step"), .scale = saved.number("scale")};
  const int64_t count = int64_t(saved.number("history")), n = size();
  s.direction = saved.tensor("direction", {n});
  s.gradient = saved.tensor("gradient", {n});
  const Tensor changes = saved.tensor("changes", {count, n}), steps = saved.tensor("steps", {count, n});
  const bool whole = s.direction.defined() == (s.iterations > 0) && s.gradient.defined() == (s.iterations > 0) &&
                     changes.defined() == (count > 0) && steps.defined() == (count > 0);
  if (!whole) fail<ValueError>("LBFGS: the saved state is not complete");
  for (int64_t i = 0; i < count; ++i) {
    s.changes.push_back(clone(changes[i]));
    s.steps.push_back(clone(steps[i]));
  }
  saved.finish();
  state_ = std::move(s);
}

}  // namespace tenrec
