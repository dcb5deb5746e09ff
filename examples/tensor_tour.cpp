// A walk through tensors and the tape; every line prints what it did.
#include <cstdio>

#include "common/app.h"

using namespace tenrec;

namespace {

void show(const char* text, const Tensor& t) { std::printf("%s\n%s\n\n", text, to_string(t).c_str()); }

void tensors() {
  std::puts("== Making tensors: f32 unless told\n");
  const Tensor a = tensor({{1., 2., 3.}, {4., 5., 6.}});
  show("tensor({{1, 2, 3}, {4, 5, 6}})", a);
  show("arange(6, {.dtype = i64})", arange(6, {.dtype = i64}));
  show("full({2}, 0.5)", full({2}, 0.5));

  std::puts("== Views share storage\n");
  const Tensor column = slice(a, 1, 1, 2);
  fill_(column, 0);  // allowed: nothing has recorded `a`
  show("after fill_(slice(a, 1, 1, 2), 0), a is", a);
  show("transpose(a, 0, 1)", transpose(a, 0, 1));

  std::puts("== Broadcasting and promotion are PyTorch's\n");
  show("a + tensor({10, 20, 30})", a + tensor({10., 20., 30.}));
  std::printf("(arange(3, i64) * 2.0).dtype() is %s\n\n", name((arange(3, {.dtype = i64}) * 2.0).dtype()));
  show("sum(a, {.dim = 1, .keepdim = true})", sum(a, {.dim = 1, .keepdim = true}));
}

void tape() {
  std::puts("== The tape\n");
  const Tensor x = tensor({0.5, 1., 2.}, {.dtype = f64, .requires_grad = true});
  const Tensor y = sum(x * x * x);
  show("x", x);
  const Tensor first = grad(y, {x}, {.create_graph = true})[0];
  show("d sum(x^3) / dx = 3 x^2", first);
  show("once more: 6 x", grad(sum(first), {x}, {.create_graph = true})[0]);
  show("hessian", hessian([](const Tensor& v) { return sum(v * v * v); }, x));

  std::puts("== Errors say what was wrong\n");
  try {
    matmul(zeros({2, 3}), zeros({4, 5}));
  } catch (const Error& e) {
    std::printf("%s\n", e.what());
  }
  try {
    fill_(x, 0);
  } catch (const Error& e) {
    std::printf("%s\n\n", e.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A walk through tensors and the tape", "tensor_tour");
  uint64_t seed = 1;
  app.add_option("--seed", seed, "Of the random numbers");
  return examples::run_app(app, argc, argv, [&] {
    manual_seed(seed);
    tensors();
    tape();
    show("randn({2, 3})", randn({2, 3}));
    examples::print_result({{"example", "tensor_tour"}, {"seed", seed}, {"live_tensors", live_tensors()}});
  });
}
