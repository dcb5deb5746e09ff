// Convolutions by cuDNN, NCHW. Of the algorithms that the library's heuristics offer the first deterministic one is
// taken, or the deterministic one that tuning chose (tuning.h), and kept for the shape, so that two runs are bit-equal.
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/dnn.h"
#include "tenrec/kernels/cuda/tuning.h"
#include "tenrec/kernels/precision.h"

namespace tenrec::cuda {
namespace {

using kernels::ConvShape;

#define TENREC_CUDNN_CHECK(call)                                                                             \
  do {                                                                                                       \
    if (const cudnnStatus_t status = (call); status != CUDNN_STATUS_SUCCESS)                                 \
      fail<DeviceError>("cudnn: ", cudnnGetErrorString(status), " in " #call " (cudnn.cpp:", __LINE__, ")"); \
  } while (false)

// One a thread and device: a handle's stream is part of its state.
cudnnHandle_t handle(cudaStream_t stream) {
  thread_local std::map<int, cudnnHandle_t> handles;  // left to the process's end: the driver may go before the thread
  cudnnHandle_t& it = handles[device()];
  if (!it) TENREC_CUDNN_CHECK(cudnnCreate(&it));
  TENREC_CUDNN_CHECK(cudnnSetStream(it, stream));
  return it;
}

template <class T, cudnnStatus_t (*kCreate)(T*), cudnnStatus_t (*kDestroy)(T)>
class Descriptor {
 public:
  Descriptor() { TENREC_CUDNN_CHECK(kCreate(&it)); }
  ~Descriptor() { kDestroy(it); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  T it = nullptr;
};
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

cudnnDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return CUDNN_DATA_DOUBLE;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

// An algorithm of one direction.
template <class Algorithm>
struct Choice {
  Algorithm algorithm{};
  size_t workspace = 0;
};
// The deterministic ones, the best first by the library's lights.
template <class Performance>
auto deterministic(const Performance* found, int count, const char* what) {
  std::vector<Choice<decltype(found->algo)>> choices;
  for (int i = 0; i < count; ++i) {
    if (found[i].status != CUDNN_STATUS_SUCCESS || found[i].determinism != CUDNN_DETERMINISTIC) continue;
    const auto same = [&](const auto& choice) { return choice.algorithm == found[i].algo; };
    if (std::none_of(choices.begin(), choices.end(), same)) choices.push_back({found[i].algo, found[i].memory});
  }
  if (choices.empty()) fail<DeviceError>(what, ": cuDNN has no deterministic algorithm for this convolution");
  return choices;
}

constexpr int kOffers = 8;

// Descriptors and choices for a shape. A choice is made when its direction is first asked for.
struct Plan {
  TensorDescriptor x, y, bias;
  FilterDescriptor weight;
  ConvolutionDescriptor convolution;
  bool has_forward = false, has_input = false, has_weight = false;
  Choice<cudnnConvolutionFwdAlgo_t> forward;
  Choice<cudnnConvolutionBwdDataAlgo_t> input_grad;
  Choice<cudnnConvolutionBwdFilterAlgo_t> weight_grad;

  Plan(DType dtype, const ConvShape& s, kernels::Factors factors) {
    const cudnnDataType_t type = type_of(dtype);
    const auto tensor = [&](const TensorDescriptor& d, int64_t n, int64_t c, int64_t h, int64_t w) {
      TENREC_CUDNN_CHECK(cudnnSetTensor4dDescriptor(d.it, CUDNN_TENSOR_NCHW, type, int(n), int(c), int(h), int(w)));
    };
    tensor(x, s.n, s.c_in, s.h, s.w);
    tensor(y, s.n, s.c_out, s.out_h, s.out_w);
    tensor(bias, 1, s.c_out, 1, 1);
    TENREC_CUDNN_CHECK(cudnnSetFilter4dDescriptor(weight.it, type, CUDNN_TENSOR_NCHW, int(s.c_out),
                                                  int(s.c_in / s.groups), int(s.kh), int(s.kw)));
    TENREC_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(
        convolution.it, int(s.pad_h), int(s.pad_w), int(s.stride_h), int(s.stride_w), int(s.dil_h), int(s.dil_w),
        CUDNN_CROSS_CORRELATION, dtype == f64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT));
    TENREC_CUDNN_CHECK(cudnnSetConvolutionGroupCount(convolution.it, int(s.groups)));
    const bool exact = (dtype == f32 || dtype == f64) && factors != kernels::Factors::tf32;
    TENREC_CUDNN_CHECK(cudnnSetConvolutionMathType(convolution.it, exact ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }
};

void check_sizes(const ConvShape& s) {
  for (int64_t size : {s.n * s.c_in * s.h * s.w, s.n * s.c_out * s.out_h * s.out_w, s.c_out * s.c_in * s.kh * s.kw})
    if (size > INT32_MAX)
      fail<ShapeError>("conv2d: cuDNN takes tensors of at most 2^31 - 1 elements, this one has ", size,
                       "; split the batch");
}

kernels::Factors factors_of(DType dtype) { return kernels::convolution_factors(dtype, kernels::matmul_precision()); }

Plan& plan_for(DType dtype, const ConvShape& s) {
  using Key = std::array<int64_t, 20>;
  const kernels::Factors factors = factors_of(dtype);
  const Key key{int64_t(tuning_generation()),
                int64_t(factors),
                device(),
                int64_t(dtype),
                s.n,
                s.c_in,
                s.h,
                s.w,
                s.c_out,
                s.kh,
                s.kw,
                s.stride_h,
                s.stride_w,
                s.pad_h,
                s.pad_w,
                s.dil_h,
                s.dil_w,
                s.groups,
                s.out_h,
                s.out_w};
  thread_local std::map<Key, Plan> plans;
  const auto at = plans.find(key);
  if (at != plans.end()) return at->second;
  check_sizes(s);
  return plans.try_emplace(key, dtype, s, factors).first->second;
}

// The first choice, or the one that tuning says: run(choice, output) runs one.
template <class Algorithm, class Run>
Choice<Algorithm> choose_from(const std::vector<Choice<Algorithm>>& choices, const char* what, DType dtype,
                              const ConvShape& s, int64_t output_numel, cudaStream_t stream, const Run& run) {
  if (!tuning_active() || choices.size() < 2) return choices[0];
  std::vector<std::string> names;
  for (const auto& choice : choices) names.push_back(concat("algorithm ", int(choice.algorithm)));
  const std::string key =
      concat(what, " ", name(dtype), " factors ", int(factors_of(dtype)), " x ", s.n, " ", s.c_in, " ", s.h, " ", s.w,
             " kernel ", s.c_out, " ", s.kh, " ", s.kw, " stride ", s.stride_h, " ", s.stride_w, " pad ", s.pad_h, " ",
             s.pad_w, " dilation ", s.dil_h, " ", s.dil_w, " groups ", s.groups);
  const Buffer<char> output(output_numel * size_of(dtype));
  return choices[choose(key, names, stream, [&](size_t i) { run(choices[i], output.data()); })];
}

// 1 and 0 in the type that scaling is done in.
struct Scale {
  double wide;
  float narrow;
  explicit Scale(double value) : wide(value), narrow(float(value)) {}
  const void* in(DType dtype) const { return dtype == f64 ? static_cast<const void*>(&wide) : &narrow; }
};
const Scale kOne(1), kZero(0);

}  // namespace

void convolve(DType dtype, const ConvShape& s, const void* x, const void* weight, const void* bias, void* y,
              cudaStream_t stream) {
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  const auto run = [&](const Choice<cudnnConvolutionFwdAlgo_t>& choice, void* to) {
    const Buffer<char> workspace(int64_t(choice.workspace));
    TENREC_CUDNN_CHECK(cudnnConvolutionForward(dnn, kOne.in(dtype), p.x.it, x, p.weight.it, weight, p.convolution.it,
                                               choice.algorithm, workspace.data(), choice.workspace, kZero.in(dtype),
                                               p.y.it, to));
  };
  if (!p.has_forward) {
    cudnnConvolutionFwdAlgoPerf_t found[kOffers];
    int count = 0;
    TENREC_CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithm_v7(dnn, p.x.it, p.weight.it, p.convolution.it, p.y.it,
                                                              kOffers, &count, found));
    p.forward = choose_from(deterministic(found, count, "conv2d"), "conv2d", dtype, s,
                            s.n * s.c_out * s.out_h * s.out_w, stream, run);
    p.has_forward = true;
  }
  run(p.forward, y);
  if (bias) TENREC_CUDNN_CHECK(cudnnAddTensor(dnn, kOne.in(dtype), p.bias.it, bias, kOne.in(dtype), p.y.it, y));
}

void convolve_input_grad(DType dtype, const ConvShape& s, const void* dy, const void* weight, void* dx,
                         cudaStream_t stream) {
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  const auto run = [&](const Choice<cudnnConvolutionBwdDataAlgo_t>& choice, void* to) {
    const Buffer<char> workspace(int64_t(choice.workspace));
    TENREC_CUDNN_CHECK(cudnnConvolutionBackwardData(dnn, kOne.in(dtype), p.weight.it, weight, p.y.it, dy,
                                                    p.convolution.it, choice.algorithm, workspace.data(),
                                                    choice.workspace, kZero.in(dtype), p.x.it, to));
  };
  if (!p.has_input) {
    cudnnConvolutionBwdDataAlgoPerf_t found[kOffers];
    int count = 0;
    TENREC_CUDNN_CHECK(cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, p.weight.it, p.y.it, p.convolution.it, p.x.it,
                                                                   kOffers, &count, found));
    p.input_grad = choose_from(deterministic(found, count, "conv2d_input_grad"), "conv2d_input_grad", dtype, s,
                               s.n * s.c_in * s.h * s.w, stream, run);
    p.has_input = true;
  }
  run(p.input_grad, dx);
}

void convolve_weight_grad(DType dtype, const ConvShape& s, const void* x, const void* dy, void* dweight,
                          cudaStream_t stream) {
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  const auto run = [&](const Choice<cudnnConvolutionBwdFilterAlgo_t>& choice, void* to) {
    const Buffer<char> workspace(int64_t(choice.workspace));
    TENREC_CUDNN_CHECK(cudnnConvolutionBackwardFilter(dnn, kOne.in(dtype), p.x.it, x, p.y.it, dy, p.convolution.it,
                                                      choice.algorithm, workspace.data(), choice.workspace,
                                                      kZero.in(dtype), p.weight.it, to));
  };
  if (!p.has_weight) {
    cudnnConvolutionBwdFilterAlgoPerf_t found[kOffers];
    int count = 0;
    TENREC_CUDNN_CHECK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, p.x.it, p.y.it, p.convolution.it, p.weight.it,
                                                                     kOffers, &count, found));
    p.weight_grad = choose_from(deterministic(found, count, "conv2d_weight_grad"), "conv2d_weight_grad", dtype, s,
                                s.c_out * (s.c_in / s.groups) * s.kh * s.kw, stream, run);
    p.has_weight = true;
  }
  run(p.weight_grad, dweight);
}

size_t dnn_version() { return cudnnGetVersion(); }

}  // namespace tenrec::cuda
