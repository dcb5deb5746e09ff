// The names that other people's programs use: tensors, a gradient, an error.
#include <cmath>
#include <cstdio>

#include "tenrec/tenrec.h"

int main() {
  using namespace tenrec;
  Tensor x = tensor({1., 2., 3.}).set_requires_grad(true);
  backward(sum(x * x * 2.0));
  bool ok = x.grad().item<float>(2) == 12.f && x.dtype() == f32;

  // y = w x + b, fitted: touches matrix products, layers, losses and an optimizer.
  manual_seed(1);
  Linear model(1, 1);
  SGD optimizer(parameters(model), {.lr = 0.1});
  const Tensor input = reshape(tensor({-1., 0., 1., 2.}), {4, 1}), target = input * 3.0 + 1.0;
  float loss = 0;
  for (int step = 0; step < 200; ++step) {
    const Tensor error = mse_loss(model(input), target);
    optimizer.zero_grad();
    backward(error);
    optimizer.step();
    loss = error.item<float>();
  }
  ok = ok && loss < 1e-4f && std::abs(model.weight.item<float>() - 3.f) < 0.05f;

  try {
    matmul(zeros({2, 3}), zeros({2, 3}));
    ok = false;
  } catch (const ShapeError& error) {
    std::printf("as it should be: %s\n", error.what());
  }
  std::printf("%s: loss %g\n", ok ? "consumer works" : "consumer is broken", double(loss));
  return ok ? 0 : 1;
}
