#include "tenrec/kernels/reduce.h"

#include <cmath>

#include "tenrec/kernels/reduce_engine.h"
#include "tenrec/kernels/scratch.h"

namespace tenrec::kernels {

namespace {

using namespace detail;

template <class T>
inline constexpr T infinity = std::numeric_limits<T>::infinity();

struct Sum {
  // Minus zero is what leaves every number as it is.
  template <class T>
  static T identity() {
    return std::is_integral_v<T> ? T(0) : T(-0.0);
  }
  template <class T>
  static T empty() {
    return T(0);
  }
  template <class P>
  TENREC_INLINE static P map(P x) {
    return x;
  }
  template <class P>
  TENREC_INLINE static P combine(P a, P b) {
    return a + b;
  }
  template <class T>
  static T finish(T value, int64_t) {
    return value;
  }
};

struct Mean : Sum {
  template <class T>
  static T empty() {
    return std::numeric_limits<T>::quiet_NaN();
  }
  template <class T>
  static T finish(T value, int64_t n) {
    return value / T(n);
  }
};

struct NanSum : Sum {
  template <class P>
  TENREC_INLINE static P map(P x) {
    return select(x != x, P(identity<ElementOf<P>>()), x);
  }
};

// Zeros or the others, counted.
template <bool kZeros>
struct Count : Sum {
  template <class P>
  TENREC_INLINE static P map(P x) {
    using T = ElementOf<P>;
    return select(x == P(T(0)), P(T(kZeros)), P(T(!kZeros)));
  }
};
struct Any : Count<false> {
  template <class T>
  static T finish(T value, int64_t) {
    return value > T(0) ? T(1) : T(0);
  }
};
struct All : Count<true> {
  template <class T>
  static T empty() {
    return T(1);
  }
  template <class T>
  static T finish(T value, int64_t) {
    return value > T(0) ? T(0) : T(1);
  }
};

struct SumAbs : Sum {
  template <class P>
  TENREC_INLINE static P map(P x) {
    return abs(x);
  }
};
struct Norm2 : Sum {
  template <class P>
  TENREC_INLINE static P map(P x) {
    return x * x;
  }
  template <class T>
  static T finish(T value, int64_t) {
    return std::sqrt(value);
  }
};

struct Prod : Sum {
  template <class T>
  static T identity() {
    return T(1);
  }
  template <class T>
  static T empty() {
    return T(1);
  }
  template <class P>
  TENREC_INLINE static P combine(P a, P b) {
    return a * b;
  }
};

// Minimum and maximum: NaN wins, and of two zeros the one with the sign that makes it smaller or larger.
template <bool kMax>
struct Extreme : Sum {
  template <class T>
  static T identity() {
    if constexpr (std::is_integral_v<T>)
      return kMax ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    else
      return kMax ? -infinity<T> : infinity<T>;
  }
  template <class T>
  static T empty() {
    return identity<T>();
  }
  template <class P>
  TENREC_INLINE static P combine(P a, P b) {
    const auto first = kMax ? a > b : a < b;
    if constexpr (std::is_integral_v<ElementOf<P>>)
      return select(first, a, b);
    else
      return select(first | (a != a), a, b);
  }
};
template <bool kMax>
struct ExtremeAbs : Extreme<kMax> {
  template <class T>
  static T identity() {
    return kMax ? T(0) : infinity<T>;
  }
  template <class T>
  static T empty() {
    return identity<T>();
  }
  template <class P>
  TENREC_INLINE static P map(P x) {
    return abs(x);
  }
};

template <class T>
struct SquaredDeviation : Sum {
  const T* center;
  double divisor;
  bool root;
  SquaredDeviation(const T* c, double d, bool r) : center(c), divisor(d), root(r) {}

  struct OfOutput : Sum {
    T c;
    explicit OfOutput(T value) : c(value) {}
    template <class P>
    TENREC_INLINE P map(P x) const {
      return (x - P(c)) * (x - P(c));
    }
  };
  OfOutput at(int64_t o) const { return OfOutput(center[o]); }
  TENREC_INLINE TreePack<T> map_column(TreePack<T> x, int64_t o) const {
    const TreePack<T> d = x - TreePack<T>::load(center + o);
    return d * d;
  }
  template <class U>
  static U empty() {
    return std::numeric_limits<U>::quiet_NaN();
  }
  template <class U>
  U finish(U value, int64_t) const {
    const U y = value / U(divisor);
    return root ? std::sqrt(y) : y;
  }
};

template <class T, class Op>
void run_in(const ReducePlan& p, const Op& op) {
  run_reduction<T>(p, make_loops<Op, T>(op));
}
// The accumulator follows from the dtypes.
template <class Op>
void run_floating(const View& x, const View& y, const Op& op = {}) {
  const ReducePlan p(x, y);
  if (x.dtype == f64)
    run_in<double>(p, op);
  else
    run_in<float>(p, op);
}
template <class Op>
void run(const View& x, const View& y, const Op& op = {}) {
  if (is_floating(x.dtype) || is_floating(y.dtype))
    run_floating(x, y, op);
  else
    run_in<int64_t>(ReducePlan(x, y), op);
}

template <class T>
void variance(const View& x, double correction, bool root, const View& mean, const View& y) {
  run_floating<Mean>(x, mean);
  const ReducePlan p(x, y);
  const double divisor = std::max(0.0, double(p.reduced.numel) - correction);
  // A pack of columns may reach behind the last centre.
  Scratch scratch;
  T* center = scratch.get<T>(mean.numel + kTreeLanes<T>);
  std::copy_n(mean.as<T>(), mean.numel, center);
  std::fill_n(center + mean.numel, kTreeLanes<T>, T(0));
  run_in<T>(p, SquaredDeviation<T>(center, divisor, root));
}

}  // namespace

void reduce(Cpu, ReduceOp op, const View& x, const View& y) {
  switch (op) {
    case ReduceOp::sum:
      return run<Sum>(x, y);
    case ReduceOp::mean:
      return run_floating<Mean>(x, y);
    case ReduceOp::nansum:
      return run_floating<NanSum>(x, y);
    case ReduceOp::prod:
      return run<Prod>(x, y);
    case ReduceOp::amin:
      return run<Extreme<false>>(x, y);
    case ReduceOp::amax:
      return run<Extreme<true>>(x, y);
    case ReduceOp::any:
      return run<Any>(x, y);
    case ReduceOp::all:
      return run<All>(x, y);
    case ReduceOp::count_nonzero:
      return run<Count<false>>(x, y);
    case ReduceOp::sum_abs:
      return run_floating<SumAbs>(x, y);
    case ReduceOp::norm2:
      return run_floating<Norm2>(x, y);
    case ReduceOp::max_abs:
      return run_floating<ExtremeAbs<true>>(x, y);
    case ReduceOp::min_abs:
      return run_floating<ExtremeAbs<false>>(x, y);
  }
}

void variance(Cpu, const View& x, double correction, bool root, const View& mean, const View& y) {
  if (x.dtype == f64)
    variance<double>(x, correction, root, mean, y);
  else
    variance<float>(x, correction, root, mean, y);
}

}  // namespace tenrec::kernels
