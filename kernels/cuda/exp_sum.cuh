// The maximum of a row and the sum of e^(x - maximum), in one pass. Internal.
#pragma once

#include "tenrec/kernels/cuda/rows.cuh"

namespace tenrec::cuda {

// Over part of a row. The largest element itself counts 1, infinities included, so the sum is NaN only if there is one
// in the row.
template <class C>
struct ExpSum {
  C max = -std::numeric_limits<C>::infinity();  // NaN left out
  double sum = 0;

  // Packs of a batch; `keep`: they become e^(v - max).
  template <int kPacks, int kVector>
  __device__ void add(C (&v)[kPacks][kVector], bool keep) {
    C largest = max;
    TENREC_UNROLL
    for (int k = 0; k < kPacks; ++k) {
      TENREC_UNROLL
      for (int j = 0; j < kVector; ++j) largest = Larger()(largest, v[k][j]);
    }
    // In double: this factor goes into everything before it, perhaps once for every batch.
    if (largest > max && sum != 0) sum *= std::exp(double(max) - double(largest));
    max = largest;
    TENREC_UNROLL
    for (int k = 0; k < kPacks; ++k) {
      C part = 0;
      TENREC_UNROLL
      for (int j = 0; j < kVector; ++j) {
        const C e = v[k][j] == max ? C(1) : exp_of(v[k][j] - max);
        part += e;
        if (keep) v[k][j] = e;
      }
      sum += double(part);
    }
  }

  // The whole row's, in every thread of the team.
  template <class Team>
  __device__ void join(const Team& team) {
    const C all = team.reduce(max, -std::numeric_limits<C>::infinity(), Larger());
    if (max != all) sum *= double(exp_of(max - all));
    max = all;
    sum = team.reduce(sum, 0.0, Add());
  }
};

}  // namespace tenrec::cuda
