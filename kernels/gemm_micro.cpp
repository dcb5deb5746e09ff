// The tables of register tiles: every size of tile, compiled once.
#include <array>

#include "tenrec/kernels/gemm_micro.h"

namespace tenrec::kernels::micro {
namespace {

constexpr int kTableVecs = 8;

template <class T, class Op, int kM, int kN>
constexpr OuterFunction<T> outer_entry() {
  if constexpr (kN <= kVecs || kN == most_vecs(kM))
    return &outer<T, Op, kM, kN>;
  else
    return nullptr;
}
template <class T, class Op, int... I>
constexpr auto outer_table(std::integer_sequence<int, I...>) {
  return std::array<OuterFunction<T>, sizeof...(I)>{outer_entry<T, Op, I / kTableVecs + 1, I % kTableVecs + 1>()...};
}

// Entry (rows - 1) * 4 + q: q + 1 quarters of the columns, or for more than one row halves.
template <class T, class Op, int kM, int kQuarters>
constexpr DotFunction<T> dot_entry() {
  constexpr int kFourths = kM == 1 || kQuarters % 2 == 0 ? kQuarters : kQuarters + 1;
  constexpr int kN = (dot_cols<T>(kM) * kFourths + 3) / 4;
  return &dot<T, Op, kM, kN>;
}
template <class T, class Op, int... I>
constexpr auto dot_table(std::integer_sequence<int, I...>) {
  return std::array<DotFunction<T>, sizeof...(I)>{dot_entry<T, Op, I / 4 + 1, I % 4 + 1>()...};
}

}  // namespace

template <class T, class Op>
OuterFunction<T> outer_function(int rows, int vecs) {
  static constexpr auto table = outer_table<T, Op>(std::make_integer_sequence<int, kRows * kTableVecs>{});
  return table[size_t((rows - 1) * kTableVecs + vecs - 1)];
}

template <class T, class Op>
DotFunction<T> dot_function(int rows, int cols) {
  static constexpr auto table = dot_table<T, Op>(std::make_integer_sequence<int, kMostDotRows<T> * 4>{});
  return table[size_t(rows - 1) * 4 + size_t(cols * 4 - 1) / size_t(dot_cols<T>(rows))];
}

template OuterFunction<float> outer_function<float, MultiplyAdd<float>>(int, int);
template OuterFunction<double> outer_function<double, MultiplyAdd<double>>(int, int);
template DotFunction<float> dot_function<float, MultiplyAdd<float>>(int, int);
template DotFunction<double> dot_function<double, MultiplyAdd<double>>(int, int);
#ifdef TENREC_HAVE_BF16_PAIRS
template OuterFunction<float> outer_function<float, MultiplyAddPairs>(int, int);
template DotFunction<float> dot_function<float, MultiplyAddPairs>(int, int);
#endif

}  // namespace tenrec::kernels::micro
