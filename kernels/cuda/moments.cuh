// Mean and squared deviations of some elements, in one pass over memory. Internal.
//
// The elements of a batch are in registers, where their mean comes first and the squared deviations from it after, so
// nothing cancels; batches, threads and blocks are joined (T. Chan, G. Golub and R. LeVeque, "Updating formulae and a
// pairwise algorithm for computing sample variances", 1979).
#pragma once

#include "tenrec/kernels/cuda/rows.cuh"

namespace tenrec::cuda {

struct Moments {
  static constexpr int kParts = 3;
  double count = 0, mean = 0, squares = 0;  // squares: of the deviations from the mean

  __device__ void add(const Moments& b) {
    if (b.count == 0) return;
    const double total = count + b.count, share = b.count / total, d = b.mean - mean;
    mean += d * share;
    squares += b.squares + d * d * (count * share);
    count = total;
  }

  // A batch of a row, 0 outside of it, which is overwritten.
  template <class R>
  __device__ void add_batch(const R& row, int64_t batch, typename R::Values& v) {
    using C = typename R::C;
    const int m = row.count_inside(batch);
    if (m == 0) return;
    C sum = 0;
    map(v, [&](C e) {
      sum += e;
      return e;
    });
    const C center = sum / C(m);
    if (m < R::kPacks * R::kVector) row.fill_outside(batch, center, v);
    // `off`: what is wrong with the center, since it was rounded.
    C off = 0, squares_of_batch = 0;
    map(v, [&](C e) {
      const C d = e - center;
      off += d;
      squares_of_batch += d * d;
      return e;
    });
    const double correction = double(off) / m, left = double(squares_of_batch) - double(off) * correction;
    Moments b;
    b.count = m;
    b.mean = double(center) + correction;
    b.squares = left < 0 ? 0 : left;
    add(b);
  }

  // Of all threads of a team, in each of them; `total` is the number of their elements.
  template <class Team>
  __device__ void join(const Team& team, double total) {
    const double own = mean;
    mean = total > 0 ? team.reduce(count * own, 0.0, Add()) / total : 0;
    squares = team.reduce(squares + count * (own - mean) * (own - mean), 0.0, Add());
    count = total;
  }
  template <class Team>
  __device__ void join(const Team& team) {
    join(team, team.reduce(count, 0.0, Add()));
  }

  __device__ void store(double* parts) const {
    parts[0] = count;
    parts[1] = mean;
    parts[2] = squares;
  }
  __device__ static Moments load(const double* parts) {
    Moments m;
    m.count = parts[0];
    m.mean = parts[1];
    m.squares = parts[2];
    return m;
  }
};

}  // namespace tenrec::cuda
