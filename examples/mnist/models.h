// The networks of the MNIST example. Images [n, 1, 28, 28] to logits [n, 10].
#pragma once

#include "tenrec/tenrec.h"

namespace examples {

// The network of PyTorch's MNIST example.
class Cnn : public tenrec::Module {
 public:
  tenrec::Tensor operator()(const tenrec::Tensor& x) const {
    using namespace tenrec;
    const ModuleScope scope(*this);
    Tensor y = relu(conv2(relu(conv1(x))));
    y = flatten(dropout1(max_pool2d(y, 2)), 1);
    return fc2(dropout2(relu(fc1(y))));
  }
  void visit(tenrec::Visitor& v) override {
    v("conv1", conv1);
    v("conv2", conv2);
    v("dropout1", dropout1);
    v("dropout2", dropout2);
    v("fc1", fc1);
    v("fc2", fc2);
  }

 private:
  tenrec::Conv2d conv1{1, 32, 3}, conv2{32, 64, 3};
  tenrec::Dropout dropout1{0.25}, dropout2{0.5};
  tenrec::Linear fc1{9216, 128}, fc2{128, 10};
};

// LeCun et al., "Gradient-based learning applied to document recognition", 1998, with ReLU and max pooling.
inline tenrec::Sequential lenet() {
  using namespace tenrec;
  return Sequential(Conv2d(1, 6, 5, {.padding = 2}), ReLU(), MaxPool2d(2), Conv2d(6, 16, 5), ReLU(), MaxPool2d(2),
                    Flatten(), Linear(400, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10));
}

inline tenrec::Sequential mlp() {
  using namespace tenrec;
  return Sequential(Flatten(), Linear(784, 128), ReLU(), Linear(128, 10));
}

// What the procedural digits must not yield to.
inline tenrec::Sequential linear() { return tenrec::Sequential(tenrec::Flatten(), tenrec::Linear(784, 10)); }

}  // namespace examples
