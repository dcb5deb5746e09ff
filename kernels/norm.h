// Batch, layer and root-mean-square normalisation, forward and backward.
//
// Tensors of data are contiguous; f32, bf16 and f16 are computed in f32 and rounded once. Statistics and parameters
// have the accumulator's type: f64 for f64 data, else f32. Means come first and squared deviations from them after,
// block by block in the first-level cache; blocks are joined in order (T. Chan, G. Golub and R. LeVeque, "Updating
// formulae and a pairwise algorithm for computing sample variances", 1979). So the data is read once and nothing
// cancels.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// Data seen as [n, channels, inner]. weight and bias may be null.
void batch_norm_stats(Cpu, const View& x, const View& mean, const View& variance);   // variance: divided by the count
void batch_norm_stats(Cuda, const View& x, const View& mean, const View& variance);  // variance: divided by the count
// y = (x - mean) rstd weight + bias.
void batch_norm(Cpu, const View& x, const View& mean, const View& rstd, const View* weight, const View* bias,
                const View& y);
void batch_norm(Cuda, const View& x, const View& mean, const View& rstd, const View* weight, const View* bias,
                const View& y);
// `fixed`: the statistics do not depend on x (evaluation). Outputs that are null are not computed.
void batch_norm_grad(Cpu, const View& x, const View& dy, const View& mean, const View& rstd, const View* weight,
                     bool fixed, const View* dx, const View* dweight, const View* dbias);
void batch_norm_grad(Cuda, const View& x, const View& dy, const View& mean, const View& rstd, const View* weight,
                     bool fixed, const View* dx, const View* dweight, const View* dbias);

// Data seen as [rows, n]; mean and rstd have one element per row, weight and bias n. Without a mean rows are not
// centred: rstd is then 1 / sqrt(mean(x^2) + eps).
void layer_norm(Cpu, const View& x, const View* weight, const View* bias, double eps, const View& y, const View* mean,
                const View& rstd);
void layer_norm(Cuda, const View& x, const View* weight, const View* bias, double eps, const View& y, const View* mean,
                const View& rstd);
void layer_norm_grad(Cpu, const View& x, const View& dy, const View* mean, const View& rstd, const View* weight,
                     const View* dx, const View* dweight, const View* dbias);
void layer_norm_grad(Cuda, const View& x, const View& dy, const View* mean, const View& rstd, const View* weight,
                     const View* dx, const View* dweight, const View* dbias);

}  // namespace tenrec::kernels
