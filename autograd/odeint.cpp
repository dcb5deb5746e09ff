#include "tenrec/autograd/odeint.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/odeint_impl.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {
namespace detail {
namespace {

// An explicit Runge-Kutta method: stage s is at t + c[s] h and y + h sum_j a[s][j] k_j. Row `stages` of a gives the new
// state.
struct Tableau {
  int stages;
  double c[7];
  double a[7][6];
};

constexpr Tableau kRk4{4, {0, 0.5, 0.5, 1}, {{}, {0.5}, {0, 0.5}, {0, 0, 1}, {1. / 6, 1. / 3, 1. / 3, 1. / 6}}};

constexpr Tableau kDopri5{6,
                          {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1},
                          {{},
                           {1. / 5},
                           {3. / 40, 9. / 40},
                           {44. / 45, -56. / 15, 32. / 9},
                           {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
                           {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
                           {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}}};
// Order 5 less order 4, and the interpolant's coefficients.
constexpr double kError[7] = {71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525., -1. / 40};
constexpr double kDense[7] = {-12715105075. / 11282082432,  0,
                              87487479700. / 32700410799,   -10690763975. / 1880347072,
                              701980252875. / 199316789632, -1453857185. / 822651844,
                              69997945. / 29380423};

using Stages = std::vector<OdeState>;

// sum_j weights[j] k_j of part p.
Tensor weighted(const Stages& k, const double* weights, size_t p) {
  Tensor sum;
  for (size_t j = 0; j < k.size(); ++j) {
    if (weights[j] == 0) continue;
    const Tensor term = k[j][p] * weights[j];
    sum = sum.defined() ? sum + term : term;
  }
  return sum;
}

OdeState advance(const OdeState& y, const Tensor& h, const Stages& k, const double* weights) {
  OdeState out;
  for (size_t p = 0; p < y.size(); ++p) out.push_back(y[p] + h * weighted(k, weights, p));
  return out;
}

// Makes the 0-d tensors of times. What must follow the tape has its value from the host, so that rounding is the same
// with and without a tape, and its derivative from the tensors.
class Clock {
 public:
  Clock(const OdeTimes& times, const Tensor& like)
      : times_(times), options_{.dtype = like.dtype(), .device = like.device()} {}
  bool taped() const { return !times_.tensor.empty(); }
  Tensor constant(double value) const { return scalar(value, options_); }
  // A part of the way from time i to the next.
  Tensor between(size_t i, double part) const {
    const double a = times_.host[i], b = times_.host[i + 1];
    const double value = part == 1 ? b : a + (b - a) * part;
    return taped() ? follow(value, times_.tensor[i] + span(i) * part) : constant(value);
  }
  // 1 / count of that way.
  Tensor step(size_t i, int64_t count) const {
    const double value = (times_.host[i + 1] - times_.host[i]) / double(count);
    return taped() ? follow(value, span(i) / double(count)) : constant(value);
  }
  // A time at a fixed distance from the first.
  Tensor after_start(double value) const { return taped() ? follow(value, times_.tensor[0]) : constant(value); }
  // Where time i lies in a step of length h at a fixed distance from the first: `value` in [0, 1].
  Tensor place(size_t i, double value, double h) const {
    return taped() ? follow(value, (times_.tensor[i] - times_.tensor[0]) / h) : constant(value);
  }

 private:
  Tensor span(size_t i) const { return times_.tensor[i + 1] - times_.tensor[i]; }
  static Tensor follow(double value, const Tensor& x) { return (x - x.detach()) + value; }

  const OdeTimes& times_;
  TensorOptions options_;
};

bool is_finite(const OdeState& y) {
  const NoGrad off;
  for (const Tensor& part : y)
    if (!all(isfinite(part)).item<bool>()) return false;
  return true;
}

[[noreturn]] void fail_not_finite(const char* op, double t) {
  fail<NumericError>(op, ": f, or the state it leads to, is not finite at t = ", t);
}

// The stages of a step of length h from t to `after`; f is not asked beyond that, not even by rounding.
Stages stages_of(OdeRhs rhs, const Tableau& method, const Tensor& t, const Tensor& after, const Tensor& h,
                 const OdeState& y, const OdeState& k1) {
  Stages k{k1};
  for (int s = 1; s < method.stages; ++s)
    k.push_back(rhs(method.c[s] == 1 ? after : t + h * method.c[s], advance(y, h, k, method.a[s])));
  return k;
}

std::vector<OdeState> fixed_steps(const char* op, OdeRhs rhs, const OdeState& y0, const OdeTimes& times,
                                  const OdeOptions& options) {
  const Tableau& method = options.method == OdeMethod::rk4 ? kRk4 : kDopri5;
  const Clock clock(times, y0[0]);
  std::vector<double> counts;
  double all_steps = 0;
  for (size_t i = 0; i + 1 < times.host.size(); ++i) {
    // A count that is whole but for rounding is taken as whole.
    const double ratio = options.step > 0 ? std::abs(times.host[i + 1] - times.host[i]) / options.step : 1;
    counts.push_back(std::max(1.0, std::ceil(ratio * (1 - 1e-12))));
    all_steps += counts.back();
  }
  if (!(all_steps <= double(options.max_steps)))
    fail<NumericError>(op, ": steps of ", options.step, " from t = ", times.host.front(), " to ", times.host.back(),
                       " are ", all_steps, ", max_steps is ", options.max_steps);
  std::vector<OdeState> out{y0};
  OdeState y = y0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto count = int64_t(counts[i]);
    const Tensor h = clock.step(i, count);
    for (int64_t j = 0; j < count; ++j) {
      const double part = double(j) / double(count);
      const Tensor t = clock.between(i, part), after = clock.between(i, double(j + 1) / double(count));
      y = advance(y, h, stages_of(rhs, method, t, after, h, y, rhs(t, y)), method.a[method.stages]);
      if (!is_finite(y)) fail_not_finite(op, times.host[i] + part * (times.host[i + 1] - times.host[i]));
    }
    out.push_back(y);
  }
  return out;
}

// Dormand-Prince steps under control of the error: Hairer, Norsett and Wanner, II.4, with the constants of their
// DOPRI5.
class Adaptive {
 public:
  Adaptive(const char* op, OdeRhs rhs, const OdeState& y0, const OdeTimes& times, const OdeOptions& options)
      : op_(op),
        rhs_(rhs),
        times_(times),
        options_(options),
        clock_(times, y0[0]),
        end_(times.host.back()),
        t_(times.host.front()),
        y_(y0) {}

  std::vector<OdeState> run() {
    std::vector<OdeState> out{y_};
    if (times_.host.size() == 1) return out;
    k1_ = rhs_(clock_.after_start(t_), y_);
    if (!is_finite(k1_)) fail_not_finite(op_, t_);
    double h = options_.first_step > 0 ? options_.first_step : first_step();
    h = std::copysign(std::max(h, 2 * least_step()), end_ - t_);
    for (int64_t tries = 0; out.size() < times_.host.size(); ++tries) {
      if (tries == options_.max_steps) fail_too_many();
      const bool last = std::abs(h) * 1.01 >= std::abs(end_ - t_);
      if (last) h = end_ - t_;
      if (!last && !(std::abs(h) > least_step())) fail_too_small(h);
      const double after = last ? end_ : t_ + h;
      const Tensor length = clock_.constant(h), then = clock_.after_start(after);
      Stages k = stages_of(rhs_, kDopri5, clock_.after_start(t_), then, length, y_, k1_);
      const OdeState y = advance(y_, length, k, kDopri5.a[kDopri5.stages]);
      k.push_back(rhs_(then, y));
      const double error = error_of(k, h, y);
      if (error <= 1) {
        emit(out, k, y, h, after);
        t_ = after;
        y_ = y;
        k1_ = k.back();
        h *= growth(error);
        refused_ = false;
      } else {
        h *= shrinkage(error);
        refused_ = true;
        left_domain_ = !std::isfinite(error);
      }
    }
    return out;
  }

 private:
  static constexpr double kBeta = 0.04, kExponent = 0.2 - 0.75 * kBeta, kSafety = 0.9;

  // Below it the time, in the state's dtype, hardly moves.
  double least_step() const { return 10 * (y_[0].dtype() == f64 ? 0x1p-52 : 0x1p-23) * std::abs(t_); }

  // After a step that was taken: the controller looks at the error before it too. The step after a refusal does not
  // grow.
  double growth(double error) {
    const double factor = kSafety * std::pow(error, -kExponent) * std::pow(before_, kBeta);
    before_ = std::max(error, 1e-4);
    return std::clamp(factor, 0.2, refused_ ? 1.0 : 10.0);
  }
  // An error that is no number comes from a step that led out of where f is defined.
  static double shrinkage(double error) {
    return std::isfinite(error) ? std::clamp(kSafety * std::pow(error, -kExponent), 0.2, 0.9) : 0.2;
  }

  // The largest over the parts of the root mean square of x / (atol + rtol |y|).
  double scaled_norm(const OdeState& x, const OdeState& y) const {
    double worst = 0;
    for (size_t p = 0; p < x.size(); ++p) {
      if (x[p].numel() == 0) continue;
      const Tensor scaled = x[p] / (abs(y[p]) * options_.rtol + options_.atol);
      const double rms = std::sqrt(mean(square(scaled)).item<double>());
      if (std::isnan(rms)) return rms;
      worst = std::max(worst, rms);
    }
    return worst;
  }

  double error_of(const Stages& k, double h, const OdeState& y) const {
    const NoGrad off;
    OdeState error, size;
    for (size_t p = 0; p < y.size(); ++p) {
      error.push_back(weighted(k, kError, p) * h);
      size.push_back(maximum(abs(y_[p]), abs(y[p])));
    }
    return scaled_norm(error, size);
  }

  // A step with which Euler's method would be off by about the tolerance.
  double first_step() {
    const NoGrad off;
    const double span = std::abs(end_ - t_), size = scaled_norm(y_, y_), slope = scaled_norm(k1_, y_);
    const double h = std::min(span, size < 1e-5 || slope < 1e-5 ? 1e-6 : 0.01 * size / slope);
    const double signed_h = std::copysign(h, end_ - t_);
    const double one[1] = {1};
    const OdeState y = advance(y_, clock_.constant(signed_h), {k1_}, one);
    const OdeState k = rhs_(clock_.after_start(t_ + signed_h), y);
    OdeState change;
    for (size_t p = 0; p < k.size(); ++p) change.push_back(k[p] - k1_[p]);
    const double bend = scaled_norm(change, y_) / h, steepest = std::max(slope, bend);
    if (!std::isfinite(steepest)) return h;
    const double better = steepest <= 1e-15 ? std::max(1e-6, h * 1e-3) : std::pow(0.01 / steepest, 0.2);
    return std::min({100 * h, better, span});
  }

  // The states at the times that a step from t_ to `after` covers.
  void emit(std::vector<OdeState>& out, const Stages& k, const OdeState& y, double h, double after) const {
    for (size_t i = out.size(); i < times_.host.size(); i = out.size()) {
      if (h > 0 ? times_.host[i] > after : times_.host[i] < after) return;
      const bool at_end = times_.host[i] == after;
      if (at_end && !clock_.taped())
        out.push_back(y);
      else
        out.push_back(interpolate(clock_.place(i, at_end ? 1 : (times_.host[i] - t_) / h, h), k, y, h));
    }
  }

  // Hairer, Norsett and Wanner, II.6: a quartic that has the step's ends and slopes.
  OdeState interpolate(const Tensor& place, const Stages& k, const OdeState& y, double h) const {
    const Tensor rest = 1 - place;
    OdeState out;
    for (size_t p = 0; p < y.size(); ++p) {
      const Tensor rise = y[p] - y_[p];
      const Tensor start = k.front()[p] * h - rise, end = rise - k.back()[p] * h - start;
      const Tensor bulge = weighted(k, kDense, p) * h;
      out.push_back(y_[p] + place * (rise + rest * (start + place * (end + rest * bulge))));
    }
    return out;
  }

  [[noreturn]] void fail_too_many() const {
    fail<NumericError>(op_, ": max_steps = ", options_.max_steps, " steps lead from t = ", times_.host.front(),
                       " only to ", t_, " of ", end_,
                       "; the problem may be stiff for an explicit method, or the tolerances too small");
  }
  [[noreturn]] void fail_too_small(double h) const {
    if (left_domain_) fail_not_finite(op_, t_);
    fail<NumericError>(op_, ": at t = ", t_, " a step of ", h, " is still too large for rtol = ", options_.rtol,
                       ", atol = ", options_.atol, " and ", y_[0].dtype(), "; there may be a singularity");
  }

  const char* op_;
  OdeRhs rhs_;
  const OdeTimes& times_;
  const OdeOptions& options_;
  Clock clock_;
  double end_, t_, before_ = 1e-4;
  bool refused_ = false, left_domain_ = false;
  OdeState y_, k1_;
};

void check_options(const char* op, const OdeOptions& o) {
  if (!(o.rtol >= 0) || !(o.atol >= 0) || !(o.rtol + o.atol > 0) || !std::isfinite(o.rtol + o.atol))
    fail<ValueError>(op, ": rtol and atol must not be negative nor both 0, got ", o.rtol, " and ", o.atol);
  if (!(o.step >= 0) || !(o.first_step >= 0) || !std::isfinite(o.step + o.first_step))
    fail<ValueError>(op, ": step and first_step must not be negative, got ", o.step, " and ", o.first_step);
  if (o.max_steps < 1) fail<ValueError>(op, ": max_steps must be positive, got ", o.max_steps);
}

}  // namespace

OdeTimes check_ode(const char* op, const Tensor& y0, const Tensor& ts, const OdeOptions& options) {
  if (y0.dtype() != f64 && y0.dtype() != f32) fail<DTypeError>(op, ": y0 must be f32 or f64, got ", y0.dtype());
  if (!is_floating(ts.dtype())) fail<DTypeError>(op, ": ts must have a floating dtype, got ", ts.dtype());
  if (ts.ndim() != 1 || ts.numel() == 0)
    fail<ShapeError>(op, ": ts must be a vector of at least one time, got shape ", ts.shape());
  check_options(op, options);
  OdeTimes times{ts.to_vector<double>(), {}};
  const std::vector<double>& t = times.host;
  for (size_t i = 0; i < t.size(); ++i) {
    if (!std::isfinite(t[i])) fail<ValueError>(op, ": ts[", i, "] is ", t[i]);
    if (i > 0 && (t[i] == t[i - 1] || (t[i] > t[i - 1]) != (t[1] > t[0])))
      fail<ValueError>(op, ": ts must rise or fall strictly, but ts[", i - 1, "] = ", t[i - 1], " and ts[", i,
                       "] = ", t[i]);
  }
  if (grad_enabled() && ts.requires_grad()) times.tensor = unbind(ts.to(y0.device()).to(y0.dtype()));
  return times;
}

Tensor call_ode(const char* op, const OdeFunction& f, const Tensor& t, const Tensor& y) {
  Tensor slope = f(t, y);
  if (slope.shape() != y.shape())
    fail<ShapeError>(op, ": f returned shape ", slope.shape(), " for a state of shape ", y.shape());
  if (slope.dtype() != y.dtype()) fail<DTypeError>(op, ": f returned ", slope.dtype(), " for a state of ", y.dtype());
  if (slope.device() != y.device())
    fail<DeviceError>(op, ": f returned a tensor on ", slope.device(), " for a state on ", y.device());
  return slope;
}

std::vector<OdeState> solve_ode(const char* op, OdeRhs rhs, const OdeState& y0, const OdeTimes& times,
                                const OdeOptions& options) {
  if (options.method == OdeMethod::dopri5 && options.step == 0) return Adaptive(op, rhs, y0, times, options).run();
  return fixed_steps(op, rhs, y0, times, options);
}

Tensor odeint_of(const char* op, const OdeFunction& f, const Tensor& y0, const OdeTimes& times,
                 const OdeOptions& options) {
  const auto rhs = [&](const Tensor& t, const OdeState& y) { return OdeState{call_ode(op, f, t, y[0])}; };
  std::vector<Tensor> states;
  for (const OdeState& y : solve_ode(op, rhs, {y0}, times, options)) states.push_back(y[0]);
  return stack(states);
}

}  // namespace detail

Tensor odeint(const OdeFunction& f, const Tensor& y0, const Tensor& ts, const OdeOptions& options) {
  return detail::odeint_of("odeint", f, y0, detail::check_ode("odeint", y0, ts, options), options);
}

}  // namespace tenrec
