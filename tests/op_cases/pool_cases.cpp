#include <algorithm>
#include <cmath>
#include <limits>

#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

struct Window {
  int64_t kernel, stride, padding, dilation;
  bool ceil = false;
  int64_t count(int64_t size) const {
    const int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1;
    int64_t n = (ceil ? (room + stride - 1) / stride : room / stride) + 1;
    if (ceil && (n - 1) * stride >= size + padding) --n;
    return n;
  }
};

// Applies `reduce(values in the window, size of the window with padding)` to every window of [planes.., h, w].
template <class F>
Array pool_reference(const Array& x, Window h, Window w, F reduce) {
  const int64_t nd = x.shape.ndim(), ih = x.shape[nd - 2], iw = x.shape[nd - 1];
  const int64_t planes = int64_t(x.values.size()) / std::max<int64_t>(1, ih * iw);
  Array y{x.shape, {}};
  y.shape[nd - 2] = h.count(ih);
  y.shape[nd - 1] = w.count(iw);
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t i = 0; i < h.count(ih); ++i)
      for (int64_t j = 0; j < w.count(iw); ++j) {
        std::vector<double> inside;
        int64_t with_padding = 0;
        for (int64_t a = 0; a < h.kernel; ++a)
          for (int64_t b = 0; b < w.kernel; ++b) {
            const int64_t r = i * h.stride - h.padding + a * h.dilation, c = j * w.stride - w.padding + b * w.dilation;
            if (r < ih + h.padding && c < iw + w.padding) ++with_padding;
            if (r >= 0 && r < ih && c >= 0 && c < iw) inside.push_back(x.values[size_t((p * ih + r) * iw + c)]);
          }
        y.values.push_back(reduce(inside, with_padding));
      }
  return y;
}

double largest(const std::vector<double>& v, int64_t) {
  double best = v[0];
  for (double x : v)
    if (x > best || std::isnan(x)) best = x;
  return best;
}
double average_padded(const std::vector<double>& v, int64_t n) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / double(n);
}
double average_inside(const std::vector<double>& v, int64_t) { return average_padded(v, int64_t(v.size())); }

template <class F>
Array adaptive_reference(const Array& x, int64_t oh, int64_t ow, F reduce) {
  const int64_t nd = x.shape.ndim(), ih = x.shape[nd - 2], iw = x.shape[nd - 1];
  Array y{x.shape, {}};
  y.shape[nd - 2] = oh;
  y.shape[nd - 1] = ow;
  for (int64_t p = 0; p < int64_t(x.values.size()) / (ih * iw); ++p)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j) {
        std::vector<double> inside;
        for (int64_t r = i * ih / oh; r < ((i + 1) * ih + oh - 1) / oh; ++r)
          for (int64_t c = j * iw / ow; c < ((j + 1) * iw + ow - 1) / ow; ++c)
            inside.push_back(x.values[size_t((p * ih + r) * iw + c)]);
        y.values.push_back(reduce(inside, int64_t(inside.size())));
      }
  return y;
}

// Distinct values a step of gradcheck apart cannot swap places.
std::vector<double> spread(int64_t n) {
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(double((i * 37) % n) * 0.1 - 0.05 * double(n));
  return out;
}
Input distinct(const Shape& shape) { return {.shape = shape, .values = spread(checked_numel(shape))}; }

Function one(Tensor (*f)(const Tensor&)) {
  return [f](std::span<const Tensor> in) { return std::vector<Tensor>{f(in[0])}; };
}

Bench image_bench(double flops) {
  return {.shapes = {{8, 16, 24, 24}, {64, 64, 24, 24}},
          .inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; },
          .bytes_per_element = 6,
          .flops_per_element = flops};
}

}  // namespace

void add_pool_cases(const Add& add) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  add({.op = "max_pool2d",
       .variant = "kernel 2",
       .inputs = {distinct({2, 3, 4, 6})},
       .f = one([](const Tensor& x) { return max_pool2d(x, 2); }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {2, 2, 0, 1}, {2, 2, 0, 1}, largest)};
           },
       .kinked = true,
       .also_covers = {"max_pool2d_grad", "max_pool2d_gather"},
       .bad = {{[] {
                  max_pool2d(zeros({4, 4}), 2);
                },
                "max_pool2d: expected [n, c, h, w]"},
               {[] {
                  max_pool2d(zeros({1, 1, 2, 2}), 3);
                },
                "larger than the padded input"},
               {[] {
                  max_pool2d(zeros({1, 1, 4, 4}), 2, {.padding = 2});
                },
                "padding 2"},
               {[] {
                  max_pool2d(zeros({1, 1, 4, 4}, {.dtype = i64}), 2);
                },
                "floating dtype"}},
       .bench = image_bench(1)});
  add({.op = "max_pool2d",
       .variant = "several vectors and a rest, odd sides",
       .inputs = {distinct({2, 1, 3, 77})},
       .f = one([](const Tensor& x) { return max_pool2d(x, 2); }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {2, 2, 0, 1}, {2, 2, 0, 1}, largest)};
           },
       .kinked = true,
       .order = 1});
  add({.op = "max_pool2d",
       .variant = "odd size, rest dropped",
       .inputs = {distinct({1, 2, 5, 7})},
       .f = one([](const Tensor& x) { return max_pool2d(x, 2); }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {2, 2, 0, 1}, {2, 2, 0, 1}, largest)};
           },
       .kinked = true});
  add({.op = "max_pool2d",
       .variant = "overlapping, padded, dilated",
       .inputs = {distinct({2, 2, 7, 6})},
       .f = one([](const Tensor& x) {
         return max_pool2d(x, {3, 2}, {.stride = {2, 1}, .padding = 1, .dilation = {1, 2}});
       }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {3, 2, 1, 1}, {2, 1, 1, 2}, largest)};
           },
       .kinked = true});
  add({.op = "max_pool2d",
       .variant = "ceil mode",
       .inputs = {distinct({3, 5, 5})},
       .f = one([](const Tensor& x) { return max_pool2d(x, 2, {.ceil_mode = true}); }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {2, 2, 0, 1, true}, {2, 2, 0, 1, true}, largest)};
           },
       .kinked = true});
  add({.op = "max_pool2d",
       .variant = "ties and NaN",
       .inputs = {{.shape = {1, 1, 2, 6}, .values = {1, 1, nan, 2, -0.0, 0.0, 1, 1, 3, 4, 0.0, -0.0}}},
       .f = one([](const Tensor& x) { return max_pool2d(x, 2); }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {2, 2, 0, 1}, {2, 2, 0, 1}, largest)};
           },
       .differentiable = false});
  add({.op = "max_pool2d",
       .variant = "indices",
       .inputs = {distinct({1, 2, 4, 4})},
       .f =
           [](std::span<const Tensor> in) {
             auto [y, i] = max_pool2d_with_indices(in[0], 2);
             return std::vector<Tensor>{y, i};
           },
       .reference =
           [](std::span<const Array> in) {
             Array y = pool_reference(in[0], {2, 2, 0, 1}, {2, 2, 0, 1}, largest), at = y;
             for (size_t i = 0; i < y.values.size(); ++i) {
               const size_t plane = i / 4 * 16;
               const auto begin = in[0].values.begin() + long(plane);
               at.values[i] = double(std::find(begin, begin + 16, y.values[i]) - begin);
             }
             return std::vector<Array>{y, at};
           },
       .kinked = true,
       .also_covers = {"to"}});
  add({.op = "max_pool2d",
       .variant = "1d",
       .inputs = {distinct({2, 3, 7})},
       .f = one([](const Tensor& x) { return max_pool1d(x, 3, {.stride = 2, .padding = 1}); }),
       .reference =
           [](std::span<const Array> in) {
             Array x = in[0];
             x.shape.insert(2, 1);
             Array y = pool_reference(x, {1, 1, 0, 1}, {3, 2, 1, 1}, largest);
             y.shape.erase(2);
             return std::vector<Array>{y};
           },
       .kinked = true,
       .also_covers = {"unsqueeze", "reshape"},
       .bad = {{[] { max_pool1d(zeros({4}), 2); }, "max_pool1d: expected [n, c, l]"}}});
  add({.op = "max_pool2d",
       .variant = "adaptive",
       .inputs = {distinct({2, 2, 5, 7})},
       .f = one([](const Tensor& x) {
         return adaptive_max_pool2d(x, {2, 3});
       }),
       .reference =
           [](std::span<const Array> in) { return std::vector<Array>{adaptive_reference(in[0], 2, 3, largest)}; },
       .kinked = true,
       .bad = {{[] {
                  adaptive_max_pool2d(zeros({2, 2}), 1);
                },
                "adaptive_max_pool2d: expected"}}});
  add({.op = "avg_pool2d",
       .variant = "kernel 2",
       .inputs = {{.shape = {2, 3, 4, 6}}},
       .f = one([](const Tensor& x) { return avg_pool2d(x, 2); }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{pool_reference(in[0], {2, 2, 0, 1}, {2, 2, 0, 1}, average_padded)};
           },
       .also_covers = {"avg_pool2d_grad"},
       .bad = {{[] {
                  avg_pool2d(zeros({1, 1, 4, 4}), 0);
                },
                "must be at least 1"}},
       .bench = image_bench(1)});
  add({.op = "avg_pool2d",
       .variant = "padding counted, ceil mode",
       .inputs = {{.shape = {1, 2, 6, 7}}},
       .f = one([](const Tensor& x) { return avg_pool2d(x, 3, {.stride = 2, .padding = 1, .ceil_mode = true}); }),
       .reference = [](std::span<const Array> in) {
         return std::vector<Array>{pool_reference(in[0], {3, 2, 1, 1, true}, {3, 2, 1, 1, true}, average_padded)};
       }});
  add({.op = "avg_pool2d",
       .variant = "padding not counted",
       .inputs = {{.shape = {1, 2, 5, 5}}},
       .f = one(
           [](const Tensor& x) { return avg_pool2d(x, 3, {.stride = 2, .padding = 1, .count_include_pad = false}); }),
       .reference = [](std::span<const Array> in) {
         return std::vector<Array>{pool_reference(in[0], {3, 2, 1, 1}, {3, 2, 1, 1}, average_inside)};
       }});
  add({.op = "avg_pool2d",
       .variant = "1d",
       .inputs = {{.shape = {2, 2, 6}}},
       .f = one([](const Tensor& x) { return avg_pool1d(x, 2); }),
       .reference = [](std::span<const Array> in) {
         Array x = in[0];
         x.shape.insert(2, 1);
         Array y = pool_reference(x, {1, 1, 0, 1}, {2, 2, 0, 1}, average_padded);
         y.shape.erase(2);
         return std::vector<Array>{y};
       }});
  add({.op = "avg_pool2d",
       .variant = "adaptive",
       .inputs = {{.shape = {2, 2, 5, 7}}},
       .f = one([](const Tensor& x) {
         return adaptive_avg_pool2d(x, {3, 2});
       }),
       .reference =
           [](std::span<const Array> in) {
             return std::vector<Array>{adaptive_reference(in[0], 3, 2, average_padded)};
           },
       .bad = {{[] {
                  adaptive_avg_pool2d(zeros({1, 1, 4, 4}), -1);
                },
                "must not be negative"}}});
  add({.op = "avg_pool2d",
       .variant = "adaptive 1d, upwards",
       .inputs = {{.shape = {1, 2, 3}}},
       .f = one([](const Tensor& x) { return adaptive_avg_pool1d(x, 5); }),
       .reference = [](std::span<const Array> in) {
         Array x = in[0];
         x.shape.insert(2, 1);
         Array y = adaptive_reference(x, 1, 5, average_padded);
         y.shape.erase(2);
         return std::vector<Array>{y};
       }});
}

}  // namespace tenrec::testing
