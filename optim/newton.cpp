#include "tenrec/optim/newton.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/curvature.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/ops/linalg.h"
#include "tenrec/optim/optimizer.h"

namespace tenrec {
namespace {

using detail::dot, detail::max_abs;

// A difference of losses that rounding alone can make.
double noise(double loss) { return 10 * 2.2e-16 * std::abs(loss); }

// Where a loss changes by rounding alone, the gradient tells whether a step is any good (A. R. Conn, N. I. M. Gould and
// P. L. Toint, "Trust-Region Methods" (2000), 17.4.2).
bool falls(const StepResult& before, double gradient_norm) { return gradient_norm < 0.9 * before.gradient_norm; }

StepResult begin(const CurvatureProduct& at, const Tensor& gradient) {
  StepResult result{.loss = at.value().item<double>(), .iterations = 1};
  result.first_loss = result.loss;
  result.gradient_norm = max_abs(gradient);
  return result;
}

// Whether the step ends where it begins.
bool ends(StepResult& result, const char* name, double tolerance_grad) {
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    result.status = StepStatus::nonfinite;
    result.message = concat(name, ": the loss or its gradient is not finite where the step begins");
  } else if (result.gradient_norm <= tolerance_grad) {
    result.status = StepStatus::converged;
    result.message = concat(name, ": the gradient is within tolerance_grad");
  } else {
    return false;
  }
  return true;
}

void refuse(StepResult& result, const char* name, bool finite) {
  result.status = finite ? StepStatus::no_progress : StepStatus::nonfinite;
  result.message = concat(name, finite ? ": no step makes the loss smaller" : ": no step keeps the loss finite");
}

// The point within `radius` that minimises g p + p A p / 2, about.
struct Model {
  Tensor step;
  double slope = 0, curvature = 0;  // g p and p A p
  bool at_border = false, finite = true;
  // The decrease of the model at t p.
  double predicted(double t) const { return -t * (slope + 0.5 * t * curvature); }
};

// p + tau d on the border.
double to_border(const Tensor& p, const Tensor& d, double radius) {
  const double a = dot(d, d), b = dot(p, d), c = dot(p, p) - radius * radius;
  const double root = std::sqrt(std::max(b * b - a * c, 0.0));
  return b > 0 ? -c / (b + root) : (root - b) / a;  // without cancellation
}

Model steihaug(const CurvatureProduct& a, const Tensor& g, double radius, double tolerance, int64_t most) {
  Tensor p = zeros_like(g), r = g, d = -g, ap = zeros_like(g);
  double rr = dot(r, r);
  Model model;
  for (int64_t i = 0; i < most && std::sqrt(rr) > tolerance; ++i) {
    const Tensor ad = a.matvec(d);
    const double curvature = dot(d, ad);
    if (!std::isfinite(curvature)) {
      model.finite = false;
      break;
    }
    const double length = rr / curvature;
    const Tensor next = p + d * length;
    model.at_border = curvature <= 0 || !(dot(next, next) < radius * radius);
    const double tau = model.at_border ? to_border(p, d, radius) : length;
    p = model.at_border ? p + d * tau : next;
    ap = ap + ad * tau;
    if (model.at_border) break;
    r = r + ad * length;
    const double fresh = dot(r, r);
    d = d * (fresh / rr) - r;
    rr = fresh;
  }
  model.step = p;
  model.slope = dot(g, p);
  model.curvature = dot(p, ap);
  return model;
}

}  // namespace

Newton::Newton(const std::vector<Tensor>& params, const NewtonOptions& options)
    : ClosureOptimizer("Newton", params), options_(options) {
  detail::check_option(options.damping >= 0, name_, "damping must not be negative", options.damping);
  detail::check_option(options.max_damping > 0, name_, "max_damping must be positive", options.max_damping);
  detail::check_option(options.decrease > 0 && options.decrease < 0.5, name_, "decrease must lie between 0 and 0.5",
                       options.decrease);
}

Tensor Newton::direction(const Tensor& hessian, const Tensor& gradient) {
  const double scale = std::max(max_abs(hessian), 1e-300);
  damping_ = options_.damping;
  while (damping_ <= options_.max_damping * scale) {
    try {
      const Tensor l = cholesky(hessian + diag(full_like(gradient, damping_)));
      const Tensor half = solve_triangular(l, unsqueeze(-gradient, 1));
      const Tensor p = squeeze(solve_triangular(t(l), half, {.upper = true}), 1);
      if (std::isfinite(max_abs(p))) return p;
    } catch (const NumericError&) {
      // Not positive definite: more.
    }
    damping_ = std::max(10 * damping_, 1e-8 * scale);
  }
  return {};
}

StepResult Newton::advance(const Closure& closure) {
  const NoGrad off;
  const HessianProduct at(checked(closure), params_);
  const Tensor g = flat(at.gradient());
  StepResult result = begin(at, g);
  if (ends(result, name_, options_.tolerance_grad)) return result;
  const Tensor rows = at.dense().to(g.dtype()), hessian = (rows + t(rows)) * 0.5;
  if (!std::isfinite(max_abs(hessian))) {
    refuse(result, name_, false);
    return result;
  }
  const Tensor p = direction(hessian, g);
  const Tensor from = point();
  bool finite = p.defined();
  double length = 1;
  for (int64_t i = 0; i <= options_.max_halvings && p.defined(); ++i, length /= 2) {
    move_to(from + p * length);
    const double loss = value_of(closure);
    finite = std::isfinite(loss);
    const double promised = options_.decrease * length * dot(g, p);
    const bool blind = finite && std::abs(loss - result.loss) <= noise(result.loss) && -promised <= noise(result.loss);
    if (blind ? !falls(result, evaluate(closure).largest) : !(loss <= result.loss + promised)) continue;
    result.loss = loss;
    return result;
  }
  move_to(from);
  refuse(result, name_, finite || !p.defined());
  return result;
}

std::vector<NamedTensor> Newton::state_dict() const { return {detail::saved_number("damping", damping_)}; }

void Newton::load_state_dict(const std::vector<NamedTensor>& state) {
  detail::SavedState saved(name_, state);
  const double damping = saved.number("damping");
  saved.finish();
  damping_ = damping;
}

NewtonCG::NewtonCG(const std::vector<Tensor>& params, const NewtonCGOptions& options)
    : ClosureOptimizer("NewtonCG", params), options_(options), radius_(options.radius) {
  detail::check_option(options.radius > 0, name_, "radius must be positive", options.radius);
  detail::check_option(options.max_radius >= options.radius, name_, "max_radius must not be below radius",
                       options.max_radius);
  detail::check_option(options.accept > 0 && options.accept < 0.25, name_, "accept must lie between 0 and 0.25",
                       options.accept);
  detail::check_option(options.max_cg >= 0, name_, "max_cg must not be negative", double(options.max_cg));
}

StepResult NewtonCG::advance(const Closure& closure) {
  const NoGrad off;
  const HessianProduct at(checked(closure), params_);
  const Tensor g = flat(at.gradient()), from = point();
  StepResult result = begin(at, g);
  if (ends(result, name_, options_.tolerance_grad)) return result;
  const double size_g = std::sqrt(dot(g, g));
  const double tolerance = std::min(options_.cg_tolerance, std::sqrt(size_g)) * size_g;
  const int64_t most = options_.max_cg > 0 ? options_.max_cg : 2 * size() + 20;
  const double smallest = 1e-14 * std::max(std::sqrt(dot(from, from)), 1e-2);
  const Model model = steihaug(at, g, radius_, tolerance, most);
  const double length = std::sqrt(dot(model.step, model.step));
  bool finite = model.finite;
  for (double t = 1; model.finite && t * length > smallest; t *= 0.25) {
    move_to(from + model.step * t);
    const double loss = value_of(closure), gained = result.loss - loss, allowed = noise(result.loss);
    finite = std::isfinite(loss);
    const bool blind = finite && std::abs(gained) <= allowed && model.predicted(t) <= allowed;
    if (blind && !falls(result, evaluate(closure).largest)) break;
    const double ratio = !finite ? -1 : blind ? 1 : gained / model.predicted(t);
    if (ratio <= options_.accept) continue;
    if (ratio < 0.25)
      radius_ = 0.25 * t * length;
    else if (t < 1)
      radius_ = t * length;
    else if (ratio > 0.75 && model.at_border)
      radius_ = std::min(2 * radius_, options_.max_radius);
    result.loss = loss;
    return result;
  }
  move_to(from);
  refuse(result, name_, finite);
  return result;
}

std::vector<NamedTensor> NewtonCG::state_dict() const { return {detail::saved_number("radius", radius_)}; }

void NewtonCG::load_state_dict(const std::vector<NamedTensor>& state) {
  detail::SavedState saved(name_, state);
  const double radius = saved.number("radius");
  saved.finish();
  if (!(radius > 0)) fail<ValueError>("NewtonCG: the saved radius is ", radius);
  radius_ = radius;
}

}  // namespace tenrec
