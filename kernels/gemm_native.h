// Tenrec's own matrix product for f32 and f64: packed panels and register tiles (gemm_micro.h). Internal.
//
// An element's sum runs over k in an order that depends on the shape of the whole product alone, so tiles may go to any
// thread. Where the target has no fused multiply-add in vectors, kHaveNative is false and Eigen multiplies.
#pragma once

#include <cstdint>

#include "tenrec/kernels/gemm.h"
#include "tenrec/kernels/gemm_micro.h"

namespace tenrec::kernels {

#if defined(__FMA__) || defined(__aarch64__)
inline constexpr bool kHaveNative = true;
#else
inline constexpr bool kHaveNative = false;
#endif

// How a product is computed, and how it is cut into tiles that are computed independently. A function of the shape.
enum class GemmForm : uint8_t {
  outer,    // vectors along n
  swapped,  // vectors along m: computes the transpose of C and turns it round
  dot,      // vectors along k, for x @ W^T without packing
};
struct GemmPlan {
  GemmForm form = GemmForm::outer;
  int64_t tile_m = 0, tile_n = 0, row_tiles = 0, col_tiles = 0;
  // Elements of the operand that all tiles need in packed form, 0 where each tile packs for itself or none needs it.
  int64_t packed = 0;
  int64_t pack_parts = 0;
  int64_t tiles() const { return row_tiles * col_tiles; }
};
template <class T>
GemmPlan plan_gemm(const GemmShape& shape);
template <class T>
GemmPlan plan_gemm(const GemmShape& shape, GemmForm form);

// Writes part `part` of plan.pack_parts to `packed`, which holds plan.packed elements.
template <class T>
void gemm_pack(const GemmPlan& plan, const GemmShape& shape, int64_t part, const T* a, const T* b, T* packed);

// Computes one tile on the calling thread, from operands that point at the whole matrices. `packed` is what gemm_pack
// wrote, or null: then the tile packs what it needs.
template <class T>
void gemm_tile(const GemmPlan& plan, const GemmShape& shape, int64_t tile, const T* a, const T* b, T* c,
               const T* packed, const micro::Finish<T>& finish);

// The whole product at once, for a handful of elements: no plan, no tiles.
template <class T>
bool is_tiny(const GemmShape& shape);
template <class T>
void gemm_tiny(const GemmShape& shape, const T* a, const T* b, T* c, const micro::Finish<T>& finish);

}  // namespace tenrec::kernels
