// Rows of the functions of three operands in autograd/ops/elementwise.h.
#include "op_cases/elementwise_cases.h"

namespace tenrec::testing {
namespace {

Array zip3_array(const Array& a, const Array& b, const Array& c,
                 const std::function<double(double, double, double)>& f) {
  // The position in the first two, then the values.
  const Array first = zip_array(a, b, [](double x, double) { return x; });
  const Array second = zip_array(a, b, [](double, double y) { return y; });
  const Array x = zip_array(first, c, [](double v, double) { return v; });
  const Array y = zip_array(second, c, [](double v, double) { return v; });
  Array z = zip_array(first, c, [](double, double v) { return v; });
  for (size_t i = 0; i < z.values.size(); ++i) z.values[i] = f(x.values[i], y.values[i], z.values[i]);
  return z;
}
Reference reference3(const std::function<double(double, double, double)>& f) {
  return [f](std::span<const Array> in) { return std::vector<Array>{zip3_array(in[0], in[1], in[2], f)}; };
}

void add_where(const Add& add) {
  const auto pick = [](double c, double a, double b) { return c != 0 ? a : b; };
  const Input condition = {.shape = {3, 4}, .kind = Input::boolean};
  using Three = Tensor (*)(const Tensor&, const Tensor&, const Tensor&);
  add({.op = "where",
       .inputs = {condition, {.shape = {3, 4}}, {.shape = {3, 4}}},
       .f = op_of(Three(where)),
       .reference = reference3(pick),
       .bad = {{[] { where(ones({2}), ones({2}), ones({2})); }, "where: expected a bool condition, got f32"},
               {[] { where(gt(ones({2}), 0), ones({3}), ones({2})); }, "where: shapes"}},
       .bench = {.shapes = {{65536}, {1 << 22}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{{.shape = s, .kind = Input::boolean}, {.shape = s}, {.shape = s}};
                     },
                 .bytes_per_element = 13,
                 .flops_per_element = 1}});
  add({.op = "where",
       .variant = "broadcast",
       .inputs = {{.shape = {3, 1}, .kind = Input::boolean}, {.shape = {4}}, {.shape = {2, 1, 1}}},
       .f = op_of(Three(where)),
       .reference = reference3(pick)});
  add({.op = "where",
       .variant = "the other side may be NaN",
       .inputs = {booleans({1, 0, 1, 0}), given({1, kNan, 2, kInf}), given({kNan, 3, kInf, 4})},
       .f = op_of(Three(where)),
       .reference = reference3(pick),
       .differentiable = false});
  add({.op = "where",
       .variant = "number right",
       .inputs = {condition, {.shape = {3, 4}}},
       .f = op_of([](const Tensor& c, const Tensor& x) { return where(c, x, 7); }),
       .reference = reference_of(Numbers([](double c, double x) { return c != 0 ? x : 7; }))});
  add({.op = "where",
       .variant = "number left",
       .inputs = {condition, {.shape = {3, 4}}},
       .f = op_of([](const Tensor& c, const Tensor& x) { return where(c, 7, x); }),
       .reference = reference_of(Numbers([](double c, double x) { return c != 0 ? 7 : x; }))});
  add({.op = "where",
       .variant = "numbers",
       .inputs = {booleans({1, 0})},
       .f = op_of([](const Tensor& c) { return where(c, 2, 3); }),
       .reference = reference_of(Number([](double c) { return c != 0 ? 2 : 3; }))});
  add({.op = "where",
       .variant = "integers",
       .inputs = {booleans({1, 0}), integers({1LL << 53, 5}), integers({4, -(1LL << 53)})},
       .f = op_of(Three(where)),
       .reference = reference3(pick)});
}

void add_ternary(const Add& add) {
  using Three = Tensor (*)(const Tensor&, const Tensor&, const Tensor&);
  const auto mix = [](double a, double b, double w) { return a + w * (b - a); };
  const std::vector<Input> cube = {{.shape = {3, 4}}, {.shape = {3, 4}}, {.shape = {3, 4}, .low = 0.5, .high = 2}};
  const std::vector<Input> spread = {{.shape = {2, 1, 4}}, {.shape = {3, 1}}, {.shape = {4}, .low = 0.5, .high = 2}};
  for (const auto& inputs : {cube, spread}) {
    const std::string variant = inputs[0].shape.ndim() == 2 ? "" : "broadcast";
    add({.op = "lerp",
         .variant = variant,
         .inputs = inputs,
         .f = op_of(Three(lerp)),
         .reference = reference3(mix),
         .bad = {{[] { lerp(ones({2}, {.dtype = i64}), ones({2}, {.dtype = i64}), 0.5); },
                  "lerp: expected floating tensors"}}});
    add({.op = "addcmul",
         .variant = variant,
         .inputs = inputs,
         .f = op_of([](const Tensor& x, const Tensor& a, const Tensor& b) { return addcmul(x, a, b, 0.5); }),
         .reference = reference3([](double x, double a, double b) { return x + 0.5 * a * b; })});
    add({.op = "addcdiv",
         .variant = variant,
         .inputs = inputs,
         .f = op_of([](const Tensor& x, const Tensor& a, const Tensor& b) { return addcdiv(x, a, b, 0.5); }),
         .reference = reference3([](double x, double a, double b) { return x + 0.5 * a / b; }),
         .bad = {{[] { addcdiv(ones({2}, {.dtype = i64}), ones({2}, {.dtype = i64}), ones({2}, {.dtype = i64})); },
                  "addcdiv: expected floating tensors"}}});
  }
  for (double w : {0.0, 0.25, 1.0})
    add({.op = "lerp",
         .variant = "weight " + std::to_string(w),
         .inputs = {{.shape = {3, 4}}, {.shape = {4}}},
         .f = op_of([w](const Tensor& a, const Tensor& b) { return lerp(a, b, w); }),
         .reference = reference_of(Numbers([=](double a, double b) { return mix(a, b, w); }))});
  add({.op = "addcmul",
       .variant = "integers",
       .inputs = {integers({1, 2}), integers({3, 4}), integers({5, 6})},
       .f = op_of([](const Tensor& x, const Tensor& a, const Tensor& b) { return addcmul(x, a, b, 2); }),
       .reference = reference3([](double x, double a, double b) { return x + 2 * a * b; })});
}

}  // namespace

void add_ternary_cases(const Add& add) {
  add_where(add);
  add_ternary(add);
}

}  // namespace tenrec::testing
