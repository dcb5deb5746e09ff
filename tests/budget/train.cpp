// What the budgets are measured on (tools/budgets.sh): the convolutional network of PyTorch's MNIST example, trained on
// procedural digits, or on MNIST with the folder as argument. About as long as a first program of one's own.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "tenrec/tenrec.h"

using namespace tenrec;

class Net : public Module {
 public:
  Tensor operator()(const Tensor& input) const {
    const ModuleScope scope(*this);
    Tensor x = relu(conv2_(relu(conv1_(input))));
    x = flatten(dropout1_(max_pool2d(x, 2)), 1);
    return fc2_(dropout2_(relu(fc1_(x))));
  }
  void visit(Visitor& v) override {
    v("conv1", conv1_);
    v("conv2", conv2_);
    v("dropout1", dropout1_);
    v("fc1", fc1_);
    v("dropout2", dropout2_);
    v("fc2", fc2_);
  }

 private:
  Conv2d conv1_{1, 32, 3}, conv2_{32, 64, 3};
  Dropout dropout1_{0.25}, dropout2_{0.5};
  Linear fc1_{9216, 128}, fc2_{128, 10};
};

int main(int argc, char** argv) try {
  const auto load = [&](Split split, int64_t count) {
    return argc > 1 ? mnist(argv[1], split) : digits(split, kDigitSeed, count);
  };
  const int steps = std::getenv("TENREC_TEST_SMALL") ? 20 : 900;
  manual_seed(1);
  Net net;
  Adam optimizer(parameters(net), {.lr = 1e-3});
  DataLoader loader(load(Split::train, 64 * steps), {.batch_size = 64, .shuffle = true, .seed = 1});
  double first = 0, last = 0;
  for (int step = 0; step < steps; ++step) {
    const auto batch = loader.next();
    if (!batch) continue;
    const Tensor loss = cross_entropy(net(batch->input()), batch->target());
    optimizer.zero_grad();
    backward(loss);
    clip_grad_norm_(parameters(net), 5.0);
    optimizer.step();
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  std::printf("loss %.3f, then %.3f\n", first, last);
  return last < first ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
