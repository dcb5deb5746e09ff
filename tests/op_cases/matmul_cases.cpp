#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

// Batched matrix product from the definition; leading dimensions broadcast.
Array product(const Array& a, const Array& b) {
  const int64_t na = a.shape.ndim(), nb = b.shape.ndim();
  const int64_t m = a.shape[na - 2], k = a.shape[na - 1], n = b.shape[nb - 1];
  Shape ba, bb;
  for (int64_t d = 0; d + 2 < na; ++d) ba.push_back(a.shape[d]);
  for (int64_t d = 0; d + 2 < nb; ++d) bb.push_back(b.shape[d]);
  Shape batch = broadcast_shapes("reference", ba, bb);
  Array y{batch, {}};
  y.shape.push_back(m);
  y.shape.push_back(n);
  const auto at = [](const Shape& own, const Shape& all, int64_t linear) {
    int64_t offset = 0, step = 1;
    for (int64_t d = all.ndim() - 1; d >= 0; --d) {
      const int64_t o = d - (all.ndim() - own.ndim()), i = linear % all[d];
      linear /= all[d];
      if (o < 0) continue;
      if (own[o] != 1) offset += i * step;
      step *= own[o];
    }
    return offset;
  };
  for (int64_t p = 0; p < checked_numel(batch); ++p) {
    const double* x = a.values.data() + at(ba, batch, p) * m * k;
    const double* w = b.values.data() + at(bb, batch, p) * k * n;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) sum += x[i * k + l] * w[l * n + j];
        y.values.push_back(sum);
      }
  }
  return y;
}

Array transposed(const Array& x) {
  Array y{{x.shape[1], x.shape[0]}, {}};
  for (int64_t j = 0; j < x.shape[1]; ++j)
    for (int64_t i = 0; i < x.shape[0]; ++i) y.values.push_back(x.at({i, j}));
  return y;
}

Array reshaped(Array x, const Shape& shape) {
  x.shape = shape;
  return x;
}

OpCase matmul_case(const char* variant, const Shape& a, const Shape& b) {
  return {.op = "matmul",
          .variant = variant,
          .inputs = {{.shape = a}, {.shape = b}},
          .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{matmul(in[0], in[1])}; },
          .reference =
              [a, b](std::span<const Array> in) {
                Array x = in[0], w = in[1];
                if (a.ndim() == 1) x.shape.insert(0, 1);
                if (b.ndim() == 1) w.shape.push_back(1);
                Array y = product(x, w);
                if (b.ndim() == 1) y.shape.erase(y.shape.ndim() - 1);
                if (a.ndim() == 1) y.shape.erase(y.shape.ndim() - (b.ndim() == 1 ? 1 : 2));
                return std::vector<Array>{y};
              },
          .tolerance = {.f32 = 1e-5, .bf16 = 2e-2, .f16 = 4e-3},
          .also_covers = {"batched_matmul", "transpose", "unsqueeze", "reshape", "sum"}};
}

}  // namespace

void add_matmul_cases(const Add& add) {
  OpCase plain = matmul_case("matrices", {3, 4}, {4, 5});
  plain.bad = {{[] {
                  matmul(zeros({2, 3}), zeros({4, 5}));
                },
                "the inner sizes 3 and 4 differ"},
               {[] {
                  matmul(zeros({}), zeros({4, 5}));
                },
                "at least one dimension"},
               {[] {
                  matmul(zeros({2, 3, 4}), zeros({3, 4, 5}));
                },
                "do not broadcast"},
               {[] {
                  matmul(zeros({2, 3}, {.dtype = boolean}), zeros({3, 2}, {.dtype = boolean}));
                },
                "not defined for bool"}};
  plain.bench = {.shapes = {{64, 784}, {512, 512}, {1024, 1024}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{{.shape = s}, {.shape = {s[1], s[1]}}};
                     },
                 .bytes_per_element = 12,
                 .flops = [](const Shape& s) { return 2.0 * double(s[0]) * double(s[1]) * double(s[1]); }};
  add(plain);
  add(matmul_case("vector, vector", {4}, {4}));
  add(matmul_case("matrix, vector", {3, 4}, {4}));
  add(matmul_case("vector, matrix", {4}, {4, 3}));
  add(matmul_case("batch, matrix", {2, 3, 4}, {4, 2}));
  add(matmul_case("batch, vector", {2, 3, 4}, {4}));
  add(matmul_case("matrix, batch", {3, 4}, {2, 4, 2}));
  add(matmul_case("batches that broadcast", {2, 1, 3, 2}, {2, 2, 3}));
  add(matmul_case("inner size 0", {3, 0}, {0, 2}));
  add(matmul_case("empty batch", {0, 3, 4}, {4, 2}));
  add(matmul_case("one element", {1, 1}, {1, 1}));
  add({.op = "matmul",
       .variant = "integers",
       .inputs = {{.shape = {3, 4}, .low = -9, .high = 9, .kind = Input::integer},
                  {.shape = {4, 2}, .low = -9, .high = 9, .kind = Input::integer}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{matmul(in[0], in[1])}; },
       .reference = [](std::span<const Array> in) { return std::vector<Array>{product(in[0], in[1])}; },
       .differentiable = false});
  add({.op = "linear",
       .variant = "with bias",
       .inputs = {{.shape = {3, 4}}, {.shape = {5, 4}}, {.shape = {5}}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{linear(in[0], in[1], in[2])}; },
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{zip_array(product(in[0], transposed(in[1])), in[2], std::plus<>())};
           },
       .tolerance = {.f32 = 1e-5, .bf16 = 3e-2, .f16 = 4e-3},
       .also_covers = {"matmul", "transpose", "sum"},
       .bad = {{[] {
                  linear(zeros({2, 3}), zeros({5, 4}));
                },
                "the last size of the input must equal in"},
               {[] {
                  linear(zeros({2, 4}), zeros({5, 4}), zeros({4}));
                },
                "a bias of shape [4]"},
               {[] {
                  linear(zeros({2, 4}, {.dtype = f64}), zeros({5, 4}));
                },
                "input of f64, weight of f32"}},
       .bench = {.shapes = {{64, 784}, {256, 1024}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{{.shape = s}, {.shape = {128, s[1]}}, {.shape = {128}}};
                     },
                 .bytes_per_element = 4,
                 .flops_per_element = 256}});
  add({.op = "linear",
       .variant = "three dimensions, no bias",
       .inputs = {{.shape = {2, 3, 4}}, {.shape = {2, 4}}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{linear(in[0], in[1])}; },
       .reference = [](std::span<const Array> in) { return std::vector<Array>{product(in[0], transposed(in[1]))}; },
       .tolerance = {.f32 = 1e-5, .bf16 = 2e-2, .f16 = 4e-3},
       .also_covers = {"reshape"}});
  add({.op = "linear",
       .variant = "empty batch",
       .inputs = {{.shape = {0, 4}}, {.shape = {2, 4}}, {.shape = {2}}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{linear(in[0], in[1], in[2])}; },
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{0, 2}, {}}};
           }});

  const auto einsum_case = [&](const char* equation, std::vector<Input> inputs, Reference reference) {
    add({.op = "matmul",
         .variant = std::string("einsum ") + equation,
         .inputs = std::move(inputs),
         .f =
             [equation](std::span<const Tensor> in) {
               return std::vector<Tensor>{einsum(equation, {in.begin(), in.end()})};
             },
         .reference = std::move(reference),
         .tolerance = {.f32 = 1e-5, .bf16 = 3e-2, .f16 = 6e-3},
         .also_covers = {"permute", "diagonal", "diagonal_grad", "expand", "sum", "reshape"}});
  };
  einsum_case("ij,jk->ik", {{.shape = {2, 3}}, {.shape = {3, 4}}},
              [](std::span<const Array> in) { return std::vector<Array>{product(in[0], in[1])}; });
  einsum_case("bij,bjk->bik", {{.shape = {2, 2, 3}}, {.shape = {2, 3, 2}}},
              [](std::span<const Array> in) { return std::vector<Array>{product(in[0], in[1])}; });
  einsum_case("ij->ji", {{.shape = {2, 3}}},
              [](std::span<const Array> in) { return std::vector<Array>{transposed(in[0])}; });
  einsum_case("ij->", {{.shape = {2, 3}}}, [](std::span<const Array> in) {
    double sum = 0;
    for (double v : in[0].values) sum += v;
    return std::vector<Array>{{{}, {sum}}};
  });
  einsum_case("ii->i", {{.shape = {3, 3}}}, [](std::span<const Array> in) {
    return std::vector<Array>{{{3}, {in[0].at({0, 0}), in[0].at({1, 1}), in[0].at({2, 2})}}};
  });
  einsum_case("i,j", {{.shape = {2}}, {.shape = {3}}}, [](std::span<const Array> in) {
    return std::vector<Array>{product(reshaped(in[0], {2, 1}), reshaped(in[1], {1, 3}))};
  });
  einsum_case("...ij,...jk->...ik", {{.shape = {2, 1, 2, 3}}, {.shape = {2, 3, 2}}},
              [](std::span<const Array> in) { return std::vector<Array>{product(in[0], in[1])}; });
  einsum_case("ij,jk,kl->il", {{.shape = {2, 2}}, {.shape = {2, 3}}, {.shape = {3, 2}}},
              [](std::span<const Array> in) { return std::vector<Array>{product(product(in[0], in[1]), in[2])}; });
  add({.op = "matmul",
       .variant = "einsum errors",
       .inputs = {{.shape = {2, 2}}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{einsum("ij->ij", {in[0]})}; },
       .reference = [](std::span<const Array> in) { return std::vector<Array>{in[0]}; },
       .bad = {{[] {
                  einsum("ij,jk->ik", {zeros({2, 2})});
                },
                "names 2 operands, 1 were given"},
               {[] {
                  einsum("ijk->i", {zeros({2, 2})});
                },
                "names 3 dimensions"},
               {[] {
                  einsum("ij->ik", {zeros({2, 2})});
                },
                "output label 'k' is in no operand"},
               {[] {
                  einsum("i$->i", {zeros({2, 2})});
                },
                "unexpected '$'"},
               {[] {
                  einsum("ij,jk->ik", {zeros({2, 3}), zeros({2, 2})});
                },
                "label 'j' is 3 and 2 long"}}});
}

}  // namespace tenrec::testing
