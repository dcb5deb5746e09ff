// Padding: every dimension has a map from the coordinates of the larger tensor to those of the smaller one, or -1 for
// "nothing there". Constant, reflecting, replicating and circular padding differ in their maps alone, and so does
// cropping.
#pragma once

#include <span>
#include <vector>

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// maps[d][i] is the coordinate of x that coordinate i of y shows.
using PadMaps = std::span<const std::vector<int64_t>>;

// y[i, j, ...] = x[maps[0][i], maps[1][j], ...], or the element at `fill` (of x's dtype). Contiguous.
void pad(Cpu, const View& x, const View& y, PadMaps maps, const void* fill);
void pad(Cuda, const View& x, const View& y, PadMaps maps, const void* fill);
// The transpose: dx[a, b, ...] = the sum of dy over all places that show (a, b, ...), in their order. Contiguous,
// floating dtypes; sums of 16-bit floats are kept in f32.
void pad_grad(Cpu, const View& dy, const View& dx, PadMaps maps);
void pad_grad(Cuda, const View& dy, const View& dx, PadMaps maps);

}  // namespace tenrec::kernels
