#include "tenrec/optim/constrained.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/optim/lbfgs.h"
#include "tenrec/optim/optimizer.h"

namespace tenrec {

using detail::dot, detail::max_abs;

Tensor project_onto_box(const Tensor& x, const Tensor& low, const Tensor& high) {
  if (any(gt(low, high)).item<bool>()) fail<ValueError>("project_onto_box: a lower bound is above its upper bound");
  const Tensor y = minimum(maximum(x, low), high);
  if (y.shape() != x.shape())
    fail<ShapeError>("project_onto_box: bounds of shapes ", low.shape(), " and ", high.shape(), " for ", x.shape());
  return y.to(x.dtype());
}

Tensor project_onto_box(const Tensor& x, double low, double high) {
  if (!(low <= high)) fail<ValueError>("project_onto_box: the lower bound ", low, " is above the upper one ", high);
  return clamp(x, low, high);
}

Tensor project_onto_ball(const Tensor& x, double radius, const Tensor& center) {
  if (!(radius >= 0)) fail<ValueError>("project_onto_ball: the radius must not be negative, got ", radius);
  const Tensor offset = center.defined() ? x - center : x;
  if (offset.shape() != x.shape())
    fail<ShapeError>("project_onto_ball: a center of shape ", center.shape(), " for ", x.shape());
  const double distance = norm(offset).item<double>();
  if (!(distance > radius)) return x;
  const Tensor y = offset * (radius / distance);
  return (center.defined() ? y + center : y).to(x.dtype());
}

Tensor project_onto_simplex(const Tensor& x, double total) {
  if (!(total > 0)) fail<ValueError>("project_onto_simplex: the total must be positive, got ", total);
  if (x.ndim() == 0 || x.size(-1) == 0) fail<ShapeError>("project_onto_simplex: no elements in shape ", x.shape());
  const Tensor falling = sort(x, -1, true).values;
  const Tensor counts = arange(1, x.size(-1) + 1, {.dtype = x.dtype(), .device = x.device()});
  const Tensor shift = (cumsum(falling, -1) - total) / counts;  // what would make the first k sum to the total
  // The largest k whose k-th element stays positive.
  const Tensor k = sum(gt(falling, shift), {.dim = -1, .keepdim = true});
  return clamp_min(x - gather(shift, -1, clamp_min(k, 1) - 1), 0);
}

ProjectedGradient::ProjectedGradient(const std::vector<Tensor>& params, const Projection& projection,
                                     const ProjectedGradientOptions& options)
    : ClosureOptimizer("ProjectedGradient", params), projections_(params.size(), projection), options_(options) {
  detail::check_option(options.tolerance >= 0, name_, "tolerance must not be negative", options.tolerance);
  detail::check_option(options.decrease > 0 && options.decrease < 1, name_, "decrease must lie between 0 and 1",
                       options.decrease);
  detail::check_option(options.memory >= 1, name_, "memory must be at least 1", double(options.memory));
}

namespace {

std::vector<Tensor> tensors_of(const std::vector<std::pair<Tensor, Projection>>& params) {
  std::vector<Tensor> out;
  for (const auto& [tensor, projection] : params) out.push_back(tensor);
  return out;
}

}  // namespace

ProjectedGradient::ProjectedGradient(const std::vector<std::pair<Tensor, Projection>>& params,
                                     const ProjectedGradientOptions& options)
    : ProjectedGradient(tensors_of(params), Projection(), options) {
  for (size_t i = 0; i < params.size(); ++i) projections_[i] = params[i].second;
}

Tensor ProjectedGradient::project(const Tensor& point) const {
  std::vector<Tensor> parts = vector_to_tensors(point, params_);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!projections_[i]) continue;
    const Shape shape = parts[i].shape();
    parts[i] = projections_[i](parts[i]);
    if (!parts[i].defined() || parts[i].shape() != shape)
      fail<ShapeError>("ProjectedGradient: the projection of a parameter of shape ", shape, " has another shape");
  }
  return flat(parts);
}

// Barzilai and Borwein's: the inverse of the curvature along the last step.
double ProjectedGradient::length(const State& s, const Tensor& x, const Evaluation& now) const {
  const auto within = [&](double t) { return std::clamp(t, options_.min_length, options_.max_length); };
  if (!s.point.defined()) return within(1 / std::max(now.largest, 1e-300));
  const Tensor step = x - s.point, change = now.gradient - s.gradient;
  const double curvature = dot(step, change);
  if (!(curvature > 0)) return options_.max_length;
  return within(dot(step, step) / curvature);
}

bool ProjectedGradient::descend(const Closure& closure, const Tensor& x, const Tensor& d, const Evaluation& now,
                                double ceiling, StepResult& result) {
  const double slope = dot(now.gradient, d);
  bool finite = true;
  double t = 1;
  for (int i = 0; i < 60; ++i) {
    move_to(project(x + d * t));  // in the set but for rounding
    const double loss = value_of(closure);
    finite = std::isfinite(loss);
    if (finite && loss <= ceiling + options_.decrease * t * slope) {
      result.loss = loss;
      return true;
    }
    // The minimum of the parabola through the value and slope at 0 and the value here, if it is a fair cut.
    const double best = finite ? -0.5 * t * t * slope / (loss - now.value - t * slope) : 0;
    t = best >= 0.1 * t && best <= 0.9 * t ? best : 0.5 * t;
  }
  move_to(x);
  result.status = finite ? StepStatus::no_progress : StepStatus::nonfinite;
  result.message = concat(name_, finite ? ": no step makes the loss smaller" : ": no step keeps the loss finite");
  return false;
}

StepResult ProjectedGradient::advance(const Closure& closure) {
  const NoGrad off;
  State s = state_;
  const Tensor start = point(), x = project(start);
  move_to(x);
  const Evaluation now = evaluate(closure);
  StepResult result{.loss = now.value, .first_loss = now.value, .gradient_norm = now.largest, .iterations = 1};
  if (!now.finite()) {
    move_to(start);
    result.status = StepStatus::nonfinite;
    result.message = concat(name_, ": the loss or its gradient is not finite where the step begins");
    return result;
  }
  if (max_abs(project(x - now.gradient) - x) <= options_.tolerance) {
    result.status = StepStatus::converged;
    result.message = concat(name_, ": the projected gradient is within tolerance");
    return result;
  }
  const Tensor d = project(x - now.gradient * length(s, x, now)) - x;
  s.losses.push_back(now.value);
  if (int64_t(s.losses.size()) > options_.memory) s.losses.erase(s.losses.begin());
  const double ceiling = *std::max_element(s.losses.begin(), s.losses.end());
  s.point = x;
  s.gradient = now.gradient;
  if (descend(closure, x, d, now, ceiling, result)) state_ = std::move(s);
  return result;
}

std::vector<NamedTensor> ProjectedGradient::state_dict() const {
  if (!state_.point.defined()) return {};
  return {{"point", state_.point},
          {"gradient", state_.gradient},
          detail::saved_number("count", double(state_.losses.size())),
          {"losses", from_vector(state_.losses, {int64_t(state_.losses.size())})}};
}

void ProjectedGradient::load_state_dict(const std::vector<NamedTensor>& state) {
  detail::SavedState saved(name_, state);
  State s;
  if (!state.empty()) {
    s.point = saved.tensor("point", {size()});
    s.gradient = saved.tensor("gradient", {size()});
    const Tensor losses = saved.tensor("losses", {int64_t(saved.number("count"))});
    if (!s.point.defined() || !s.gradient.defined() || !losses.defined())
      fail<ValueError>("ProjectedGradient: the saved state is not complete");
    s.losses = losses.to_vector<double>();
  }
  saved.finish();
  state_ = std::move(s);
}

AugmentedLagrangian::AugmentedLagrangian(const std::vector<Tensor>& params, const Constraints& constraints,
                                         const AugmentedLagrangianOptions& options)
    : ClosureOptimizer("AugmentedLagrangian", params),
      constraints_(constraints),
      options_(options),
      state_{.penalty = options.penalty, .violation = std::numeric_limits<double>::infinity()} {
  if (!constraints.equal && !constraints.at_most) fail<ValueError>(name_, ": there are no constraints");
  detail::check_option(options.penalty > 0, name_, "penalty must be positive", options.penalty);
  detail::check_option(options.growth > 1, name_, "growth must be above 1", options.growth);
  detail::check_option(options.sufficient > 0 && options.sufficient < 1, name_, "sufficient must lie between 0 and 1",
                       options.sufficient);
  detail::check_option(options.inner_steps >= 1, name_, "inner_steps must be at least 1", double(options.inner_steps));
  if (!options_.inner)
    options_.inner = [](const std::vector<Tensor>& of) {
      return std::make_unique<LBFGS>(of, LBFGSOptions{.max_iter = 50,
                                                      .tolerance_grad = 1e-10,
                                                      .tolerance_change = 1e-16,
                                                      .line_search = LineSearch::strong_wolfe});
    };
}

AugmentedLagrangian::Values AugmentedLagrangian::constraints() const {
  const EnableGrad recording;
  const auto values = [](const Closure& of) { return of ? flatten(of()).to(f64) : Tensor(); };
  return {values(constraints_.equal), values(constraints_.at_most)};
}

// loss + multipliers * equal + penalty / 2 |equal|^2
//      + sum(max(0, multipliers + penalty * at_most)^2 - multipliers^2) / (2 penalty)
Tensor AugmentedLagrangian::lagrangian(const Tensor& loss, const State& s) const {
  const Values c = constraints();
  Tensor total = reshape(loss, {}).to(f64);
  if (c.equal.defined()) total = total + sum(c.equal * (s.equal + c.equal * (0.5 * s.penalty)));
  if (c.at_most.defined()) {
    const Tensor push = clamp_min(s.at_most + c.at_most * s.penalty, 0);
    total = total + sum(push * push - s.at_most * s.at_most) * (0.5 / s.penalty);
  }
  return total;
}

// The multipliers that make the point just found stationary, and the penalty where it did not press enough.
void AugmentedLagrangian::correct(State& s) const {
  const Values c = constraints();
  double violation = 0;
  if (c.equal.defined()) {
    s.equal = s.equal + c.equal * s.penalty;
    violation = max_abs(c.equal);
  }
  if (c.at_most.defined()) {
    violation = std::max(violation, max_abs(maximum(c.at_most, s.at_most * (-1 / s.penalty))));
    s.at_most = clamp_min(s.at_most + c.at_most * s.penalty, 0);
  }
  if (violation > options_.sufficient * s.violation) s.penalty *= options_.growth;
  s.violation = violation;
}

StepResult AugmentedLagrangian::advance(const Closure& closure) {
  const NoGrad off;
  State s = state_;
  const Tensor from = point();
  const Values at = constraints();
  if (at.equal.defined() && !s.equal.defined()) s.equal = zeros_like(at.equal);
  if (at.at_most.defined() && !s.at_most.defined()) s.at_most = zeros_like(at.at_most);
  const Closure loss = checked(closure);
  const double first = value_of(closure);
  const auto inner = options_.inner(params_);
  StepResult result = minimize(*inner, [&] { return lagrangian(loss(), s); }, {.max_steps = options_.inner_steps});
  result.first_loss = first;
  if (result.status == StepStatus::nonfinite) {
    move_to(from);
    result.loss = first;
    return result;
  }
  const bool settled = result.status == StepStatus::converged || result.status == StepStatus::no_progress;
  correct(s);
  result.loss = value_of(closure);
  if (!std::isfinite(result.loss) || !std::isfinite(s.violation)) {
    move_to(from);
    result.loss = first;
    result.status = StepStatus::nonfinite;
    result.message = concat(name_, ": the loss or a constraint is not finite");
    return result;
  }
  result.message.clear();
  result.status = StepStatus::moved;
  if (settled && s.violation <= options_.tolerance) {
    result.status = StepStatus::converged;
    result.message = concat(name_, ": the constraints hold within tolerance");
  } else if (s.penalty > options_.max_penalty) {
    result.status = StepStatus::no_progress;
    result.message = concat(name_, ": the violation ", s.violation, " does not fall, whatever the penalty");
  }
  state_ = std::move(s);
  return result;
}

std::vector<NamedTensor> AugmentedLagrangian::state_dict() const {
  const auto count = [](const Tensor& x) { return x.defined() ? double(x.numel()) : -1.0; };
  std::vector<NamedTensor> out{detail::saved_number("penalty", state_.penalty),
                               detail::saved_number("violation", state_.violation),
                               detail::saved_number("equal_count", count(state_.equal)),
                               detail::saved_number("at_most_count", count(state_.at_most))};
  if (state_.equal.defined()) out.push_back({"equal", state_.equal});
  if (state_.at_most.defined()) out.push_back({"at_most", state_.at_most});
  return out;
}

void AugmentedLagrangian::load_state_dict(const std::vector<NamedTensor>& state) {
  detail::SavedState saved(name_, state);
  State s{.penalty = saved.number("penalty"), .violation = saved.number("violation")};
  const auto equal = int64_t(saved.number("equal_count")), at_most = int64_t(saved.number("at_most_count"));
  if (equal >= 0) s.equal = saved.tensor("equal", {equal});
  if (at_most >= 0) s.at_most = saved.tensor("at_most", {at_most});
  if (s.equal.defined() != (equal >= 0) || s.at_most.defined() != (at_most >= 0))
    fail<ValueError>("AugmentedLagrangian: the saved state is not complete");
  saved.finish();
  state_ = std::move(s);
}

}  // namespace tenrec
