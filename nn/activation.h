// Activations as layers, for Sequential. Each is the op of the same name (autograd/ops/activation.h) with its options;
// defaults are PyTorch's.
#pragma once

#include "tenrec/autograd/ops.h"
#include "tenrec/nn/linear.h"

namespace tenrec {

namespace detail {

// A layer that is an op without options.
template <Tensor (*op)(const Tensor&)>
class OpLayer : public Module {
 public:
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return op(x);
  }
};

}  // namespace detail

class ReLU : public detail::OpLayer<relu> {};
class ReLU6 : public detail::OpLayer<relu6> {};
class SELU : public detail::OpLayer<selu> {};
class SiLU : public detail::OpLayer<silu> {};
class Mish : public detail::OpLayer<mish> {};
class Softsign : public detail::OpLayer<softsign> {};
class Sigmoid : public detail::OpLayer<sigmoid> {};
class LogSigmoid : public detail::OpLayer<logsigmoid> {};
class HardSigmoid : public detail::OpLayer<hardsigmoid> {};
class HardSwish : public detail::OpLayer<hardswish> {};
class Tanh : public detail::OpLayer<tanh> {};
class Tanhshrink : public detail::OpLayer<tanhshrink> {};

namespace detail {

// A layer that is an op with one number, and one with two.
template <Tensor (*op)(const Tensor&, double)>
class OpLayer1 : public Module {
 public:
  explicit OpLayer1(double value) : value_(value) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return op(x, value_);
  }

 private:
  double value_;
};
template <Tensor (*op)(const Tensor&, double, double)>
class OpLayer2 : public Module {
 public:
  OpLayer2(double a, double b) : a_(a), b_(b) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return op(x, a_, b_);
  }

 private:
  double a_, b_;
};
template <Tensor (*op)(const Tensor&, int64_t)>
class DimLayer : public Module {
 public:
  explicit DimLayer(int64_t dim) : dim_(dim) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return op(x, dim_);
  }

 private:
  int64_t dim_;
};

}  // namespace detail

class LeakyReLU : public detail::OpLayer1<leaky_relu> {
 public:
  explicit LeakyReLU(double negative_slope = 0.01) : OpLayer1(negative_slope) {}
};
class ELU : public detail::OpLayer1<elu> {
 public:
  explicit ELU(double alpha = 1) : OpLayer1(alpha) {}
};
class CELU : public detail::OpLayer1<celu> {
 public:
  explicit CELU(double alpha = 1) : OpLayer1(alpha) {}
};
class Hardshrink : public detail::OpLayer1<hardshrink> {
 public:
  explicit Hardshrink(double lambda = 0.5) : OpLayer1(lambda) {}
};
class Softshrink : public detail::OpLayer1<softshrink> {
 public:
  explicit Softshrink(double lambda = 0.5) : OpLayer1(lambda) {}
};
class Softplus : public detail::OpLayer2<softplus> {
 public:
  explicit Softplus(double beta = 1, double threshold = 20) : OpLayer2(beta, threshold) {}
};
class HardTanh : public detail::OpLayer2<hardtanh> {
 public:
  explicit HardTanh(double min = -1, double max = 1) : OpLayer2(min, max) {}
};
class Threshold : public detail::OpLayer2<threshold> {
 public:
  Threshold(double at, double value) : OpLayer2(at, value) {}
};

// Along `dim`.
class Softmax : public detail::DimLayer<softmax> {
 public:
  explicit Softmax(int64_t dim = -1) : DimLayer(dim) {}
};
class LogSoftmax : public detail::DimLayer<log_softmax> {
 public:
  explicit LogSoftmax(int64_t dim = -1) : DimLayer(dim) {}
};
class Softmin : public detail::DimLayer<softmin> {
 public:
  explicit Softmin(int64_t dim = -1) : DimLayer(dim) {}
};
// Half of the channels gate the other half.
class GLU : public detail::DimLayer<glu> {
 public:
  explicit GLU(int64_t dim = -1) : DimLayer(dim) {}
};

// Hendrycks and Gimpel, 2016; exact by erf, or the tanh approximation.
class GELU : public Module {
 public:
  explicit GELU(GeluApproximation approximate = GeluApproximation::none) : approximate_(approximate) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return gelu(x, approximate_);
  }

 private:
  GeluApproximation approximate_;
};

// A learned slope for negative inputs: one, or one per channel (dimension 1).
class PReLU : public Module {
 public:
  explicit PReLU(int64_t channels = 1, double slope = 0.25)
      : weight(full({channels}, slope, {.requires_grad = true})) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return prelu(x, weight);
  }
  void visit(Visitor& v) override { v("weight", weight); }
  Tensor weight;
};

// silu(w1 x) * (w3 x), then w2: Shazeer, "GLU variants improve transformer", 2020. x [..., dim].
class SwiGLU : public Module {
 public:
  SwiGLU(int64_t dim, int64_t hidden)
      : w1(dim, hidden, {.bias = false}), w2(hidden, dim, {.bias = false}), w3(dim, hidden, {.bias = false}) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return w2(silu(w1(x)) * w3(x));
  }
  void visit(Visitor& v) override {
    v("w1", w1);
    v("w2", w2);
    v("w3", w3);
  }
  Linear w1, w2, w3;
};

}  // namespace tenrec
