// Sums over the rows of a matrix, or over what belongs to a channel of [n, channels, inner], in two stages. Internal.
//
// A block adds up a piece of a column or channel, whose size depends on the shape alone, and writes its part; a second
// kernel joins the parts of a column in order of their index. What is added up is a `Sum`: it names the tensor `x`
// whose shape rules, and its `State` has the fields of a part; add(row, column, state) takes in what one thread finds
// in a row of x.
#pragma once

#include "tenrec/kernels/cuda/rows.cuh"

namespace tenrec::cuda {

// Two sums, and that is their State.
struct TwoSums {
  static constexpr int kParts = 2;
  double plain = 0, moment = 0;

  __device__ void add(const TwoSums& b) {
    plain += b.plain;
    moment += b.moment;
  }
  template <class Team>
  __device__ void join(const Team& team) {
    plain = team.reduce(plain, 0.0, Add());
    moment = team.reduce(moment, 0.0, Add());
  }
  __device__ void store(double* parts) const {
    parts[0] = plain;
    parts[1] = moment;
  }
  __device__ static TwoSums load(const double* parts) {
    TwoSums s;
    s.plain = parts[0];
    s.moment = parts[1];
    return s;
  }
};

constexpr int64_t kMostPieces = 1024;  // of a column

// --- runs of neighbours ----------------------------------------------------------------------------------------------

// Runs of `run` elements one behind the other, cut into segments of at most `length`.
struct Segments {
  int64_t run, length, per_run, count;
  Segments(int64_t runs, int64_t run_, int64_t most)
      : run(run_), length(std::min(run_, most)), per_run(kernels::ceil_div(run_, length)), count(runs * per_run) {}
  // Segment i, counted over all runs, as a row.
  template <class Team, class T>
  __device__ Row<Team, T> row(const Team& team, const T* x, int64_t i) const {
    const int64_t at = i % per_run * length;
    return Row<Team, T>(team, x, i / per_run * run + at, run - at < length ? run - at : length, 1);
  }
};

// The runs of every channel of [n, channels, inner], `each` segments to a piece.
struct RunPieces {
  static constexpr int64_t kPiece = 16384;  // elements
  int64_t channels, of_channel, each, pieces;
  Segments segments;
  RunPieces(int64_t n, int64_t channels_, int64_t inner) : channels(channels_), segments(n * channels_, inner, kPiece) {
    of_channel = n * segments.per_run;
    each = std::max(std::max<int64_t>(1, kPiece / segments.length), kernels::ceil_div(of_channel, kMostPieces));
    pieces = kernels::ceil_div(of_channel, each);
  }
};

// parts: [pieces, channels, State::kParts].
template <class Team, class T, class Sum>
__global__ void __launch_bounds__(kMostThreads) sum_run_pieces(RunPieces p, int width, Sum sum, double* parts) {
  const Team team(width);
  for (int64_t i = blockIdx.x; i < p.channels * p.pieces; i += gridDim.x) {
    const int64_t channel = i % p.channels, first = i / p.channels * p.each;
    const int64_t end = first + p.each < p.of_channel ? first + p.each : p.of_channel;
    typename Sum::State state;
    for (int64_t u = first + team.index; u < end; u += team.per_block) {
      const int64_t run = u / p.segments.per_run * p.channels + channel;
      const auto row = p.segments.row(team, sum.x, run * p.segments.per_run + u % p.segments.per_run);
      sum.add(row, channel, state);
    }
    state.join(BlockTeam(int(blockDim.x)));
    if (threadIdx.x == 0) state.store(parts + i * Sum::State::kParts);
  }
}

// --- columns ---------------------------------------------------------------------------------------------------------

// The columns of a matrix, `each` rows to a piece.
struct ColumnPieces {
  int64_t rows, columns, each, pieces;
  Teams teams;  // for the columns of a piece
  ColumnPieces(int64_t rows_, int64_t columns_)
      : rows(rows_), columns(columns_), each(0), pieces(0), teams(columns_, 1, 1) {
    constexpr int64_t kLeast = 64, kBlocks = 2048;  // rows of a piece; blocks that keep a device busy
    const int64_t beside = std::min<int64_t>(round_to_power(columns), kWarp);
    const int64_t tiles = kernels::ceil_div(columns, beside);
    const int64_t most = std::clamp<int64_t>(kBlocks / tiles, 1, kMostPieces);
    each = std::max(std::min(rows, kLeast), kernels::ceil_div(rows, most));
    pieces = std::max<int64_t>(1, kernels::ceil_div(rows, std::max<int64_t>(each, 1)));
    const int64_t width = std::min(round_to_power(kernels::ceil_div(each, Row<ColumnTeam, float>::kPacks)),
                                   std::min<int64_t>(kThreads / beside, 64));
    teams = Teams(columns, width, beside);
    teams.grid = blocks_for(tiles * pieces);
  }
};

// parts: [pieces, columns, State::kParts].
template <class T, class Sum>
__global__ void __launch_bounds__(kMostThreads) sum_column_pieces(ColumnPieces p, Sum sum, double* parts) {
  const ColumnTeam team(p.teams.width);
  const int64_t tiles = kernels::ceil_div(p.columns, int64_t(team.per_block));
  for (int64_t i = blockIdx.x; i < tiles * p.pieces; i += gridDim.x) {
    const int64_t column = i % tiles * team.per_block + team.index, first = i / tiles * p.each;
    const bool active = column < p.columns;
    typename Sum::State state;
    if (active) {
      const int64_t count = first + p.each < p.rows ? p.each : p.rows - first;
      sum.add(Row<ColumnTeam, T>(team, sum.x, first * p.columns + column, count, p.columns), column, state);
    }
    state.join(team);
    if (active && team.rank == 0) state.store(parts + (i / tiles * p.columns + column) * Sum::State::kParts);
  }
}

// --- the second stage ------------------------------------------------------------------------------------------------

// The parts of channels of `inner` columns each.
struct Partials {
  const double* data;
  int64_t pieces, channels, inner;
  Teams teams() const { return column_teams(channels, pieces * inner); }
};

// Calls end(channel, state) for every channel, by one thread.
template <class State, class F>
__device__ void join_parts(const Partials& p, int width, const F& end) {
  for_teams<ColumnTeam>(p.channels, width, [&](const ColumnTeam& team, int64_t channel) {
    State state;
    for (int64_t i = team.rank; channel < p.channels && i < p.pieces * p.inner; i += team.width) {
      const int64_t column = channel * p.inner + i % p.inner;
      state.add(State::load(p.data + (i / p.inner * p.channels * p.inner + column) * State::kParts));
    }
    state.join(team);
    if (channel < p.channels && team.rank == 0) end(channel, state);
  });
}

}  // namespace tenrec::cuda
