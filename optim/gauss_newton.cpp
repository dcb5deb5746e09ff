#include "tenrec/optim/gauss_newton.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/optim/optimizer.h"

namespace tenrec {
namespace {

using detail::dot, detail::max_abs;

// Residuals and their Jacobian at a point, in f64.
struct Linear {
  Tensor r, j, gradient;
  double loss = 0;
  double angle = 0;  // largest |cosine| between r and a column of j

  explicit Linear(const ValueAndJacobian& at) : r(flatten(at.value).to(f64)), j(at.jacobian.to(f64)) {
    gradient = matmul(r, j);
    loss = 0.5 * dot(r, r);
    const Tensor columns = norms();
    const double size = std::sqrt(2 * loss);
    if (size > 0) angle = max_abs(gradient / where(gt(columns, 0), columns, 1)) / size;
  }
  Tensor norms() const { return norm(j, 2, {.dim = 0}); }
  bool finite() const { return std::isfinite(loss) && std::isfinite(angle) && std::isfinite(max_abs(gradient)); }
};

StepResult begin(const Linear& at) {
  return {.loss = at.loss, .first_loss = at.loss, .gradient_norm = max_abs(at.gradient), .iterations = 1};
}

bool ends(StepResult& result, const char* name, const Linear& at, double tolerance_angle) {
  if (!at.finite()) {
    result.status = StepStatus::nonfinite;
    result.message = concat(name, ": the residuals or their Jacobian are not finite where the step begins");
  } else if (at.angle <= tolerance_angle) {
    result.status = StepStatus::converged;
    result.message = concat(name, ": the residuals are orthogonal to the Jacobian within tolerance_angle");
  } else {
    return false;
  }
  return true;
}

StepResult end(StepResult result, StepStatus status, const char* name, const char* why) {
  result.status = status;
  result.message = concat(name, ": ", why);
  return result;
}

double half_squares(const Closure& residuals) {
  const EnableGrad recording;
  const Tensor r = residuals().detach().to(f64);
  return 0.5 * dot(r, r);
}

// Rounding of the terms of large residuals is well above eps times the loss. Below this share of it the angle decides.
constexpr double kBlind = 1e-10;

// Whether no element of p changes x by more than the tolerance, relative to its size.
bool is_small(const Tensor& p, const Tensor& x, double tolerance) {
  return all(le(abs(p), (abs(x) + tolerance) * tolerance)).item<bool>();
}

}  // namespace

GaussNewton::GaussNewton(const std::vector<Tensor>& params, const GaussNewtonOptions& options)
    : ClosureOptimizer("GaussNewton", params), options_(options) {
  detail::check_option(options.decrease > 0 && options.decrease < 0.5, name_, "decrease must lie between 0 and 0.5",
                       options.decrease);
  detail::check_option(options.tolerance_step >= 0, name_, "tolerance_step must not be negative",
                       options.tolerance_step);
}

StepResult GaussNewton::advance(const Closure& closure) {
  const NoGrad off;
  const Closure residuals = checked(closure, Returns::residuals);
  const Linear at(jacobian(residuals, params_));
  StepResult result = begin(at);
  if (ends(result, name_, at, options_.tolerance_angle)) return result;
  const Tensor p = lstsq(at.j, -at.r).solution, from = point();
  if (is_small(p, from, options_.tolerance_step))
    return end(result, StepStatus::converged, name_, "no parameter would change by more than tolerance_step");
  const double slope = dot(at.gradient, p);
  bool finite = true;
  double length = 1;
  for (int64_t i = 0; i <= options_.max_halvings; ++i, length /= 2) {
    move_to((from + p * length).to(from.dtype()));
    const double loss = half_squares(residuals);
    finite = std::isfinite(loss);
    const bool blind = -slope < kBlind * at.loss && std::abs(at.loss - loss) < kBlind * at.loss;
    if (blind && !(Linear(jacobian(residuals, params_)).angle < 0.9 * at.angle)) {
      move_to(from);
      return end(result, StepStatus::converged, name_, "what is left to gain is rounding");
    }
    if (!blind && !(loss <= at.loss + options_.decrease * length * slope)) continue;
    result.loss = loss;
    return result;
  }
  move_to(from);
  if (!finite) return end(result, StepStatus::nonfinite, name_, "no step keeps the residuals finite");
  return end(result, StepStatus::no_progress, name_, "no step makes the residuals smaller");
}

std::vector<NamedTensor> GaussNewton::state_dict() const { return {}; }
void GaussNewton::load_state_dict(const std::vector<NamedTensor>& state) { detail::SavedState(name_, state).finish(); }

LevenbergMarquardt::LevenbergMarquardt(const std::vector<Tensor>& params, const LevenbergMarquardtOptions& options)
    : ClosureOptimizer("LevenbergMarquardt", params), options_(options), state_{.damping = options.damping} {
  detail::check_option(options.damping > 0, name_, "damping must be positive", options.damping);
  detail::check_option(options.tolerance_step >= 0, name_, "tolerance_step must not be negative",
                       options.tolerance_step);
  detail::check_option(options.accept > 0 && options.accept < 0.25, name_, "accept must lie between 0 and 0.25",
                       options.accept);
}

namespace {

// The damped step in scaled parameters; undefined where the matrix is singular to working precision.
Tensor damped_step(const Linear& at, const Tensor& scale, double damping) {
  const Tensor j = at.j / scale;
  const Tensor a = matmul(t(j), j) + diag(full_like(scale, damping));
  try {
    const Tensor l = cholesky(a);
    const Tensor half = solve_triangular(l, unsqueeze(-matmul(at.r, j), 1));
    const Tensor p = squeeze(solve_triangular(t(l), half, {.upper = true}), 1) / scale;
    return std::isfinite(max_abs(p)) ? p : Tensor();
  } catch (const NumericError&) {
    return {};
  }
}

// What the linear model says the loss will fall by.
double promised(const Linear& at, const Tensor& p) {
  const Tensor jp = matmul(at.j, p);
  return -dot(at.gradient, p) - 0.5 * dot(jp, jp);
}

}  // namespace

StepResult LevenbergMarquardt::advance(const Closure& closure) {
  const NoGrad off;
  const Closure residuals = checked(closure, Returns::residuals);
  const Linear at(jacobian(residuals, params_));
  StepResult result = begin(at);
  if (ends(result, name_, at, options_.tolerance_angle)) return result;
  State s = state_;
  const Tensor columns = at.norms(), from = point();
  s.scale = s.scale.defined() ? maximum(s.scale.to(columns.device()), columns) : columns;
  const Tensor scale = where(gt(s.scale, 0), s.scale, 1);
  bool finite = true, small = false;
  for (; s.damping < 1e30; s.damping = std::max(s.damping * s.growth, 1e-16), s.growth *= 2) {
    const Tensor p = damped_step(at, scale, s.damping);
    if (!p.defined()) continue;
    if (is_small(p, from, options_.tolerance_step)) {
      small = true;
      break;
    }
    move_to((from + p).to(from.dtype()));
    const double loss = half_squares(residuals), gained = at.loss - loss, model = promised(at, p);
    finite = std::isfinite(loss);
    double ratio = finite && model > 0 ? gained / model : -1;
    if (finite && model < kBlind * at.loss && std::abs(gained) < kBlind * at.loss) {
      if (Linear(jacobian(residuals, params_)).angle < 0.9 * at.angle) {
        ratio = 1;
      } else if (s.damping < 1e-8 || s.growth > 1e6) {
        move_to(from);
        return end(result, StepStatus::converged, name_, "what is left to gain is rounding");
      }
    }
    if (ratio <= options_.accept) continue;
    s.damping *= std::max(1.0 / 3, 1 - std::pow(2 * ratio - 1, 3));
    s.growth = 2;
    state_ = s;
    result.loss = loss;
    return result;
  }
  move_to(from);
  if (!finite) return end(result, StepStatus::nonfinite, name_, "no step keeps the residuals finite");
  if (small) return end(result, StepStatus::converged, name_, "no parameter would change by more than tolerance_step");
  return end(result, StepStatus::no_progress, name_, "no step makes the residuals smaller");
}

std::vector<NamedTensor> LevenbergMarquardt::state_dict() const {
  std::vector<NamedTensor> out{detail::saved_number("damping", state_.damping),
                               detail::saved_number("growth", state_.growth)};
  if (state_.scale.defined()) out.push_back({"scale", state_.scale});
  return out;
}

void LevenbergMarquardt::load_state_dict(const std::vector<NamedTensor>& state) {
  detail::SavedState saved(name_, state);
  State s{
      .damping = saved.number("damping"), .growth = saved.number("growth"), .scale = saved.tensor("scale", {size()})};
  saved.finish();
  state_ = std::move(s);
}

}  // namespace tenrec
