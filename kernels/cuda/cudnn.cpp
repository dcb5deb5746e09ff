// Convolutions by cuDNN. Of the algorithms that the library's heuristics offer the first deterministic one is taken, or
// the deterministic one that tuning chose (tuning.h), and kept for the shape, so that two runs are bit-equal. Tensors
// are NCHW; while tuning, each algorithm is also timed channels last, the copies there and back among its costs.
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
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

enum class Layout { nchw, channels_last };

// An algorithm of one direction.
template <class Algorithm>
struct Choice {
  Layout layout = Layout::nchw;
  Algorithm algorithm{};
  size_t workspace = 0;
  std::string name() const {
    return concat(layout == Layout::nchw ? "" : "channels last, ", "algorithm ", int(algorithm));
  }
};

// A tensor of a convolution in both layouts.
struct Operand {
  int64_t bytes;
  std::array<TensorDescriptor, 2> layouts;

  Operand(DType dtype, int64_t n, int64_t c, int64_t h, int64_t w) : bytes(n * c * h * w * size_of(dtype)) {
    for (const auto& [layout, format] :
         {std::pair(Layout::nchw, CUDNN_TENSOR_NCHW), std::pair(Layout::channels_last, CUDNN_TENSOR_NHWC)})
      TENREC_CUDNN_CHECK(
          cudnnSetTensor4dDescriptor(in(layout), format, type_of(dtype), int(n), int(c), int(h), int(w)));
  }
  cudnnTensorDescriptor_t in(Layout layout) const { return layouts[size_t(layout)].it; }
};

// Descriptors and choices for a shape. A choice is made when its direction is first asked for.
struct Plan {
  Operand x, weight, y, bias;
  std::array<FilterDescriptor, 2> filters;  // of the weight
  ConvolutionDescriptor convolution;
  std::optional<Choice<cudnnConvolutionFwdAlgo_t>> forward;
  std::optional<Choice<cudnnConvolutionBwdDataAlgo_t>> input_grad;
  std::optional<Choice<cudnnConvolutionBwdFilterAlgo_t>> weight_grad;

  Plan(DType type, const ConvShape& s, kernels::Factors factors)
      : x(type, s.n, s.c_in, s.h, s.w),
        weight(type, s.c_out, s.c_in / s.groups, s.kh, s.kw),
        y(type, s.n, s.c_out, s.out_h, s.out_w),
        bias(type, 1, s.c_out, 1, 1) {
    for (const auto& [layout, format] :
         {std::pair(Layout::nchw, CUDNN_TENSOR_NCHW), std::pair(Layout::channels_last, CUDNN_TENSOR_NHWC)})
      TENREC_CUDNN_CHECK(cudnnSetFilter4dDescriptor(filter(layout), type_of(type), format, int(s.c_out),
                                                    int(s.c_in / s.groups), int(s.kh), int(s.kw)));
    TENREC_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(
        convolution.it, int(s.pad_h), int(s.pad_w), int(s.stride_h), int(s.stride_w), int(s.dil_h), int(s.dil_w),
        CUDNN_CROSS_CORRELATION, type == f64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT));
    TENREC_CUDNN_CHECK(cudnnSetConvolutionGroupCount(convolution.it, int(s.groups)));
    const bool exact = (type == f32 || type == f64) && factors != kernels::Factors::tf32;
    TENREC_CUDNN_CHECK(cudnnSetConvolutionMathType(convolution.it, exact ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }
  cudnnFilterDescriptor_t filter(Layout layout) const { return filters[size_t(layout)].it; }
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

// The deterministic ones, the best first by the library's lights. offer(layout, at most, count, found) asks the
// library.
template <class Performance, class Offer>
auto deterministic(const Offer& offer, const char* what) {
  constexpr int kOffers = 8;
  std::vector<Choice<decltype(Performance::algo)>> choices;
  for (const Layout layout : {Layout::nchw, Layout::channels_last}) {
    if (layout == Layout::channels_last && !tuning_active()) break;
    std::array<Performance, kOffers> found;
    int count = 0;
    const cudnnStatus_t status = offer(layout, kOffers, &count, found.data());
    if (layout == Layout::channels_last && status != CUDNN_STATUS_SUCCESS) break;  // not every type is offered
    if (status != CUDNN_STATUS_SUCCESS) fail<DeviceError>(what, ": cudnn: ", cudnnGetErrorString(status));
    for (int i = 0; i < count; ++i) {
      if (found[i].status != CUDNN_STATUS_SUCCESS || found[i].determinism != CUDNN_DETERMINISTIC) continue;
      const auto same = [&](const auto& c) { return c.layout == layout && c.algorithm == found[i].algo; };
      if (std::none_of(choices.begin(), choices.end(), same))
        choices.push_back({layout, found[i].algo, found[i].memory});
    }
  }
  if (choices.empty()) fail<DeviceError>(what, ": cuDNN has no deterministic algorithm for this convolution");
  return choices;
}

// The first choice, or the one that tuning says: run(choice, output) runs one.
template <class Algorithm, class Run>
Choice<Algorithm> choose_from(const std::vector<Choice<Algorithm>>& choices, const char* what, DType dtype,
                              const ConvShape& s, int64_t output_bytes, cudaStream_t stream, const Run& run) {
  if (!tuning_active() || choices.size() < 2) return choices[0];
  std::vector<std::string> names;
  for (const auto& choice : choices) names.push_back(choice.name());
  const std::string key =
      concat(what, " ", name(dtype), " factors ", int(factors_of(dtype)), " x ", s.n, " ", s.c_in, " ", s.h, " ", s.w,
             " kernel ", s.c_out, " ", s.kh, " ", s.kw, " stride ", s.stride_h, " ", s.stride_w, " pad ", s.pad_h, " ",
             s.pad_w, " dilation ", s.dil_h, " ", s.dil_w, " groups ", s.groups);
  const Buffer<char> output(output_bytes);
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

void relay(cudnnHandle_t dnn, DType dtype, const Operand& it, Layout from, const void* data, Layout to, void* there) {
  TENREC_CUDNN_CHECK(cudnnTransformTensor(dnn, kOne.in(dtype), it.in(from), data, kZero.in(dtype), it.in(to), there));
}

// call(a, b, output, workspace) with the tensors where they lie in the choice's layout.
template <class Algorithm, class Call>
void run_in_layout(cudnnHandle_t dnn, DType dtype, const Choice<Algorithm>& choice, const Operand& a,
                   const void* a_data, const Operand& b, const void* b_data, const Operand& out, void* out_data,
                   const Call& call) {
  const Buffer<char> workspace(int64_t(choice.workspace));
  if (choice.layout == Layout::nchw) return call(a_data, b_data, out_data, workspace.data());
  const Buffer<char> a_last(a.bytes), b_last(b.bytes), out_last(out.bytes);
  relay(dnn, dtype, a, Layout::nchw, a_data, choice.layout, a_last.data());
  relay(dnn, dtype, b, Layout::nchw, b_data, choice.layout, b_last.data());
  call(a_last.data(), b_last.data(), out_last.data(), workspace.data());
  relay(dnn, dtype, out, choice.layout, out_last.data(), Layout::nchw, out_data);
}

}  // namespace

void convolve(DType dtype, const ConvShape& s, const void* x, const void* weight, const void* bias, void* y,
              cudaStream_t stream) {
  using Algorithm = Choice<cudnnConvolutionFwdAlgo_t>;
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  const auto run = [&](const Algorithm& choice, void* to) {
    const Layout in = choice.layout;
    run_in_layout(dnn, dtype, choice, p.x, x, p.weight, weight, p.y, to,
                  [&](const void* a, const void* b, void* out, void* workspace) {
                    TENREC_CUDNN_CHECK(cudnnConvolutionForward(dnn, kOne.in(dtype), p.x.in(in), a, p.filter(in), b,
                                                               p.convolution.it, choice.algorithm, workspace,
                                                               choice.workspace, kZero.in(dtype), p.y.in(in), out));
                  });
  };
  const auto offer = [&](Layout in, int most, int* count, cudnnConvolutionFwdAlgoPerf_t* found) {
    return cudnnGetConvolutionForwardAlgorithm_v7(dnn, p.x.in(in), p.filter(in), p.convolution.it, p.y.in(in), most,
                                                  count, found);
  };
  if (!p.forward)
    p.forward = choose_from(deterministic<cudnnConvolutionFwdAlgoPerf_t>(offer, "conv2d"), "conv2d", dtype, s,
                            p.y.bytes, stream, run);
  run(*p.forward, y);
  if (bias)
    TENREC_CUDNN_CHECK(
        cudnnAddTensor(dnn, kOne.in(dtype), p.bias.in(Layout::nchw), bias, kOne.in(dtype), p.y.in(Layout::nchw), y));
}

void convolve_input_grad(DType dtype, const ConvShape& s, const void* dy, const void* weight, void* dx,
                         cudaStream_t stream) {
  using Algorithm = Choice<cudnnConvolutionBwdDataAlgo_t>;
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  const auto run = [&](const Algorithm& choice, void* to) {
    const Layout in = choice.layout;
    run_in_layout(dnn, dtype, choice, p.weight, weight, p.y, dy, p.x, to,
                  [&](const void* a, const void* b, void* out, void* workspace) {
                    TENREC_CUDNN_CHECK(cudnnConvolutionBackwardData(
                        dnn, kOne.in(dtype), p.filter(in), a, p.y.in(in), b, p.convolution.it, choice.algorithm,
                        workspace, choice.workspace, kZero.in(dtype), p.x.in(in), out));
                  });
  };
  const auto offer = [&](Layout in, int most, int* count, cudnnConvolutionBwdDataAlgoPerf_t* found) {
    return cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, p.filter(in), p.y.in(in), p.convolution.it, p.x.in(in),
                                                       most, count, found);
  };
  if (!p.input_grad)
    p.input_grad = choose_from(deterministic<cudnnConvolutionBwdDataAlgoPerf_t>(offer, "conv2d_input_grad"),
                               "conv2d_input_grad", dtype, s, p.x.bytes, stream, run);
  run(*p.input_grad, dx);
}

void convolve_weight_grad(DType dtype, const ConvShape& s, const void* x, const void* dy, void* dweight,
                          cudaStream_t stream) {
  using Algorithm = Choice<cudnnConvolutionBwdFilterAlgo_t>;
  const cudnnHandle_t dnn = handle(stream);
  Plan& p = plan_for(dtype, s);
  const auto run = [&](const Algorithm& choice, void* to) {
    const Layout in = choice.layout;
    run_in_layout(dnn, dtype, choice, p.x, x, p.y, dy, p.weight, to,
                  [&](const void* a, const void* b, void* out, void* workspace) {
                    TENREC_CUDNN_CHECK(cudnnConvolutionBackwardFilter(
                        dnn, kOne.in(dtype), p.x.in(in), a, p.y.in(in), b, p.convolution.it, choice.algorithm,
                        workspace, choice.workspace, kZero.in(dtype), p.filter(in), out));
                  });
  };
  const auto offer = [&](Layout in, int most, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* found) {
    return cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, p.x.in(in), p.y.in(in), p.convolution.it, p.filter(in),
                                                         most, count, found);
  };
  if (!p.weight_grad)
    p.weight_grad = choose_from(deterministic<cudnnConvolutionBwdFilterAlgoPerf_t>(offer, "conv2d_weight_grad"),
                                "conv2d_weight_grad", dtype, s, p.weight.bytes, stream, run);
  run(*p.weight_grad, dweight);
}

size_t dnn_version() { return cudnnGetVersion(); }

}  // namespace tenrec::cuda
