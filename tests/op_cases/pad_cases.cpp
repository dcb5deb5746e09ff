// Rows of pad.
#include <algorithm>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {

namespace {

using Arrays = std::span<const Array>;

Reference tabulated(const Shape& shape, std::function<double(const Array&, const Shape&)> f) {
  return single([=](Arrays in) { return tabulate(shape, [&](const Shape& i) { return f(in[0], i); }); });
}

// Where coordinate i of a padded dimension comes from, from the definition of each mode; -1: nowhere.
int64_t source(int64_t i, int64_t left, int64_t size, PadMode mode) {
  int64_t k = i - left;
  if (mode == PadMode::constant) return k >= 0 && k < size ? k : -1;
  if (mode == PadMode::replicate) return std::min(std::max<int64_t>(k, 0), size - 1);
  if (mode == PadMode::circular) return ((k % size) + size) % size;
  const int64_t period = 2 * (size - 1);  // reflect: 0 1 2 1 0 1 ...
  if (period == 0) return 0;
  k = ((k % period) + period) % period;
  return k < size ? k : period - k;
}

void add_mode(const Add& add, const char* variant, PadMode mode, const Shape& shape,
              const std::vector<int64_t>& padding) {
  const auto side = [=](int64_t d, size_t s) {
    const size_t at = size_t(shape.ndim() - 1 - d) * 2 + s;
    return at < padding.size() ? padding[at] : 0;
  };
  Shape padded = shape;
  for (int64_t d = 0; d < shape.ndim(); ++d) padded[d] += side(d, 0) + side(d, 1);
  const double value = mode == PadMode::constant ? 1.5 : 0;
  add({.op = "pad",
       .variant = variant,
       .inputs = {{.shape = shape}},
       .f = one_in([=](const Tensor& x) { return pad(x, padding, mode, value); }),
       .reference = tabulated(padded,
                              [=](const Array& x, const Shape& i) {
                                Shape at = i;
                                for (int64_t d = 0; d < i.ndim(); ++d) {
                                  at[d] = source(i[d], side(d, 0), shape[d], mode);
                                  if (at[d] < 0) return value;
                                }
                                return get(x, at);
                              }),
       .also_covers = {"pad_grad"},
       .bench = {.shapes = {{8, 16, 28, 28}, {64, 32, 32, 32}},
                 .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
                 .bytes_per_element = 8}});
}

}  // namespace

void add_pad_cases(const Add& add) {
  add_mode(add, "constant", PadMode::constant, {2, 3, 4}, {1, 2, 0, 1});
  add_mode(add, "constant, cut off", PadMode::constant, {3, 5}, {-1, 2, 1, -2});
  add_mode(add, "constant, cut to nothing", PadMode::constant, {2, 3}, {-2, -1});
  add_mode(add, "constant, from nothing", PadMode::constant, {0, 2}, {1, 0, 2, 0});
  add_mode(add, "constant, 0-d", PadMode::constant, {}, {});
  add_mode(add, "reflect, as far as it goes", PadMode::reflect, {2, 3, 4}, {3, 3, 2, 1});
  add_mode(add, "reflect, three dimensions", PadMode::reflect, {1, 3, 2, 4}, {1, 2, 1, 1, 2, 0});
  add_mode(add, "replicate", PadMode::replicate, {2, 1, 3}, {5, 1, 2, 3});
  add_mode(add, "circular, as far as it goes", PadMode::circular, {2, 3}, {3, 2, 1, 2});
  add({.op = "pad",
       .variant = "integers",
       .inputs = {index_input({3}, {1, 2, 3})},
       .f = one_in([](const Tensor& x) {
         return pad(x, {1, 1}, PadMode::constant, -1);
       }),
       .reference = single([](Arrays) {
         return vector_of({-1, 1, 2, 3, -1});
       }),
       .differentiable = false,
       .bad = {{[] { pad(zeros({3}), {1}); }, "pad: 1 numbers of padding for shape [3]"},
               {[] {
                  pad(zeros({3}), {1, 1, 1, 1});
                },
                "expected two for each dimension"},
               {[] {
                  pad(zeros({3}), {-2, -2});
                },
                "pad: padding of -2 and -2 gives dimension 0 of shape [3] an impossible size"},
               {[] {
                  pad(zeros({3}), {3, 0}, PadMode::reflect);
                },
                "pad: reflect padding of 3 is too large for dimension 0 of shape [3]"},
               {[] {
                  pad(zeros({3}), {0, 4}, PadMode::circular);
                },
                "circular padding of 4 is too large"},
               {[] {
                  pad(zeros({0}), {1, 0}, PadMode::replicate);
                },
                "replicate padding of 1 is too large"},
               {[] {
                  pad(zeros({3}), {-1, 0}, PadMode::reflect);
                },
                "negative padding is for constant mode only"},
               {[] {
                  pad(zeros({3}), {INT64_MAX, 1});
                },
                "impossible size"}}});
}

}  // namespace tenrec::testing
