#include "tenrec/kernels/gemm_native.h"

#include <algorithm>

#include "tenrec/kernels/scratch.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/transpose.h"

namespace tenrec::kernels {

namespace {

using micro::Finish;
using micro::kRows;
using micro::kWidth;

// The operand whose elements are multiplied with whole vectors: element (i, p) is data[i * row + p * step].
template <class T>
struct Left {
  const T* data;
  int64_t row, step;
};
// The operand that is read as vectors: [k, n], or with `turned` stored as [n, k]. `packed` holds it in panels if not
// null: for each block of k all of its `packed_cols` columns, of which this product starts at the one numbered
// `packed_first`.
template <class T>
struct Right {
  const T* data;
  int64_t stride;
  bool turned;
  const T* packed = nullptr;
  int64_t packed_cols = 0, packed_first = 0;
};

// Packs the block [p, p + steps) of k, columns [j, j + cols), as panels one after the other: rows of whole vectors,
// zeros behind. Rows are read from end to end, which is what the processor's prefetching expects.
template <class T>
void pack_panels(const Right<T>& right, int64_t p, int64_t steps, int64_t j, int64_t cols, int64_t panel, T* to) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>;
  if (right.turned) {
    for (int64_t first = 0; first < cols; first += panel) {
      const int64_t some = std::min(panel, cols - first);
      transpose_matrix<T, true>(right.data + (j + first) * right.stride + p, right.stride, some, steps,
                                to + first * steps, round_up(some, kW));
    }
    return;
  }
  const int64_t full = cols / panel * panel, rest_vecs = ceil_div(cols - full, kW);
  const micro::Lanes<T> last(int(cols - full - std::max<int64_t>(0, rest_vecs - 1) * kW));
  for (int64_t q = 0; q < steps; ++q) {
    const T* from = right.data + (p + q) * right.stride + j;
    for (int64_t first = 0; first < full; first += panel)
      for (int64_t v = 0; v < panel; v += kW) P::load(from + first + v).store(to + first * steps + q * panel + v);
    for (int64_t v = 0; v < rest_vecs; ++v) {
      T* out = to + full * steps + (q * rest_vecs + v) * kW;
      (v + 1 < rest_vecs ? P::load(from + full + v * kW) : last.load(from + full + v * kW)).store(out);
    }
  }
}

// C[1, n] += left[1, k] B[k, n], B in place, by whole rows of B: eight at a time, which is eight streams of memory.
template <class T, class Op>
void add_rows(int64_t n, int64_t k, const Left<T>& left, const T* b, int64_t b_step, T* c) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>, kSteps = 8;
  const auto add = [&](auto steps, int64_t p) {
    P factor[decltype(steps)::value];
    micro::unrolled<decltype(steps)::value>(
        [&](auto q) TENREC_MELT { factor[q] = Op::broadcast(left.data + (p + q) * left.step); });
    const auto vector = [&](int64_t j, const auto& load, const auto& store) TENREC_MELT {
      P sum = load(c + j);
      micro::unrolled<decltype(steps)::value>(
          [&](auto q) TENREC_MELT { sum = Op::run(factor[q], load(b + (p + q) * b_step + j), sum); });
      store(c + j, sum);
    };
    int64_t j = 0;
    for (; j + kW <= n; j += kW)
      vector(
          j, [](const T* x) TENREC_MELT { return P::load(x); }, [](T* x, P y) TENREC_MELT { y.store(x); });
    if (j == n) return;
    const micro::Lanes<T> rest{int(n - j)};
    vector(
        j, [&](const T* x) TENREC_MELT { return rest.load(x); }, [&](T* x, P y) TENREC_MELT { rest.store(x, y); });
  };
  int64_t p = 0;
  for (; p + kSteps <= k; p += kSteps) add(std::integral_constant<int, kSteps>{}, p);
  for (; p < k; ++p) add(std::integral_constant<int, 1>{}, p);
}

// C[1, n] = left[1, k] B[k, n].
template <class T, class Op>
void row_product(int64_t n, int64_t k, const Left<T>& left, const T* b, int64_t b_step, T* c, const Finish<T>& finish) {
  constexpr int64_t kCols = 8192 / int64_t(sizeof(T));  // of C, which stay in the first cache
  for (int64_t j = 0; j < n; j += kCols) {
    const int64_t cols = std::min(kCols, n - j);
    T* out = c + j;
    if (!finish.accumulate) std::fill_n(out, cols, T(0));
    add_rows<T, Op>(cols, k, left, b + j, b_step, out);
    for (int64_t q = 0; finish.bias && q < cols; ++q) out[q] += finish.bias[j + q];
    for (int64_t q = 0; finish.relu && q < cols; ++q) out[q] = micro::rectified(out[q]);
  }
}

// The element operand's rows in blocks of at most kRows, copied together: [rows, steps] or, where they lie side by
// side, [steps, kRows].
template <class T>
class LeftCopy {
 public:
  LeftCopy(const Left<T>& left, const Parts& rows, int64_t most_steps)
      : by_row_(left.step == 1),
        stride_(by_row_ ? round_up(most_steps, kWidth<T>) + kWidth<T> : kRows),
        block_(by_row_ ? stride_ * kRows : stride_ * most_steps + kWidth<T>),
        size_(block_ * rows.count()) {}

  int64_t size() const { return size_; }
  Left<T> block(const T* copy, int64_t r) const {
    if (by_row_) return {copy + r * block_, stride_, 1};
    return {copy + r * block_, 1, stride_};
  }

  void fill(const Left<T>& left, const Parts& rows, int64_t p, int64_t steps, T* copy) const {
    using P = NativePack<T>;
    const T* from = left.data + p * left.step;
    if (by_row_) {
      for (int64_t r = 0; r < rows.count(); ++r)
        for (int64_t i = 0; i < rows.size(r); ++i)
          std::copy_n(from + (rows.begin(r) + i) * left.row, steps, copy + r * block_ + i * stride_);
      return;
    }
    for (int64_t q = 0; q < steps; ++q, from += left.step) {
      for (int64_t r = 0; r < rows.count(); ++r) {
        for (int64_t i = 0; i < rows.size(r); i += kWidth<T>) {
          const micro::Lanes<T> lanes{int(std::min<int64_t>(kWidth<T>, rows.size(r) - i))};
          const P x = lanes.load(from + rows.begin(r) + i);
          x.store(copy + r * block_ + q * stride_ + i);  // what spills over is overwritten by the next step
        }
      }
    }
  }

 private:
  bool by_row_;
  int64_t stride_, block_, size_;
};

// C[m, n] = left[m, k] right[k, n] on the calling thread.
template <class T, class Op>
void outer_product(int64_t m, int64_t n, int64_t k, const Left<T>& left, const Right<T>& right, T* c, int64_t ldc,
                   const Finish<T>& finish) {
  constexpr int kW = kWidth<T>;
  if (!right.turned && !right.packed && m == 1 && k > 0)
    return row_product<T, Op>(n, k, left, right.data, right.stride, c, finish);
  const Parts depth = depth_parts<T>(k), rows(m, kRows);
  const bool pack = !right.packed && wants_packing<T>(m, right.turned, right.stride);
  // Two and two vectors are better than three and one.
  const int64_t panel = pack && kPanel<T> == 3 * kW && ceil_div(n, kW) == 4 ? 2 * kW : kPanel<T>;
  const bool copy_left =
      n >= 192 && bad_stride<T>(left.step == 1 ? left.row : left.step) && (left.step == 1 || left.row == 1);
  const LeftCopy<T> copy(left, rows, depth.size(0));
  Scratch scratch;
  T* own = pack ? scratch.get<T>(depth.size(0) * round_up(n, kW)) : nullptr;
  T* left_copy = copy_left ? scratch.get<T>(copy.size()) : nullptr;
  for (int64_t d = 0; d < depth.count(); ++d) {
    const int64_t p = depth.begin(d), steps = k ? depth.size(d) : 0;
    if (pack) pack_panels(right, p, steps, 0, n, panel, own);
    if (copy_left) copy.fill(left, rows, p, steps, left_copy);
    const T* panels = pack           ? own
                      : right.packed ? right.packed + p * right.packed_cols + right.packed_first * steps
                                     : nullptr;
    const bool first = d == 0, final = d + 1 == depth.count();
    micro::OuterArgs<T> args{.k = steps,
                             .a = nullptr,
                             .a_row = 0,
                             .a_step = 0,
                             .b = nullptr,
                             .b_step = right.stride,
                             .c = nullptr,
                             .ldc = ldc,
                             .last = kW,
                             .finish = {nullptr, final && finish.relu, !first || finish.accumulate}};
    for (int64_t r = 0; r < rows.count(); ++r) {
      const int count = int(rows.size(r));
      const Left<T> block = copy_left
                                ? copy.block(left_copy, r)
                                : Left<T>{left.data + rows.begin(r) * left.row + p * left.step, left.row, left.step};
      args.a = block.data;
      args.a_row = block.row;
      args.a_step = block.step;
      for (int64_t j = 0, cols = 0; j < n; j += cols) {
        const int64_t left_vecs = ceil_div(n - j, kW);
        const int vecs = panels ? int(std::min(panel / kW, left_vecs)) : micro::tile_vecs(count, left_vecs);
        cols = std::min<int64_t>(vecs * kW, n - j);
        args.b = panels ? panels + j * steps : right.data + p * right.stride + j;
        if (panels) args.b_step = vecs * kW;
        args.c = c + rows.begin(r) * ldc + j;
        args.last = int(cols - (vecs - 1) * kW);
        args.finish.bias = final && finish.bias ? finish.bias + j : nullptr;
        micro::outer_function<T, Op>(count, vecs)(args);
      }
    }
  }
}

// c[i, j] = turned[j, i], finished.
template <class T>
void turn_round(int64_t m, int64_t n, const T* turned, int64_t stride, T* c, int64_t ldc, const Finish<T>& finish) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>;
  for (int64_t j = 0; j < n; j += kW) {
    const int64_t cols = std::min<int64_t>(kW, n - j);
    const micro::Lanes<T> lanes{int(cols)};
    const P bias = finish.bias ? lanes.load(finish.bias + j) : P(T(0));
    for (int64_t i = 0; i < m; i += kW) {
      P square[kW];
      for (int64_t q = 0; q < kW; ++q) square[q] = q < cols ? P::load(turned + (j + q) * stride + i) : P(T(0));
      micro::transpose(square);
      const int64_t rows = std::min<int64_t>(kW, m - i);
      for (int64_t q = 0; q < rows; ++q) {
        P value = square[q];
        T* out = c + (i + q) * ldc + j;
        if (finish.accumulate) value += lanes.load(out);
        if (finish.bias) value += bias;
        if (finish.relu) value = micro::rectified(value);
        lanes.store(out, value);
      }
    }
  }
}

template <class T, class Op>
void swapped_product(int64_t m, int64_t n, int64_t k, const Left<T>& left, const Right<T>& right, T* c, int64_t ldc,
                     const Finish<T>& finish) {
  Scratch scratch;
  const int64_t stride = round_up(n, kWidth<T>);
  T* turned = scratch.get<T>(m * stride);
  outer_product<T, Op>(m, n, k, left, right, turned, stride, {});
  turn_round(n, m, turned, stride, c, ldc, finish);
}

template <class T, class Op>
void dot_product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc,
                 const Finish<T>& finish) {
  const Parts depth(std::max<int64_t>(k, 1), 4096 / int64_t(sizeof(T))), rows(m, micro::kMostDotRows<T>);
  const int64_t width = micro::dot_cols<T>(int(rows.size(rows.count() - 1)));  // the wider, where they differ
  for (int64_t d = 0; d < depth.count(); ++d) {
    const bool first = d == 0, final = d + 1 == depth.count();
    const int64_t p = depth.begin(d);
    for (int64_t j0 = 0; j0 < n; j0 += width) {
      for (int64_t r = 0; r < rows.count(); ++r) {
        const int64_t i = rows.begin(r), step = micro::dot_cols<T>(int(rows.size(r)));
        for (int64_t j = j0; j < std::min(n, j0 + width); j += step) {
          const int cols = int(std::min(step, n - j));
          micro::dot_function<T, Op>(int(rows.size(r)),
                                     cols)({.k = k ? depth.size(d) : 0,
                                            .a = a + i * lda + p,
                                            .lda = lda,
                                            .b = b + j * ldb + p,
                                            .ldb = ldb,
                                            .c = c + i * ldc + j,
                                            .ldc = ldc,
                                            .cols = cols,
                                            .finish = {final && finish.bias ? finish.bias + j : nullptr,
                                                       final && finish.relu, !first || finish.accumulate}});
        }
      }
    }
  }
}

// Room on the stack for the turned operand of a tiny product.
constexpr int64_t kTinyTurned = 1024;

// A product seen from its form: the element operand and the vector operand.
template <class T>
struct Operands {
  Left<T> left;
  Right<T> right;
};
template <class T>
Operands<T> operands(const GemmShape& s, bool swapped, const T* a, const T* b) {
  if (swapped) return {{b, s.trans_b ? s.ldb : 1, s.trans_b ? 1 : s.ldb}, {a, s.lda, !s.trans_a}};
  return {{a, s.trans_a ? 1 : s.lda, s.trans_a ? s.lda : 1}, {b, s.ldb, s.trans_b}};
}

}  // namespace

template <class T>
void gemm_pack(const GemmPlan& plan, const GemmShape& s, int64_t part, const T* a, const T* b, T* packed) {
  const bool swapped = plan.form == GemmForm::swapped;
  const Right<T> right = operands<T>(s, swapped, a, b).right;
  const int64_t n = swapped ? s.m : s.n, cols = round_up(n, kWidth<T>);
  const Parts depth = depth_parts<T>(s.k);
  for (int64_t d = 0; s.k > 0 && d < depth.count(); ++d) {
    const int64_t p = depth.begin(d), steps = depth.size(d), j = part * kPackCols<T>;
    pack_panels(right, p, steps, j, std::min(kPackCols<T>, n - j), kPanel<T>, packed + p * cols + j * steps);
  }
}

template <class T, class Op>
void gemm_tile(const GemmPlan& plan, const GemmShape& s, int64_t tile, const T* a, const T* b, T* c, int64_t ldc,
               const T* packed, const Finish<T>& finish) {
  const GemmArea at = plan.area(s, tile);
  a += s.trans_a ? at.row : at.row * s.lda;
  b += s.trans_b ? at.col * s.ldb : at.col;
  if (plan.form == GemmForm::dot) return dot_product<T, Op>(at.rows, at.cols, s.k, a, s.lda, b, s.ldb, c, ldc, finish);
  const bool swapped = plan.form == GemmForm::swapped;
  Operands<T> in = operands(s, swapped, a, b);
  if (packed) {
    in.right.packed = packed;
    in.right.packed_cols = round_up(swapped ? s.m : s.n, kWidth<T>);
    in.right.packed_first = swapped ? at.row : at.col;
  }
  if (swapped)
    swapped_product<T, Op>(at.cols, at.rows, s.k, in.left, in.right, c, ldc, finish);
  else
    outer_product<T, Op>(at.rows, at.cols, s.k, in.left, in.right, c, ldc, finish);
}

template <class T>
bool is_tiny(const GemmShape& s) {
  return s.m * s.n * s.k <= 2048 && (!s.trans_b || s.k * round_up(s.n, kWidth<T>) <= kTinyTurned);
}

template <class T>
void gemm_tiny(const GemmShape& s, const T* a, const T* b, T* c, const Finish<T>& finish) {
  constexpr int kW = kWidth<T>;
  const auto finish_at = [&](int64_t j) {
    return Finish<T>{finish.bias ? finish.bias + j : nullptr, finish.relu, finish.accumulate};
  };
  if (s.trans_b && !s.trans_a && s.k >= kW / 2) {
    for (int64_t i = 0; i < s.m; i += micro::kMostDotRows<T>) {
      const int rows = int(std::min<int64_t>(micro::kMostDotRows<T>, s.m - i)), step = micro::dot_cols<T>(rows);
      for (int64_t j = 0; j < s.n; j += step) {
        const int cols = int(std::min<int64_t>(step, s.n - j));
        micro::dot_function<T, micro::MultiplyAdd<T>>(rows, cols)({.k = s.k,
                                                                   .a = a + i * s.lda,
                                                                   .lda = s.lda,
                                                                   .b = b + j * s.ldb,
                                                                   .ldb = s.ldb,
                                                                   .c = c + i * s.ldc + j,
                                                                   .ldc = s.ldc,
                                                                   .cols = cols,
                                                                   .finish = finish_at(j)});
      }
    }
    return;
  }
  const T* right = b;
  int64_t b_step = s.ldb;
  T turned[kTinyTurned];
  if (s.trans_b) {
    right = turned;
    b_step = round_up(s.n, kW);
    for (int64_t j = 0; j < s.n; ++j)
      for (int64_t p = 0; p < s.k; ++p) turned[p * b_step + j] = b[j * s.ldb + p];
  }
  const int64_t a_row = s.trans_a ? 1 : s.lda, a_step = s.trans_a ? s.lda : 1;
  for (int64_t i = 0; i < s.m; i += kRows) {
    const int rows = int(std::min<int64_t>(kRows, s.m - i));
    for (int64_t j = 0, cols = 0; j < s.n; j += cols) {
      const int vecs = micro::tile_vecs(rows, ceil_div(s.n - j, kW));
      cols = std::min<int64_t>(vecs * kW, s.n - j);
      micro::outer_function<T>(rows, vecs)({.k = s.k,
                                            .a = a + i * a_row,
                                            .a_row = a_row,
                                            .a_step = a_step,
                                            .b = right + j,
                                            .b_step = b_step,
                                            .c = c + i * s.ldc + j,
                                            .ldc = s.ldc,
                                            .last = int(cols - (vecs - 1) * kW),
                                            .finish = finish_at(j)});
    }
  }
}

#define TENREC_GEMM_TILE(T, Op)                                                                               \
  template void gemm_tile<T, Op>(const GemmPlan&, const GemmShape&, int64_t, const T*, const T*, T*, int64_t, \
                                 const T*, const Finish<T>&);
#define TENREC_GEMM_NATIVE(T)                                                                  \
  template void gemm_pack(const GemmPlan&, const GemmShape&, int64_t, const T*, const T*, T*); \
  template bool is_tiny<T>(const GemmShape&);                                                  \
  template void gemm_tiny(const GemmShape&, const T*, const T*, T*, const Finish<T>&);         \
  TENREC_GEMM_TILE(T, micro::MultiplyAdd<T>)
TENREC_GEMM_NATIVE(float)
TENREC_GEMM_NATIVE(double)
#ifdef TENREC_HAVE_BF16_PAIRS
TENREC_GEMM_TILE(float, micro::MultiplyAddPairs)
#endif
#undef TENREC_GEMM_NATIVE
#undef TENREC_GEMM_TILE

}  // namespace tenrec::kernels
