// Convolutions by cuDNN, NCHW. Of the algorithms that the library's heuristics offer the first deterministic one is
// taken and kept for the shape, so that two runs are bit-equal.
#include <cudnn.h>

#include <array>
#include <map>
#include <mutex>
#include <string>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/kernels/cuda/dnn.h"

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

// The chosen algorithm of one direction.
template <class Algorithm>
struct Choice {
  Algorithm algorithm{};
  size_t workspace = 0;
};
template <class Performance>
auto first_deterministic(const Performance* found, int count, const char* what) {
  for (int i = 0; i < count; ++i)
    if (found[i].status == CUDNN_STATUS_SUCCESS && found[i].determinism == CUDNN_DETERMINISTIC)
      return Choice<decltype(found->algo)>{found[i].algo, found[i].memory};
  fail<DeviceError>(what, ": cuDNN has no deterministic algorithm for this convolution");
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

  Plan(DType dtype, const ConvShape& s) {
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
    // f32 stays f32: TF32 keeps ten bits of each factor.
    TENREC_CUDNN_CHECK(cudnnSetConvolutionMathType(
        convolution.it, dtype == f32 || dtype == f64 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }
};

void check_sizes(const ConvShape& s) {
  for (int64_t size : {s.n * s.c_in * s.h * s.w, s.n * s.c_out * s.out_h * s.out_w, s.c_out * s.c_in * s.kh * s.kw})
    if (size > INT32_MAX)
      fail<ShapeError>("conv2d: cuDNN takes tensors of at most 2^31 - 1 elements, this one has ", size,
                       "; split the batch");
}

Plan& plan_for(DType dtype, const ConvShape& s) {
  using Key = std::array<int64_t, 18>;
  const Key key{device(),   int64_t(dtype), s.n,     s.c_in,  s.h,     s.w,     s.c_out,  s.kh,    s.kw,
                s.stride_h, s.stride_w,     s.pad_h, s.pad_w, s.dil_h, s.dil_w, s.groups, s.out_h, s.out_w};
  thread_local std::map<Key, Plan> plans;
  const auto at = plans.find(key);
  if (at != plans.end()) return at->second;
  check_sizes(s);
  return plans.try_emplace(key, dtype, s).first->second;
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
  if (!p.has_forward) {
    cudnnConvolutionFwdAlgoPerf_t found[kOffers];
    int count = 0;
    TENREC_CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithm_v7(dnn, p.x.it, p.weight.it, p.convolution.it, p.y.it,
                                                              kOffers, &count, found));
    p.forward = first_deterministic(found, count, "conv2d");
    p.has_forward = true;
  }
  const Buffer<char> workspace(int64_t(p.forward.workspace));
  TENREC_CUDNN_CHECK(cudnnConvolutionForward(dnn, kOne.in(dtype), p.x.it, x, p.weight.it, weight, p.convolution.it,
                                             p.forward.algorithm, workspace.data(), p.forward.workspace,
                                             kZero.in(dtype), p.y.it, y));
  if (bias) TENREC_CUDNN_CHECK(cudnnAddTensor(dnn, kOne.in(dtype), p.bias.it, bias, kOne.in(dtype), p.y.it, y));
}

void convolve_input_grad(DType dtype, const ConvShape& s, const void* dy, const void* weight, void* dx,
                         cudaStream_t stream) {
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  if (!p.has_input) {
    cudnnConvolutionBwdDataAlgoPerf_t found[kOffers];
    int count = 0;
    TENREC_CUDNN_CHECK(cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, p.weight.it, p.y.it, p.convolution.it, p.x.it,
                                                                   kOffers, &count, found));
    p.input_grad = first_deterministic(found, count, "conv2d_input_grad");
    p.has_input = true;
  }
  const Buffer<char> workspace(int64_t(p.input_grad.workspace));
  TENREC_CUDNN_CHECK(cudnnConvolutionBackwardData(dnn, kOne.in(dtype), p.weight.it, weight, p.y.it, dy,
                                                  p.convolution.it, p.input_grad.algorithm, workspace.data(),
                                                  p.input_grad.workspace, kZero.in(dtype), p.x.it, dx));
}

void convolve_weight_grad(DType dtype, const ConvShape& s, const void* x, const void* dy, void* dweight,
                          cudaStream_t stream) {
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  if (!p.has_weight) {
    cudnnConvolutionBwdFilterAlgoPerf_t found[kOffers];
    int count = 0;
    TENREC_CUDNN_CHECK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, p.x.it, p.y.it, p.convolution.it, p.weight.it,
                                                                     kOffers, &count, found));
    p.weight_grad = first_deterministic(found, count, "conv2d_weight_grad");
    p.has_weight = true;
  }
  const Buffer<char> workspace(int64_t(p.weight_grad.workspace));
  TENREC_CUDNN_CHECK(cudnnConvolutionBackwardFilter(dnn, kOne.in(dtype), p.x.it, x, p.y.it, dy, p.convolution.it,
                                                    p.weight_grad.algorithm, workspace.data(), p.weight_grad.workspace,
                                                    kZero.in(dtype), p.weight.it, dweight));
}

}  // namespace tenrec::cuda
