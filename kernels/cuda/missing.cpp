// Kernels that CUDA does not have yet. Each line here is one to write; weak, so that the real one may
// be tried beside the library.
#include "tenrec/core/error.h"
#include "tenrec/kernels/index.h"
#include "tenrec/kernels/loss.h"
#include "tenrec/kernels/norm.h"
#include "tenrec/kernels/optim.h"
#include "tenrec/kernels/pad.h"
#include "tenrec/kernels/pool.h"
#include "tenrec/kernels/random.h"
#include "tenrec/kernels/reduce.h"
#include "tenrec/kernels/scan.h"
#include "tenrec/kernels/softmax.h"
#include "tenrec/kernels/sort.h"

namespace tenrec::kernels {
namespace {
[[noreturn]] void missing(const char* kernel) {
  fail<DeviceError>(kernel, ": there is no CUDA kernel for it yet; move the tensors with x.to(kCpu)");
}
}  // namespace

[[gnu::weak]] int64_t find_outside(Cuda, const View&, int64_t, int64_t) { missing("find_outside"); }
[[gnu::weak]] void combine_rows(Cuda, const View&, int64_t, bool, const View&) { missing("combine_rows"); }
[[gnu::weak]] void take_rows(Cuda, const View&, const View&, const View&, int64_t) { missing("take_rows"); }
[[gnu::weak]] void add_rows(Cuda, const View&, const View&, const View&, int64_t) { missing("add_rows"); }
[[gnu::weak]] void put_rows(Cuda, const View&, const View&, const View&) { missing("put_rows"); }
[[gnu::weak]] void last_rows(Cuda, const View&, int64_t, const View&) { missing("last_rows"); }
[[gnu::weak]] void gather(Cuda, const View&, const View&, const View&, int64_t) { missing("gather"); }
[[gnu::weak]] void scatter(Cuda, const View&, const View&, const View&, int64_t, Scatter) { missing("scatter"); }
[[gnu::weak]] void last_writers(Cuda, const View&, int64_t, int64_t, const View&) { missing("last_writers"); }
[[gnu::weak]] int64_t count_true(Cuda, const View&) { missing("count_true"); }
[[gnu::weak]] void true_positions(Cuda, const View&, const View&) { missing("true_positions"); }
[[gnu::weak]] void unravel(Cuda, const View&, const Shape&, const View&) { missing("unravel"); }
[[gnu::weak]] void triangle(Cuda, const View&, const View&, int64_t, bool) { missing("triangle"); }
[[gnu::weak]] void one_hot(Cuda, const View&, const View&) { missing("one_hot"); }
[[gnu::weak]] void count_each(Cuda, const View&, const View&) { missing("count_each"); }
[[gnu::weak]] void search_sorted(Cuda, const View&, const View&, const View&, bool) { missing("search_sorted"); }
[[gnu::weak]] void loss_sum(Cuda, PairLoss, double, const View&, const View&, double, const View&) {
  missing("loss_sum");
}
[[gnu::weak]] void loss_each(Cuda, PairLoss, double, const View&, const View&, const View&) { missing("loss_each"); }
[[gnu::weak]] void loss_grad(Cuda, PairLoss, double, const View&, const View&, const View&, double, const View&) {
  missing("loss_grad");
}
[[gnu::weak]] void batch_norm_stats(Cuda, const View&, const View&, const View&) { missing("batch_norm_stats"); }
[[gnu::weak]] void batch_norm(Cuda, const View&, const View&, const View&, const View*, const View*, const View&) {
  missing("batch_norm");
}
[[gnu::weak]] void batch_norm_grad(Cuda, const View&, const View&, const View&, const View&, const View*, bool,
                                   const View*, const View*, const View*) {
  missing("batch_norm_grad");
}
[[gnu::weak]] void layer_norm(Cuda, const View&, const View*, const View*, double, const View&, const View&,
                              const View&) {
  missing("layer_norm");
}
[[gnu::weak]] void layer_norm_grad(Cuda, const View&, const View&, const View&, const View&, const View*, const View*,
                                   const View*, const View*) {
  missing("layer_norm_grad");
}
[[gnu::weak]] void sgd_step(Cuda, DType, std::span<const OptimTensor>, const SgdStep&) { missing("sgd_step"); }
[[gnu::weak]] void adam_step(Cuda, DType, std::span<const OptimTensor>, const AdamStep&) { missing("adam_step"); }
[[gnu::weak]] void rmsprop_step(Cuda, DType, std::span<const OptimTensor>, const RmspropStep&) {
  missing("rmsprop_step");
}
[[gnu::weak]] void adagrad_step(Cuda, DType, std::span<const OptimTensor>, const AdagradStep&) {
  missing("adagrad_step");
}
[[gnu::weak]] void pad(Cuda, const View&, const View&, PadMaps, const void*) { missing("pad"); }
[[gnu::weak]] void pad_grad(Cuda, const View&, const View&, PadMaps) { missing("pad_grad"); }
[[gnu::weak]] void max_pool(Cuda, DType, int64_t, const Windows&, const Windows&, const void*, void*, int32_t*) {
  missing("max_pool");
}
[[gnu::weak]] void pool_scatter(Cuda, DType, int64_t, const PooledPlane&, const void*, const int32_t*, void*) {
  missing("pool_scatter");
}
[[gnu::weak]] void pool_gather(Cuda, DType, int64_t, int64_t, int64_t, const void*, const int32_t*, void*) {
  missing("pool_gather");
}
[[gnu::weak]] void avg_pool(Cuda, DType, int64_t, const Windows&, const Windows&, const float*, const void*, void*) {
  missing("avg_pool");
}
[[gnu::weak]] void avg_pool_grad(Cuda, DType, int64_t, const Windows&, const Windows&, const float*, const void*,
                                 void*) {
  missing("avg_pool_grad");
}
[[gnu::weak]] void random_uniform(Cuda, GeneratorState, double, double, const View&) { missing("random_uniform"); }
[[gnu::weak]] void random_normal(Cuda, GeneratorState, double, double, const View&) { missing("random_normal"); }
[[gnu::weak]] void random_truncated_normal(Cuda, GeneratorState, double, double, double, double, const View&) {
  missing("random_truncated_normal");
}
[[gnu::weak]] void random_exponential(Cuda, GeneratorState, double, const View&) { missing("random_exponential"); }
[[gnu::weak]] void random_bernoulli(Cuda, GeneratorState, double, const View&) { missing("random_bernoulli"); }
[[gnu::weak]] void random_bernoulli(Cuda, GeneratorState, const View&, const View&) { missing("random_bernoulli"); }
[[gnu::weak]] void random_integers(Cuda, GeneratorState, int64_t, uint64_t, const View&) { missing("random_integers"); }
[[gnu::weak]] void dropout(Cuda, GeneratorState, double, const View&, const View&) { missing("dropout"); }
[[gnu::weak]] int64_t random_multinomial(Cuda, GeneratorState, const View&, bool, const View&) {
  missing("random_multinomial");
}
[[gnu::weak]] int64_t random_categorical(Cuda, const View&, const View&, const View&) { missing("random_categorical"); }
[[gnu::weak]] void random_gamma(Cuda, GeneratorState, const View&, const View&) { missing("random_gamma"); }
[[gnu::weak]] void random_poisson(Cuda, GeneratorState, const View&, const View&) { missing("random_poisson"); }
[[gnu::weak]] void reduce(Cuda, ReduceOp, const View&, const View&) { missing("reduce"); }
[[gnu::weak]] void variance(Cuda, const View&, double, bool, const View&, const View&) { missing("variance"); }
[[gnu::weak]] void prod_grad(Cuda, const View&, const View&, const View&) { missing("prod_grad"); }
[[gnu::weak]] void extreme_index(Cuda, bool, const View&, int64_t, const View*, const View&) {
  missing("extreme_index");
}
[[gnu::weak]] void median_index(Cuda, const View&, int64_t, const View&) { missing("median_index"); }
[[gnu::weak]] void quantile_indices(Cuda, const View&, int64_t, const double*, const View&, const View&) {
  missing("quantile_indices");
}
[[gnu::weak]] void cumsum(Cuda, const View&, const View&, int64_t, bool) { missing("cumsum"); }
[[gnu::weak]] void cumprod(Cuda, const View&, const View&, int64_t) { missing("cumprod"); }
[[gnu::weak]] void logcumsumexp(Cuda, const View&, const View&, int64_t) { missing("logcumsumexp"); }
[[gnu::weak]] void cumextreme(Cuda, bool, const View&, const View&, const View&, int64_t) { missing("cumextreme"); }
[[gnu::weak]] void cumprod_grad(Cuda, const View&, const View&, const View&, int64_t) { missing("cumprod_grad"); }
[[gnu::weak]] void logcumsumexp_grad(Cuda, const View&, const View&, const View&, const View&, int64_t) {
  missing("logcumsumexp_grad");
}
[[gnu::weak]] void softmax(Cuda, const View&, const View&, int64_t, bool) { missing("softmax"); }
[[gnu::weak]] void softmax_grad(Cuda, const View&, const View&, const View&, int64_t, bool) { missing("softmax_grad"); }
[[gnu::weak]] void logsumexp(Cuda, const View&, const View&) { missing("logsumexp"); }
[[gnu::weak]] int64_t first_bad_target(Cuda, const int64_t*, int64_t, int64_t, int64_t) { missing("first_bad_target"); }
[[gnu::weak]] void cross_entropy(Cuda, const CrossEntropy&, const View&, const View&, const View&, const View&) {
  missing("cross_entropy");
}
[[gnu::weak]] void cross_entropy_grad(Cuda, const CrossEntropy&, const View&, const View&, const View&, const View&) {
  missing("cross_entropy_grad");
}
[[gnu::weak]] void sort_rows(Cuda, const View&, int64_t, bool, const View&, const View&) { missing("sort_rows"); }
[[gnu::weak]] void kth_of_rows(Cuda, const View&, int64_t, int64_t, const View&, const View&) {
  missing("kth_of_rows");
}
[[gnu::weak]] int64_t number_runs(Cuda, const View&, const View&) { missing("number_runs"); }
[[gnu::weak]] void describe_runs(Cuda, const View&, const View&, const View&, const View&) { missing("describe_runs"); }

}  // namespace tenrec::kernels
