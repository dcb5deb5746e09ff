// The elementwise engine: layouts, conversions and copies against element-by-element loops, and the rule that an
// element's value never depends on its place.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

constexpr DType kAllDTypes[] = {f64, f32, bf16, f16, i64, i32, u8, boolean};

// A small generator of our own, so that shapes and values are the same everywhere.
struct Random {
  uint64_t state = 88172645463325252u;
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  }
  int64_t below(int64_t n) { return int64_t(next() % uint64_t(n)); }
  double uniform(double low, double high) { return low + (high - low) * double(next() >> 11) * 0x1p-53; }
};

std::string bits(const Tensor& x) {
  const Tensor c = contiguous(x);
  return std::string(static_cast<const char*>(c.data_ptr()), size_t(c.numel() * size_of(c.dtype())));
}

// Every float exponent, both signs, and the specials.
Tensor many_values(int64_t n, DType dtype) {
  Random random;
  std::vector<double> values;
  for (double v : {0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, 3e38, -3e38}) values.push_back(v);
  values.push_back(std::numeric_limits<double>::infinity());
  values.push_back(-std::numeric_limits<double>::infinity());
  values.push_back(std::numeric_limits<double>::quiet_NaN());
  while (int64_t(values.size()) < n) {
    const double v = std::exp(random.uniform(-20, 12));
    values.push_back(random.below(2) ? v : -v);
  }
  return from_vector(values, {n}).to(dtype);
}

// --- an element's value depends on the element alone -----------------------------------------------------------------
void expect_place_does_not_matter(const char* name, const std::function<Tensor(const Tensor&)>& f, DType dtype) {
  const int64_t n = 10000;
  const Tensor x = many_values(n, dtype), y = f(x);
  const std::string expected = bits(y);
  const auto size = size_t(size_of(y.dtype()));
  // Alone.
  for (int64_t i = 0; i < n; i += 37)
    ASSERT_EQ(bits(f(slice(x, 0, i, i + 1))), expected.substr(size_t(i) * size, size))
        << name << " alone, element " << i;
  // In every lane.
  for (int64_t shift = 1; shift < 17; ++shift)
    ASSERT_EQ(bits(f(slice(x, 0, shift, n))), expected.substr(size_t(shift) * size)) << name << " moved by " << shift;
  // Strided, transposed, and repeated.
  const Tensor wide = zeros({n, 3}, {.dtype = dtype}), column = select(wide, 1, 1);
  copy_(column, x);
  ASSERT_EQ(bits(f(column)), expected) << name << " strided";
  ASSERT_EQ(bits(f(t(contiguous(t(reshape(x, {100, 100})))))), expected) << name << " transposed";
  const Tensor repeated = f(expand(reshape(slice(x, 0, 7, 8), {1, 1}), {5, 9}));
  for (const Tensor& one : {repeated[0][0], repeated[4][8]})
    ASSERT_EQ(bits(one), expected.substr(7 * size, size)) << name << " repeated";
}

TEST(Elementwise, ValuesDoNotDependOnPlaceOrLayout) {
  const std::pair<const char*, Unary> functions[] = {{"exp", exp},
                                                     {"exp2", exp2},
                                                     {"expm1", expm1},
                                                     {"log", log},
                                                     {"log2", log2},
                                                     {"log10", log10},
                                                     {"log1p", log1p},
                                                     {"sin", sin},
                                                     {"cos", cos},
                                                     {"tan", tan},
                                                     {"asin", asin},
                                                     {"acos", acos},
                                                     {"atan", atan},
                                                     {"sinh", sinh},
                                                     {"cosh", cosh},
                                                     {"tanh", tanh},
                                                     {"asinh", asinh},
                                                     {"acosh", acosh},
                                                     {"atanh", atanh},
                                                     {"sigmoid", sigmoid},
                                                     {"erf", erf},
                                                     {"erfc", erfc},
                                                     {"erfinv", erfinv},
                                                     {"sqrt", sqrt},
                                                     {"rsqrt", rsqrt},
                                                     {"reciprocal", reciprocal},
                                                     {"relu", relu},
                                                     {"silu", silu},
                                                     {"mish", mish},
                                                     {"selu", selu},
                                                     {"logsigmoid", logsigmoid},
                                                     {"softsign", softsign},
                                                     {"hardswish", hardswish},
                                                     {"round", round},
                                                     {"floor", floor},
                                                     {"isnan", isnan},
                                                     {"sign", sign},
                                                     {"lgamma", lgamma},
                                                     {"digamma", digamma}};
  for (const auto& [name, f] : functions) {
    for (DType dtype : {f32, bf16}) expect_place_does_not_matter(name, f, dtype);
  }
  expect_place_does_not_matter("exp f64", exp, f64);
  expect_place_does_not_matter(
      "gelu", [](const Tensor& x) { return gelu(x); }, f32);
  expect_place_does_not_matter(
      "softplus f16", [](const Tensor& x) { return softplus(x); }, f16);
  expect_place_does_not_matter(
      "pow", [](const Tensor& x) { return pow(x, 2.5); }, f32);
  expect_place_does_not_matter(
      "fmod", [](const Tensor& x) { return fmod(x, 0.37); }, f32);
  expect_place_does_not_matter(
      "add number", [](const Tensor& x) { return x + 0.1; }, f32);
  expect_place_does_not_matter(
      "add integers", [](const Tensor& x) { return x + 3; }, i32);
}

// --- broadcasting against a plain loop -------------------------------------------------------------------------------
double element(const Tensor& x, const Shape& index) {
  int64_t offset = 0;
  const int64_t lead = index.ndim() - x.ndim();
  for (int64_t d = 0; d < x.ndim(); ++d)
    if (x.shape()[d] != 1) offset += index[d + lead] * x.strides()[d];
  return detail::make_view(x, {}, {}, offset).item<double>();
}

// y equals f of the operands at every index.
void expect_elements(const Tensor& y, const std::vector<Tensor>& x,
                     const std::function<double(std::vector<double>)>& f) {
  const std::vector<double> got = y.to_vector<double>();
  Shape index = Shape::filled(y.ndim(), 0);
  for (int64_t i = 0; i < y.numel(); ++i) {
    std::vector<double> values;
    for (const Tensor& operand : x) values.push_back(element(operand, index));
    ASSERT_EQ(got[size_t(i)], f(values)) << "at " << to_string(index) << " of " << to_string(y.shape());
    for (int64_t d = index.ndim() - 1; d >= 0 && ++index[d] == y.shape()[d]; --d) index[d] = 0;
  }
}

// Whole numbers, so that arithmetic is exact in every dtype.
Tensor whole(Random& random, const Shape& shape, DType dtype) {
  std::vector<double> values(size_t(checked_numel(shape)));
  for (double& v : values) v = double(random.below(9));
  return from_vector(values, shape).to(dtype);
}

// x under a random layout: as it is, dimensions stored in another order, or part of a larger tensor.
Tensor any_layout(Random& random, const Tensor& x) {
  if (x.ndim() == 0) return x;
  const int64_t which = random.below(4);
  if (which == 1 && x.ndim() > 1) {
    const int64_t d = random.below(x.ndim());
    return movedim(contiguous(movedim(x, d, 0)), 0, d);
  }
  if (which == 2) {
    Shape shape = x.shape();
    shape[shape.ndim() - 1] *= 2;
    const Tensor place = slice(zeros(shape, {.dtype = x.dtype()}), -1, 1, INT64_MAX, 2);
    return copy_(place, x);
  }
  if (which == 3) {
    Shape shape = x.shape();
    shape[0] += 3;
    return copy_(narrow(zeros(shape, {.dtype = x.dtype()}), 0, 2, x.shape()[0]), x);
  }
  return x;
}

TEST(Elementwise, BroadcastingEqualsALoop) {
  Random random;
  for (int round = 0; round < 400; ++round) {
    Shape shape;
    const int64_t ndim = random.below(5), widest = ndim <= 2 ? 70 : 9;
    for (int64_t d = 0; d < ndim; ++d) shape.push_back(1 + random.below(widest));
    std::vector<Tensor> x;
    for (int k = 0; k < 3; ++k) {
      Shape own;
      for (int64_t d = random.below(ndim + 1); d < ndim; ++d) own.push_back(random.below(3) ? shape[d] : 1);
      const DType dtypes[] = {f32, f32, f64, i32, bf16};
      x.push_back(any_layout(random, whole(random, own, dtypes[random.below(5)])));
    }
    expect_elements(x[0] + x[1], {x[0], x[1]}, [](const std::vector<double>& v) { return v[0] + v[1]; });
    expect_elements(addcmul(x[0], x[1], x[2]), x, [](const std::vector<double>& v) { return v[0] + v[1] * v[2]; });
    expect_elements(where(gt(x[0], 4), x[1], x[2]), x,
                    [](const std::vector<double>& v) { return v[0] > 4 ? v[1] : v[2]; });
    expect_elements(lt(x[0], x[2]), {x[0], x[2]}, [](const std::vector<double>& v) { return double(v[0] < v[1]); });
    expect_elements(-x[0], {x[0]}, [](const std::vector<double>& v) { return -v[0]; });
  }
}

// Large enough for several chunks, for turned inputs that are first made dense, and for short periods.
TEST(Elementwise, LargeBroadcastsEqualALoop) {
  Random random;
  const std::pair<Shape, Shape> shapes[] = {{{300, 130}, {130}},        {{300, 130}, {300, 1}},       {{9000, 5}, {5}},
                                            {{40, 8, 7, 9}, {8, 1, 1}}, {{20, 3, 40, 40}, {3, 1, 1}}, {{40000}, {1}},
                                            {{1, 40000}, {3, 1}}};
  for (const auto& [a, b] : shapes) {
    const Tensor x = whole(random, a, f32), y = whole(random, b, f32);
    const auto sum = [](const std::vector<double>& v) { return v[0] + v[1]; };
    expect_elements(x + y, {x, y}, sum);
    expect_elements(x.to(bf16) + y.to(bf16), {x, y}, sum);
    if (x.ndim() == 2) {
      const Tensor turned = t(contiguous(t(x)));
      expect_elements(turned + y, {x, y}, sum);
      expect_elements(turned + x, {x, x}, sum);
    }
  }
}

TEST(Elementwise, ResultsMayBeWrittenIntoAnyLayout) {
  Random random;
  for (int round = 0; round < 100; ++round) {
    const Shape shape = {1 + random.below(40), 1 + random.below(40)};
    for (DType dtype : {f32, bf16, i32}) {
      const Tensor x = any_layout(random, whole(random, shape, dtype)), before = clone(x),
                   y = whole(random, {shape[1]}, dtype);
      add_(x, y, 2);
      expect_elements(x, {before, y}, [](const std::vector<double>& v) { return v[0] + 2 * v[1]; });
      mul_(x, 2);
      expect_elements(x, {before, y}, [](const std::vector<double>& v) { return 2 * (v[0] + 2 * v[1]); });
      fill_(x, 3);
      mul_(x, y);
      expect_elements(x, {before, y}, [](const std::vector<double>& v) { return 3 * v[1]; });
    }
  }
}

// --- copies and conversions ------------------------------------------------------------------------------------------
TEST(Elementwise, CopiesOfAnyLayoutKeepEveryElement) {
  Random random;
  const auto same = [](const std::vector<double>& v) { return v[0]; };
  for (int round = 0; round < 200; ++round) {
    Shape shape, order;
    const int64_t ndim = 1 + random.below(4), widest = ndim <= 2 ? 100 : 12;
    for (int64_t d = 0; d < ndim; ++d) {
      shape.push_back(1 + random.below(widest));
      order.insert(random.below(d + 1), d);
    }
    const Tensor x = permute(any_layout(random, whole(random, shape, kAllDTypes[random.below(7)])), order);
    expect_elements(clone(x), {x}, same);
    const Tensor target = any_layout(random, zeros(x.shape(), {.dtype = kAllDTypes[random.below(7)]}));
    expect_elements(copy_(target, x), {x}, same);
  }
  // Several patches and chunks, with sizes that are not multiples of the tile.
  for (DType dtype : {f32, u8, f64, bf16}) {
    const Tensor x = whole(random, {3, 700, 75}, dtype);
    expect_elements(clone(transpose(x, 1, 2)), {transpose(x, 1, 2)}, same);
    expect_elements(clone(transpose(x, 0, 2)), {transpose(x, 0, 2)}, same);
    expect_elements(permute(x, {1, 0, 2}).to(f32), {permute(x, {1, 0, 2})}, same);
    // Repeated along every dimension in turn.
    for (int64_t d : {0, 1, 2}) {
      const Tensor repeated = expand(narrow(x, d, 0, 1), x.shape());
      expect_elements(clone(repeated), {repeated}, same);
      expect_elements(clone(transpose(repeated, 1, 2)), {transpose(repeated, 1, 2)}, same);
    }
  }
}

double converted(double v, DType to) {
  const auto integer = [v](double low, double high) {
    return std::isnan(v) ? 0 : std::min(std::max(std::trunc(v), low), high);
  };
  switch (to) {
    case DType::f64:
      return v;
    case DType::f32:
      return float(v);
    case DType::bf16:
      return static_cast<float>(bfloat16(float(v)));
    case DType::f16:
      return static_cast<float>(float16(float(v)));
    case DType::i64:
      return integer(-0x1p63, 0x1p63);
    case DType::i32:
      return integer(-0x1p31, 0x1p31 - 1);
    case DType::u8:
      return integer(0, 255);
    default:
      return v != 0;
  }
}

TEST(Elementwise, ConversionsOfEveryPairOfDTypes) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values = {0,   1,     2,     100,  255,         0.5,    0.25, -0.0, 2.5,          3.5,
                                      1e9, 65504, 65520, 6e-8, 1e-7,        3.0001, inf,  -inf, std::nan(""), 1e30,
                                      0.1, 254.9, 127,   128,  1.0009765625};
  for (DType from : kAllDTypes) {
    const Tensor x = from_vector(values, {int64_t(values.size())}).to(from);
    const std::vector<double> source = x.to_vector<double>();
    for (DType to : kAllDTypes) {
      const Tensor y = x.to(to), spaced = slice(expand(unsqueeze(x, 1), {x.size(0), 2}), 1, 0, 1).to(to);
      ASSERT_EQ(bits(y), bits(spaced)) << name(from) << " to " << name(to) << ": the layout matters";
      const std::vector<double> got = y.to_vector<double>();
      for (size_t i = 0; i < got.size(); ++i) {
        const double expected = converted(source[i], to);
        // Between integers the low bits are kept; beyond a float's digits the value is rounded on the way.
        if (!is_floating(from) && !is_floating(to) && to != boolean && std::abs(source[i]) > 255) continue;
        EXPECT_TRUE(got[i] == expected || (std::isnan(got[i]) && std::isnan(expected)))
            << name(from) << " to " << name(to) << " of " << source[i] << ": got " << got[i] << ", expected "
            << expected;
      }
    }
  }
}

TEST(Elementwise, HalvesConvertLikeTheScalarTypesForEveryPattern) {
  std::vector<float> all(65536);
  for (DType dtype : {f16, bf16}) {
    const Tensor halves = empty({65536}, {.dtype = dtype});
    for (int i = 0; i < 65536; ++i) static_cast<uint16_t*>(halves.data_ptr())[i] = uint16_t(i);
    const Tensor wide = halves.to(f32);
    for (int i = 0; i < 65536; ++i) {
      float16 h;
      bfloat16 b;
      h.bits = b.bits = uint16_t(i);
      const float expected = dtype == f16 ? static_cast<float>(h) : static_cast<float>(b), got = wide.data<float>()[i];
      ASSERT_TRUE(got == expected || (std::isnan(got) && std::isnan(expected))) << "pattern " << i;
      ASSERT_EQ(std::signbit(got), std::signbit(expected)) << "pattern " << i;
    }
    // Back to the same patterns (a NaN need only stay one), and midpoints to even.
    const Tensor back = wide.to(dtype);
    for (int i = 0; i < 65536; ++i)
      if (!std::isnan(wide.data<float>()[i])) {
        ASSERT_EQ(static_cast<uint16_t*>(back.data_ptr())[i], uint16_t(i));
      }
  }
  Random random;
  for (float& v : all) v = std::bit_cast<float>(uint32_t(random.next()));
  const Tensor x = from_vector(all, {65536}), h = x.to(f16), b = x.to(bf16);
  for (size_t i = 0; i < all.size(); ++i) {
    if (std::isnan(all[i])) continue;
    ASSERT_EQ(static_cast<uint16_t*>(h.data_ptr())[i], float16(all[i]).bits) << all[i];
    ASSERT_EQ(static_cast<uint16_t*>(b.data_ptr())[i], bfloat16(all[i]).bits) << all[i];
  }
}

TEST(Elementwise, FillWritesEveryDTypeAndLayout) {
  for (DType dtype : kAllDTypes) {
    EXPECT_EQ(full({40000}, 3, {.dtype = dtype}).item<double>(39999), dtype == boolean ? 1 : 3);
    const Tensor x = zeros({6, 7}, {.dtype = dtype});
    fill_(t(slice(x, 1, 0, 7, 2)), 1);
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t j = 0; j < 7; ++j) EXPECT_EQ(x.item<double>(i, j), j % 2 == 0 ? 1 : 0) << name(dtype);
  }
  EXPECT_EQ(full({3}, (int64_t(1) << 62) + 1, {.dtype = i64}).item<int64_t>(2), (int64_t(1) << 62) + 1);
}

TEST(Elementwise, FillRefusesWhatADTypeDoesNotHold) {
  const double inf = std::numeric_limits<double>::infinity();
  const auto refused = [](Scalar value, DType dtype) {
    const Tensor x = zeros({2}, {.dtype = dtype});
    EXPECT_THROW(full({2}, value, {.dtype = dtype}), ValueError) << value.value << " " << name(dtype);
    EXPECT_THROW(fill_(x, value), ValueError) << value.value << " " << name(dtype);
  };
  for (DType dtype : {i64, i32, u8})
    for (double value : {inf, -inf, std::nan(""), 0x1p63, -0x1p64}) refused(value, dtype);
  for (int64_t value : {int64_t(256), int64_t(-1)}) refused(value, u8);
  for (int64_t value : {int64_t(1) << 31, -(int64_t(1) << 31) - 1}) refused(value, i32);
  EXPECT_EQ(full({1}, -0x1p63, {.dtype = i64}).item<int64_t>(0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(full({1}, -2.5, {.dtype = i32}).item<int64_t>(0), -2);
  EXPECT_EQ(full({1}, 0.5, {.dtype = boolean}).item<int64_t>(0), 1);
  EXPECT_EQ(full({1}, inf, {.dtype = boolean}).item<int64_t>(0), 1);
}

// --- what a user relies on -------------------------------------------------------------------------------------------
TEST(Elementwise, BigIntegersStayExact) {
  const int64_t big = (int64_t(1) << 60) + 1;
  const Tensor x = full({5}, big, {.dtype = i64});
  EXPECT_EQ((x + 1).item<int64_t>(3), big + 1);
  EXPECT_EQ((x * 3).item<int64_t>(3), big * 3);
  EXPECT_EQ(remainder(x, 7).item<int64_t>(0), big % 7);
  EXPECT_TRUE(equal(where(gt(x, 0), x, x - 1), x));
  EXPECT_FALSE(equal(x, x - 1));
  EXPECT_EQ(x.to(i32).item<int64_t>(0), 1);
}

TEST(Elementwise, EmptyAndZeroDimensionalOperands) {
  const Tensor none = zeros({0, 3}), number = full({}, 2.0);
  EXPECT_EQ((none + number).shape(), (Shape{0, 3}));
  EXPECT_EQ((none * zeros({1, 3})).shape(), (Shape{0, 3}));
  EXPECT_EQ((number * number).ndim(), 0);
  EXPECT_EQ((number * number).item<float>(), 4);
  EXPECT_TRUE(equal(none, none));
  EXPECT_TRUE(allclose(none, none));
  EXPECT_EQ(floor_divide(zeros({0}, {.dtype = i64}), zeros({1}, {.dtype = i64})).numel(), 0);
}

TEST(Elementwise, HigherDerivativesOfSmoothFunctions) {
  // Five times sin is cos; the third derivative of a cube is 6; polygamma follows digamma.
  const auto derive = [](const std::function<Tensor(const Tensor&)>& f, double at, int times) {
    const Tensor x = full({}, at, {.dtype = f64, .requires_grad = true});
    Tensor y = f(x);
    for (int i = 0; i < times; ++i) y = grad(y, {x}, {.create_graph = true})[0];
    return y.item<double>();
  };
  EXPECT_NEAR(derive(sin, 0.7, 5), std::cos(0.7), 1e-12);
  const double y = std::tanh(0.3), slope = 1 - y * y;
  EXPECT_NEAR(derive(tanh, 0.3, 3), slope * (6 * y * y - 2), 1e-12);
  EXPECT_NEAR(derive([](const Tensor& x) { return pow(x, 3); }, 1.3, 3), 6, 1e-12);
  EXPECT_NEAR(derive(lgamma, 2.0, 4), 6.0 * (1.0823232337111382 - 1), 1e-11);  // psi'''(2) = 6 (zeta(4) - 1)
  EXPECT_NEAR(derive(exp, 0.5, 6), std::exp(0.5), 1e-12);
  EXPECT_NEAR(derive([](const Tensor& x) { return relu(x); }, 0.5, 1), 1, 0);
  const Tensor x = full({}, 0.5, {.dtype = f64, .requires_grad = true});
  // The second derivative of relu is no path at all, so nothing is computed for it.
  const Tensor dx = grad(relu(x) * x, {x}, {.create_graph = true})[0];
  EXPECT_NEAR(grad(dx, {x})[0].item<double>(), 2, 0);
}

}  // namespace
}  // namespace tenrec
