#include "tenrec/kernels/gemm_plan.h"

#include <bit>

namespace tenrec::kernels {
namespace {

using micro::kRows;
using micro::kVecs;
using micro::kWidth;

// How many threads work at so many tiles. A plan must not depend on their number: a few are assumed.
double ways(int64_t tiles) { return double(std::clamp<int64_t>(tiles, 1, 4)); }

// Estimated time of a plan in vector multiply-adds. Measured on Zen 4 (README.md): turning a matrix costs 0.4 of them
// an element; a sum along k as much as 8 further vectors, and it reads twice as much.
template <class T>
double cost(const GemmShape& s, const GemmPlan& plan) {
  constexpr double kTurn = 0.4, kDotEnd = 8, kDotSlower = 1.06, kOuterEnd = 3;
  constexpr int64_t kW = kWidth<T>;
  if (plan.form == GemmForm::dot)
    return double(s.m * s.n) * (kDotSlower * double(ceil_div(s.k, kW)) + kDotEnd) / ways(plan.tiles());
  const bool swapped = plan.form == GemmForm::swapped;
  const int64_t rows = swapped ? s.n : s.m, cols = swapped ? s.m : s.n, vecs = ceil_div(cols, kW);
  const int64_t tile_rows = swapped ? plan.tile_n : plan.tile_m,
                block = ceil_div(tile_rows, ceil_div(tile_rows, kRows));
  const bool turned = swapped ? !s.trans_a : s.trans_b;
  // A short register tile waits for the latency of its sums.
  const int64_t chains = block * std::min<int64_t>(vecs, turned ? kVecs : micro::most_vecs(int(block)));
  double tiles = double(rows * vecs) * (double(s.k) * std::max(1.0, 5.0 / double(chains)) + kOuterEnd);
  if (swapped) tiles += kTurn * double(s.m * s.n);
  const double turn = turned ? kTurn * double(cols * s.k) : 0;
  if (!plan.packed) return (tiles + turn * double(swapped ? plan.col_tiles : plan.row_tiles)) / ways(plan.tiles());
  return tiles / ways(plan.tiles()) + turn / ways(plan.pack_parts);
}

}  // namespace

template <class T>
GemmPlan plan_gemm(const GemmShape& s, GemmForm form) {
  constexpr int64_t kTileWork = 1 << 19;  // multiply-adds: about 10 us, long against the start of a parallel loop
  constexpr int64_t kTileData = 1 << 15;  // elements of a matrix, where memory is what takes the time
  constexpr int64_t kMostTiles = 24, kFewRows = 64, kMostRows = 256, kMostCols = 384;
  const int64_t work = s.m * s.n * std::max<int64_t>(s.k, 1);
  const auto data = int64_t(std::bit_ceil(uint64_t(std::max({s.m * s.n, s.n * s.k, s.m * s.k}) / kTileData)));
  const int64_t wanted = std::clamp<int64_t>(std::max(work / kTileWork, data), 1, kMostTiles);
  GemmPlan plan{.form = form, .tile_m = s.m, .tile_n = s.n, .row_tiles = 1, .col_tiles = 1};
  const bool swapped = form == GemmForm::swapped;
  const bool turned = swapped ? !s.trans_a : s.trans_b;
  int64_t& rows = swapped ? plan.tile_n : plan.tile_m;
  int64_t& cols = swapped ? plan.tile_m : plan.tile_n;
  const int64_t all_rows = rows, all_cols = cols;
  const int64_t row_unit = kRows, col_unit = kPanel<T>;
  const auto cut = [](int64_t& size, int64_t parts, int64_t unit) {
    if (parts > 1) size = round_up(ceil_div(size, parts), unit);
  };
  // A vector operand in place is best read by one tile alone: columns are cut first. One that is packed for all tiles
  // together is best read by many.
  const bool pack_once = form != GemmForm::dot && (turned || (bad_stride<T>(swapped ? s.lda : s.ldb) && rows > 96));
  if (all_rows == 1 && form != GemmForm::dot) {  // memory is all: long rows of the vector operand
    cut(cols, std::clamp<int64_t>(cols / 1024, 1, wanted), col_unit);
    plan.row_tiles = ceil_div(s.m, plan.tile_m);
    plan.col_tiles = ceil_div(s.n, plan.tile_n);
    return plan;
  }
  if (turned && all_rows <= kFewRows && !swapped) {  // x W^T for a small batch: each tile turns its own rows of W
    constexpr int64_t kUnit = 2 * kWidth<T>;
    cut(cols, std::max(std::min(wanted, ceil_div(cols, kUnit)), ceil_div(cols, kMostCols)), kUnit);
    plan.col_tiles = ceil_div(s.n, plan.tile_n);
    return plan;
  }
  // The gradient of a weight, dy^T x: halves of its rows, as in the product above and in the optimizer.
  const bool halve = form == GemmForm::outer && s.trans_a && !s.trans_b && wanted > 1;
  cut(rows, std::max<int64_t>(halve ? 2 : 1, ceil_div(rows, kMostRows)), row_unit);
  cut(cols, ceil_div(cols, kMostCols), col_unit);
  const int64_t shortest[2][4][2] = {{{256, 192}, {64, 192}, {64, 96}, {2 * kRows, kPanel<T>}},
                                     {{64, 384}, {64, 192}, {32, 96}, {2 * kRows, 2 * kPanel<T>}}};
  for (const auto& [few_rows, few_cols] : shortest[pack_once]) {
    while (ceil_div(all_rows, rows) * ceil_div(all_cols, cols) < wanted) {
      if (cols > few_cols)
        cut(cols, 2, col_unit);
      else if (rows > few_rows)
        cut(rows, 2, row_unit);
      else
        break;
    }
  }
  plan.row_tiles = ceil_div(s.m, plan.tile_m);
  plan.col_tiles = ceil_div(s.n, plan.tile_n);
  if (pack_once && rows < all_rows) {
    plan.packed = std::max<int64_t>(s.k, 1) * round_up(all_cols, kWidth<T>);
    plan.pack_parts = ceil_div(all_cols, kPackCols<T>);
  }
  return plan;
}

template <class T>
GemmPlan plan_gemm(const GemmShape& s) {
  GemmPlan best = plan_gemm<T>(s, GemmForm::outer);
  double best_cost = cost<T>(s, best);
  for (GemmForm form : {GemmForm::swapped, GemmForm::dot}) {
    if (form == GemmForm::dot && (s.trans_a || !s.trans_b)) continue;
    const GemmPlan plan = plan_gemm<T>(s, form);
    const double plan_cost = cost<T>(s, plan);
    if (plan_cost < best_cost) best = plan, best_cost = plan_cost;
  }
  return best;
}

template GemmPlan plan_gemm<float>(const GemmShape&);
template GemmPlan plan_gemm<double>(const GemmShape&);
template GemmPlan plan_gemm<float>(const GemmShape&, GemmForm);
template GemmPlan plan_gemm<double>(const GemmShape&, GemmForm);

}  // namespace tenrec::kernels
