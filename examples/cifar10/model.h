// The residual network of the CIFAR-10 example. Images [n, 3, 32, 32] to logits [n, 10].
#pragma once

#include "tenrec/tenrec.h"

namespace examples {

// 3x3 convolution, halving of both sides by the largest of four, batch norm, ReLU. To pool before the other two costs a
// quarter of the memory traffic, and says the same as to pool after them while the norm's weight is positive.
class ConvBlock : public tenrec::Module {
 public:
  ConvBlock(int64_t in, int64_t out, bool pool)
      : conv(in, out, 3, {.padding = 1, .bias = false}), norm(out), pool_(pool) {}
  tenrec::Tensor operator()(const tenrec::Tensor& x) const {
    const tenrec::ModuleScope scope(*this);
    const tenrec::Tensor y = conv(x);
    return tenrec::relu(norm(pool_ ? tenrec::max_pool2d(y, 2) : y));
  }
  void visit(tenrec::Visitor& v) override {
    v("conv", conv);
    v("norm", norm);
  }

 private:
  tenrec::Conv2d conv;
  tenrec::BatchNorm2d norm;
  bool pool_;
};

// x + f(x), f being two blocks. He et al., "Deep residual learning for image recognition", 2016.
class Residual : public tenrec::Module {
 public:
  explicit Residual(int64_t channels) : first(channels, channels, false), second(channels, channels, false) {}
  tenrec::Tensor operator()(const tenrec::Tensor& x) const {
    const tenrec::ModuleScope scope(*this);
    return x + second(first(x));
  }
  void visit(tenrec::Visitor& v) override {
    v("first", first);
    v("second", second);
  }

 private:
  ConvBlock first, second;
};

// ResNet-9 as D. Page trained it for the DAWNBench competition ("How to train your ResNet", 2018), there with a width
// of 64: eight convolutions and a linear layer, residual at 16x16 and at 4x4.
class ResNet9 : public tenrec::Module {
 public:
  explicit ResNet9(int64_t width)
      : prepare(3, width, false),
        layer1(width, 2 * width, true),
        residual1(2 * width),
        layer2(2 * width, 4 * width, true),
        layer3(4 * width, 8 * width, true),
        residual3(8 * width),
        head(8 * width, 10, {.bias = false}) {}
  tenrec::Tensor operator()(const tenrec::Tensor& x) const {
    const tenrec::ModuleScope scope(*this);
    const tenrec::Tensor y = layer3(layer2(residual1(layer1(prepare(x)))));
    return head(tenrec::flatten(tenrec::max_pool2d(residual3(y), 4), 1)) * kScale;
  }
  void visit(tenrec::Visitor& v) override {
    v("prepare", prepare);
    v("layer1", layer1);
    v("residual1", residual1);
    v("layer2", layer2);
    v("layer3", layer3);
    v("residual3", residual3);
    v("head", head);
  }

 private:
  static constexpr double kScale = 0.125;  // of the logits: a colder softmax to start from
  ConvBlock prepare, layer1;
  Residual residual1;
  ConvBlock layer2, layer3;
  Residual residual3;
  tenrec::Linear head;
};

}  // namespace examples
