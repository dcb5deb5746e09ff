#include "tenrec/optim/line_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tenrec {
namespace {

bool finite(const LinePoint& p) { return std::isfinite(p.value) && std::isfinite(p.largest); }

// The minimum of the cubic through values and slopes at a and b (Nocedal and Wright, 3.59), kept in [low, high].
double cubic_minimum(LinePoint a, LinePoint b, double low, double high) {
  if (a.t > b.t) std::swap(a, b);
  const double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t);
  const double square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return (low + high) / 2;
  const double d2 = std::sqrt(square);
  const double t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2));
  return std::min(std::max(t, low), high);
}

class Search {
 public:
  Search(const std::function<LinePoint(double)>& at, const LinePoint& start, double longest,
         const StrongWolfeOptions& options)
      : at_(at), start_(start), longest_(longest), options_(options) {}

  LineSearchResult run(double t) {
    bracket(t);
    if (lost_) return {low_.t > 0 ? low_ : start_, low_.t > 0};
    if (!done_) zoom();
    return {low_, true};
  }

 private:
  bool too_high(const LinePoint& p) const { return p.value > start_.value + options_.c1 * p.t * start_.slope; }
  bool flat(const LinePoint& p) const { return std::abs(p.slope) <= -options_.c2 * start_.slope; }

  // At t, or nearer to `from` where that is not finite.
  LinePoint probe(double t, double from) {
    LinePoint p = at_(t);
    for (int i = 0; i < 20 && !finite(p); ++i) {
      t = from + 0.1 * (t - from);
      p = at_(t);
    }
    lost_ = !finite(p);
    return p;
  }

  void keep(const LinePoint& a, const LinePoint& b) {
    low_ = a.value <= b.value ? a : b;
    high_ = a.value <= b.value ? b : a;
  }

  // Algorithm 3.5: grows t until a good point, or an interval that holds one, is found.
  void bracket(double t) {
    LinePoint previous = start_, p = probe(t, 0);
    low_ = start_;
    for (; !lost_ && iterations_ < options_.max_iterations; ++iterations_) {
      if (too_high(p) || (iterations_ > 1 && p.value >= previous.value)) return keep(previous, p);
      if (flat(p)) {
        done_ = true;
        low_ = p;
        return;
      }
      if (p.slope >= 0) return keep(previous, p);
      t = cubic_minimum(previous, p, p.t + 0.01 * (p.t - previous.t), p.t * 10);
      previous = std::exchange(p, LinePoint());
      low_ = previous;
      p = probe(t, previous.t);
    }
    if (!lost_) keep(start_, p);
  }

  // The cubic's minimum in the bracket, but not twice in a row within a tenth of its ends.
  double inside() {
    const double a = std::min(low_.t, high_.t), b = std::max(low_.t, high_.t);
    double t = cubic_minimum(low_, high_, a, b);
    const double margin = 0.1 * (b - a);
    const bool near_end = std::min(b - t, t - a) < margin;
    if (near_end && (slow_ || t >= b || t <= a)) {
      t = std::abs(t - b) < std::abs(t - a) ? b - margin : a + margin;
      slow_ = false;
    } else {
      slow_ = near_end;
    }
    return t;
  }

  // Algorithm 3.6: shrinks the bracket. low_ is its better end.
  void zoom() {
    while (!done_ && iterations_ < options_.max_iterations) {
      if (std::abs(high_.t - low_.t) * longest_ < options_.tolerance_change) return;
      LinePoint p = probe(inside(), low_.t);
      ++iterations_;
      if (lost_) return;
      if (too_high(p) || p.value >= low_.value) {
        high_ = std::move(p);
        if (high_.value < low_.value) std::swap(low_, high_);
        continue;
      }
      done_ = flat(p);
      if (!done_ && p.slope * (high_.t - low_.t) >= 0) high_ = low_;
      low_ = std::move(p);
    }
  }

  const std::function<LinePoint(double)>& at_;
  const LinePoint& start_;
  double longest_;
  const StrongWolfeOptions& options_;
  LinePoint low_, high_;
  int64_t iterations_ = 0;
  bool done_ = false, lost_ = false, slow_ = false;
};

}  // namespace

LineSearchResult strong_wolfe(const std::function<LinePoint(double)>& at, const LinePoint& start, double t,
                              double longest, const StrongWolfeOptions& options) {
  return Search(at, start, longest, options).run(t);
}

}  // namespace tenrec
