// Rows of autograd/ops/compare.h.
#include "op_cases/elementwise_cases.h"

namespace tenrec::testing {
namespace {

const std::vector<double> kLeft = {0, -0.0, 1, 2, -3, kInf, -kInf, kNan, 1, kInf};
const std::vector<double> kRight = {-0.0, 1, 1, -2, -3, kInf, kInf, kNan, kNan, 0};

using Scalars = Tensor (*)(const Tensor&, Scalar);

void add_comparison(const Add& add, const char* op, Binary f, Scalars with_number, bool (*reference)(double, double)) {
  const auto naive = [reference](double a, double b) { return double(reference(a, b)); };
  add({.op = op,
       .inputs = {given(kLeft), given(kRight)},
       .f = op_of(f),
       .reference = reference_of(Numbers(naive)),
       .differentiable = false,
       .bad = {{[f] {
                  f(ones({2, 3}), ones({4}));
                },
                "shapes [2, 3] and [4] do not broadcast"}},
       .bench = elementwise_bench(2, -2, 2, 1)});
  add({.op = op,
       .variant = "broadcast",
       .inputs = {{.shape = {2, 1, 3}}, {.shape = {4, 1}}},
       .f = op_of(f),
       .reference = reference_of(Numbers(naive)),
       .differentiable = false});
  add({.op = op,
       .variant = "integers",
       .inputs = {integers({1, 2, 3}), integers({2, 2, 2})},
       .f = op_of(f),
       .reference = reference_of(Numbers(naive))});
  add({.op = op,
       .variant = "number",
       .inputs = {given(kLeft)},
       .f = op_of([with_number](const Tensor& x) { return with_number(x, 1); }),
       .reference = reference_of(Number([naive](double x) { return naive(x, 1); })),
       .differentiable = false});
  // An integer tensor meets a fraction in floating arithmetic.
  add({.op = op,
       .variant = "integers with a fraction",
       .inputs = {integers({1, 2, 3})},
       .f = op_of([with_number](const Tensor& x) { return with_number(x, 1.5); }),
       .reference = reference_of(Number([naive](double x) { return naive(x, 1.5); }))});
}

void add_comparisons(const Add& add) {
  add_comparison(add, "eq", eq, eq, [](double a, double b) { return a == b; });
  add_comparison(add, "ne", ne, ne, [](double a, double b) { return a != b; });
  add_comparison(add, "lt", lt, lt, [](double a, double b) { return a < b; });
  add_comparison(add, "le", le, le, [](double a, double b) { return a <= b; });
  add_comparison(add, "gt", gt, gt, [](double a, double b) { return a > b; });
  add_comparison(add, "ge", ge, ge, [](double a, double b) { return a >= b; });
  const auto operators = [](std::span<const Tensor> in) {
    return std::vector<Tensor>{
        in[0]<in[1], in[0] <= in[1], in[0]> in[1], in[0] >= in[1], in[0] < 1, 1 < in[0], in[0] <= 1, 1 >= in[0]};
  };
  add({.op = "lt",
       .variant = "operators",
       .inputs = {given({0, 1, 2}), given({1, 1, 1})},
       .f = operators,
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{3}, {1, 0, 0}}, {{3}, {1, 1, 0}}, {{3}, {0, 0, 1}}, {{3}, {0, 1, 1}},
                                       {{3}, {1, 0, 0}}, {{3}, {0, 0, 1}}, {{3}, {1, 1, 0}}, {{3}, {1, 1, 0}}};
           },
       .differentiable = false});
}

void add_logic(const Add& add) {
  const struct {
    const char* op;
    Binary f;
    bool (*reference)(bool, bool);
  } rows[] = {{"logical_and", logical_and, [](bool a, bool b) { return a && b; }},
              {"logical_or", logical_or, [](bool a, bool b) { return a || b; }},
              {"logical_xor", logical_xor, [](bool a, bool b) { return a != b; }}};
  for (const auto& row : rows) {
    const auto naive = [r = row.reference](double a, double b) { return double(r(a != 0, b != 0)); };
    add({.op = row.op,
         .inputs = {given({0, -0.0, 2, kNan}), given({0, 1, 0, kInf})},
         .f = op_of(row.f),
         .reference = reference_of(Numbers(naive)),
         .differentiable = false});
    add({.op = row.op,
         .variant = "bool",
         .inputs = {booleans({0, 0, 1, 1}), booleans({0, 1, 0, 1})},
         .f = op_of(row.f),
         .reference = reference_of(Numbers(naive))});
  }
  const struct {
    const char* op;
    Unary f;
    bool (*reference)(double);
  } tests[] = {{"logical_not", logical_not, [](double x) { return x == 0; }},
               {"isnan", isnan, [](double x) { return std::isnan(x); }},
               {"isinf", isinf, [](double x) { return std::isinf(x); }},
               {"isfinite", isfinite, [](double x) { return std::isfinite(x); }}};
  for (const auto& row : tests) {
    const auto naive = [r = row.reference](double x) { return double(r(x)); };
    add({.op = row.op,
         .inputs = {given({0, -0.0, 1, -2.5, 1e30, kInf, -kInf, kNan})},
         .f = op_of(row.f),
         .reference = reference_of(Number(naive)),
         .dtypes = {f64, f32, bf16},
         .differentiable = false,
         .bench = elementwise_bench(1, -2, 2, 1)});
    add({.op = row.op,
         .variant = "long",
         .inputs = {{.shape = {131}}},
         .f = op_of(row.f),
         .reference = reference_of(Number(naive)),
         .differentiable = false});
    add({.op = row.op,
         .variant = "integers",
         .inputs = {integers({0, 1, -7})},
         .f = op_of(row.f),
         .reference = reference_of(Number(naive))});
  }
}

void add_bits(const Add& add) {
  const struct {
    const char* op;
    Binary f;
    Scalars number;
    int64_t (*reference)(int64_t, int64_t);
  } rows[] = {{"bitwise_and", bitwise_and, bitwise_and, [](int64_t a, int64_t b) { return a & b; }},
              {"bitwise_or", bitwise_or, bitwise_or, [](int64_t a, int64_t b) { return a | b; }},
              {"bitwise_xor", bitwise_xor, bitwise_xor, [](int64_t a, int64_t b) { return a ^ b; }}};
  for (const auto& row : rows) {
    const auto naive = [r = row.reference](double a, double b) { return double(r(int64_t(a), int64_t(b))); };
    const std::string op = row.op;
    add({.op = op,
         .inputs = {integers({0, 5, -1, 12}), integers({3, 6, 7, -4})},
         .f = op_of(row.f),
         .reference = reference_of(Numbers(naive)),
         .bad = {{[f = row.f] { f(ones({2}), ones({2})); }, op + ": expected integer or bool tensors, got f32 and f32"},
                 {[f = row.number] { f(ones({2}, {.dtype = i64}), 0.5); }, op + ": expected an integer"}}});
    add({.op = op,
         .variant = "bool",
         .inputs = {booleans({0, 0, 1, 1}), booleans({0, 1, 0, 1})},
         .f = op_of(row.f),
         .reference = reference_of(Numbers(naive))});
    add({.op = op,
         .variant = "number",
         .inputs = {integers({0, 5, -1, 12})},
         .f = op_of([f = row.number](const Tensor& x) { return f(x, 6); }),
         .reference = reference_of(Number([naive](double x) { return naive(x, 6); }))});
  }
  add({.op = "bitwise_not",
       .inputs = {integers({0, 5, -1})},
       .f = op_of(bitwise_not),
       .reference = reference_of(Number([](double x) { return -x - 1; })),
       .bad = {{[] { bitwise_not(ones({2})); }, "bitwise_not: expected integer or bool tensors"}}});
  add({.op = "bitwise_not",
       .variant = "u8",
       .inputs = {integers({0, 5, 255})},
       .f = op_of([](const Tensor& x) { return bitwise_not(x.to(u8)); }),
       .reference = reference_of(Number([](double x) { return 255 - x; }))});
  add({.op = "bitwise_not",
       .variant = "bool",
       .inputs = {booleans({0, 1})},
       .f = op_of(bitwise_not),
       .reference = reference_of(Number([](double x) { return 1 - x; }))});
  add({.op = "bitwise_left_shift",
       .inputs = {integers({1, 3, -1, 5, 5}), integers({0, 4, 2, 64, -1})},
       .f = op_of(Binary(bitwise_left_shift)),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{5}, {1, 48, -4, 0, 0}}};
           },
       .bad = {{[] { bitwise_left_shift(ones({2}), 1); }, "bitwise_left_shift: expected integer"}}});
  add({.op = "bitwise_left_shift",
       .variant = "number, u8 loses its high bits",
       .inputs = {integers({1, 3, 200})},
       .f = op_of([](const Tensor& x) { return bitwise_left_shift(x.to(u8), 1); }),
       .reference = [](std::span<const Array>) {
         return std::vector<Array>{{{3}, {2, 6, 144}}};
       }});
  add({.op = "bitwise_right_shift",
       .inputs = {integers({64, 7, -8, -8, 9}), integers({3, 1, 1, 70, -1})},
       .f = op_of(Binary(bitwise_right_shift)),
       .reference =
           [](std::span<const Array>) {
             return std::vector<Array>{{{5}, {8, 3, -4, -1, 0}}};
           },
       .bad = {{[] { bitwise_right_shift(ones({2}, {.dtype = i64}), ones({2})); }, "bitwise_right_shift: expected"}}});
  add({.op = "bitwise_right_shift",
       .variant = "number, i32",
       .inputs = {integers({64, -9})},
       .f = op_of([](const Tensor& x) { return bitwise_right_shift(x.to(i32), 2); }),
       .reference = [](std::span<const Array>) {
         return std::vector<Array>{{{2}, {16, -3}}};
       }});
}

void add_close(const Add& add) {
  const std::vector<double> a = {1, 1, 100, 0, kInf, kInf, kNan, 5},
                            b = {1.000001, 1.1, 100.0005, 1e-9, kInf, -kInf, kNan, kInf};
  for (bool equal_nan : {false, true})
    add({.op = "isclose",
         .variant = equal_nan ? "NaN equal" : "",
         .inputs = {given(a), given(b)},
         .f = op_of([=](const Tensor& x, const Tensor& y) { return isclose(x, y, {.equal_nan = equal_nan}); }),
         .reference =
             [=](std::span<const Array>) {
               return std::vector<Array>{{{8}, {1, 0, 1, 1, 1, 0, equal_nan ? 1.0 : 0.0, 0}}};
             },
         .dtypes = {f64, f32},
         .differentiable = false,
         .bad = {
             {[] { isclose(ones({2}), ones({2}), {.rtol = -1}); }, "isclose: rtol and atol must not be negative"}}});
  // allclose and equal give a bool; shown here as tensors.
  const auto flags = [](std::span<const Tensor> in) {
    const Tensor &x = in[0], near = x * (1 + 1e-7), far = x + 1;
    const double values[] = {double(allclose(x, near)),
                             double(allclose(x, far)),
                             double(equal(x, x)),
                             double(equal(x, far)),
                             double(equal(x, reshape(x, {2, 2}))),
                             double(equal(slice(x, 0, 0, 0), slice(x, 0, 0, 0))),
                             double(equal(x / 0 * 0, x / 0 * 0))};
    std::vector<Tensor> out;
    for (double v : values) out.push_back(full({}, v));
    return out;
  };
  add({.op = "isclose",
       .variant = "allclose and equal",
       .inputs = {given({1, 2, 3, 4})},
       .f = flags,
       .reference =
           [](std::span<const Array>) {
             std::vector<Array> out;
             for (double v : {1, 0, 1, 0, 0, 1, 0}) out.push_back({{}, {v}});
             return out;
           },
       .dtypes = {f64, f32},
       .differentiable = false});
}

}  // namespace

void add_compare_cases(const Add& add) {
  add_comparisons(add);
  add_logic(add);
  add_bits(add);
  add_close(add);
}

}  // namespace tenrec::testing
