#include "tenrec/autograd/integrate.h"

#include <cmath>
#include <vector>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {
namespace {

void check_floating(const char* op, const char* what, const Tensor& x) {
  if (!is_floating(x.dtype())) fail<DTypeError>(op, ": ", what, " must have a floating dtype, got ", x.dtype());
}

// 1 4 2 4 ... 4 1, over 3.
Tensor simpson_weights(int64_t points, const Tensor& like) {
  std::vector<double> w(static_cast<size_t>(points));
  for (size_t i = 0; i < w.size(); ++i) w[i] = (i == 0 || i + 1 == w.size() ? 1 : i % 2 == 1 ? 4 : 2) / 3.0;
  return from_vector(w, {points}).to(like.dtype()).to(like.device());
}

// sum_i weights[i] values[i, ...].
Tensor weigh(const Tensor& weights, const Tensor& values) {
  Shape shape = Shape::filled(values.ndim(), 1);
  shape[0] = weights.numel();
  return sum(values * reshape(weights, shape), {.dim = 0});
}

// f at a vector of points; `vector`: it must return one too.
Tensor values_at(const char* op, const Integrand& f, const Tensor& x, bool vector) {
  Tensor y = f(x);
  if (y.ndim() == 0 || y.shape()[0] != x.shape()[0] || (vector && y.ndim() != 1))
    fail<ShapeError>(op, ": f returned shape ", y.shape(), " for ", x.shape()[0], " points");
  check_floating(op, "what f returns", y);
  return y;
}

}  // namespace

Tensor simpson(const Tensor& y, double dx, int64_t dim) {
  check_floating("simpson", "y", y);
  if (y.ndim() == 0) fail<ShapeError>("simpson: y must have a dimension to integrate along, got shape []");
  dim = check_dim("simpson", y.shape(), dim);
  const int64_t points = y.shape()[dim];
  if (points < 3 || points % 2 == 0)
    fail<ShapeError>("simpson: needs an odd number of at least 3 samples, got ", points, " along dim ", dim, " of ",
                     y.shape());
  return weigh(simpson_weights(points, y), movedim(y, dim, 0)) * dx;
}

Tensor simpson(const Integrand& f, const Tensor& a, const Tensor& b, int64_t intervals) {
  check_floating("simpson", "a", a);
  if (a.ndim() != 0 || b.ndim() != 0)
    fail<ShapeError>("simpson: a and b must be 0-d, got ", a.shape(), " and ", b.shape());
  if (a.dtype() != b.dtype()) fail<DTypeError>("simpson: a is ", a.dtype(), ", b is ", b.dtype());
  if (intervals < 2 || intervals % 2 == 1)
    fail<ValueError>("simpson: intervals must be even and at least 2, got ", intervals);
  const Tensor places = linspace(0, 1, intervals + 1, {.dtype = a.dtype(), .device = a.device()});
  const Tensor width = b - a, y = values_at("simpson", f, a + width * places, false);
  return weigh(simpson_weights(intervals + 1, y), y) * (width / double(intervals));
}

Tensor simpson(const Integrand& f, double a, double b, int64_t intervals) {
  return simpson(f, scalar(a, {.dtype = f64}), scalar(b, {.dtype = f64}), intervals);
}

namespace {

// An interval with the values of f at its ends and its middle.
struct Piece {
  double a, b, fa, fm, fb;
  double middle() const { return (a + b) / 2; }
  double rule() const { return (b - a) / 6 * (fa + 4 * fm + fb); }
};

// Halves pieces, a generation at a time, and keeps the points and weights of those that are narrow enough.
class Refinement {
  // So many halvings come first: f may happen to agree at a handful of points.
  static constexpr int64_t kLeastDepth = 3;

 public:
  Refinement(const Integrand& f, double a, double b, const AdaptiveSimpsonOptions& options)
      : f_(f), options_(options), span_(std::abs(b - a)) {
    const std::vector<double> y = at({a, (a + b) / 2, b});
    open_.push_back({a, b, y[0], y[1], y[2]});
  }

  void run() {
    const NoGrad off;
    for (int64_t depth = 0; !open_.empty(); ++depth) {
      if (depth == options_.max_depth || points_seen_ > options_.max_points)
        fail<NumericError>("adaptive_simpson: ", open_.size(), " intervals, one of them at x = ", open_[0].middle(),
                           ", do not meet tol = ", options_.tol, " after ", depth, " halvings and ", points_seen_,
                           " points; there may be a singularity");
      generation(depth >= kLeastDepth);
    }
  }

  // The integral on the tape.
  Tensor sum() const {
    const auto n = int64_t(x_.size());
    const Tensor x = from_vector(x_, {n}).to(default_device());
    const Tensor y = values_at("adaptive_simpson", f_, x, true);
    return weigh(from_vector(w_, {n}).to(y.dtype()).to(y.device()), y);
  }

 private:
  std::vector<double> at(const std::vector<double>& x) {
    const NoGrad off;
    const auto n = int64_t(x.size());
    points_seen_ += n;
    const std::vector<double> y =
        values_at("adaptive_simpson", f_, from_vector(x, {n}).to(default_device()), true).to_vector<double>();
    for (size_t i = 0; i < y.size(); ++i)
      if (!std::isfinite(y[i])) fail<NumericError>("adaptive_simpson: f(", x[i], ") is ", y[i]);
    return y;
  }

  void generation(bool may_keep) {
    std::vector<double> quarters;
    for (const Piece& p : open_) {
      quarters.push_back((p.a + p.middle()) / 2);
      quarters.push_back((p.middle() + p.b) / 2);
    }
    const std::vector<double> y = at(quarters);
    std::vector<Piece> wide;
    for (size_t i = 0; i < open_.size(); ++i) {
      const Piece& p = open_[i];
      const Piece left{p.a, p.middle(), p.fa, y[2 * i], p.fm}, right{p.middle(), p.b, p.fm, y[2 * i + 1], p.fb};
      // A halved rule is off by a fifteenth of what halving changed.
      const double error = std::abs(left.rule() + right.rule() - p.rule()) / 15;
      if (may_keep && error <= options_.tol * std::abs(p.b - p.a) / span_)
        keep(p, quarters[2 * i], quarters[2 * i + 1]);
      else
        wide.insert(wide.end(), {left, right});
    }
    open_ = std::move(wide);
  }

  // Both halves with Richardson's correction: (16 halves - whole) / 15, which is Boole's rule.
  void keep(const Piece& p, double left, double right) {
    const double h = (p.b - p.a) / 90;
    x_.insert(x_.end(), {p.a, left, p.middle(), right, p.b});
    w_.insert(w_.end(), {7 * h, 32 * h, 12 * h, 32 * h, 7 * h});
  }

  const Integrand& f_;
  const AdaptiveSimpsonOptions& options_;
  double span_;
  int64_t points_seen_ = 0;
  std::vector<Piece> open_;
  std::vector<double> x_, w_;
};

}  // namespace

Tensor adaptive_simpson(const Integrand& f, double a, double b, const AdaptiveSimpsonOptions& options) {
  if (!std::isfinite(a) || !std::isfinite(b)) fail<ValueError>("adaptive_simpson: from ", a, " to ", b);
  if (!(options.tol > 0)) fail<ValueError>("adaptive_simpson: tol must be positive, got ", options.tol);
  if (a == b) return zeros({}, {.dtype = f64});
  Refinement pieces(f, a, b, options);
  pieces.run();
  return pieces.sum();
}

MonteCarlo monte_carlo(const Integrand& f, const Tensor& low, const Tensor& high, const MonteCarloOptions& options) {
  check_floating("monte_carlo", "low", low);
  if (low.ndim() != 1 || low.shape() != high.shape())
    fail<ShapeError>("monte_carlo: low and high must be vectors of one length, got ", low.shape(), " and ",
                     high.shape());
  if (low.dtype() != high.dtype()) fail<DTypeError>("monte_carlo: low is ", low.dtype(), ", high is ", high.dtype());
  if (options.samples < 2) fail<ValueError>("monte_carlo: samples must be at least 2, got ", options.samples);
  const int64_t n = options.samples;
  const Tensor u = rand({n, low.numel()}, {.dtype = low.dtype(), .device = low.device()}, options.generator);
  const Tensor size = high - low, volume = prod(size);
  const Tensor y = values_at("monte_carlo", f, low + size * u, true) * volume;
  return {mean(y), std(y) / std::sqrt(double(n))};
}

}  // namespace tenrec
