// Tenrec's own matrix product for f32, f64 and pairs of bf16: packed panels and register tiles (gemm_micro.h).
// Internal.
//
// An element's sum runs over k in an order that depends on the shape of the whole product alone, so tiles may go to any
// thread. Where the target has no fused multiply-add in vectors, kHaveNative is false and Eigen multiplies.
#pragma once

#include <cstdint>

#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/gemm_micro.h"
#include "tenrec/kernels/gemm_plan.h"

namespace tenrec::kernels {

#if defined(__FMA__)
inline constexpr bool kHaveNative = true;
#else
inline constexpr bool kHaveNative = false;
#endif

// Writes part `part` of plan.pack_parts to `packed`, which holds plan.packed elements.
template <class T>
void gemm_pack(const GemmPlan& plan, const GemmShape& shape, int64_t part, const T* a, const T* b, T* packed);

// Computes one tile on the calling thread. a and b point at the whole matrices, c and the bias at the tile's first
// column. `packed` is what gemm_pack wrote, or null: then the tile packs what it needs.
template <class T, class Op = micro::MultiplyAdd<T>>
void gemm_tile(const GemmPlan& plan, const GemmShape& shape, int64_t tile, const T* a, const T* b, T* c, int64_t ldc,
               const T* packed, const micro::Finish<T>& finish);

// The whole product at once, for a handful of elements: no plan, no tiles.
template <class T>
bool is_tiny(const GemmShape& shape);
template <class T>
void gemm_tiny(const GemmShape& shape, const T* a, const T* b, T* c, const micro::Finish<T>& finish);

}  // namespace tenrec::kernels
