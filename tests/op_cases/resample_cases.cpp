// Rows of autograd/ops/resample.h, whose functions are made of matmul, index_select, repeats and permutations.
#include <algorithm>
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

// What the output at i shows: two neighbours and the share of the second one.
struct Place {
  int64_t low, high;
  double share;
};
using Where = std::function<Place(int64_t i)>;

// From the definition, with a step of in / out or 1 / factor.
Where nearest_place(int64_t in, double step) {
  return [=](int64_t i) {
    const int64_t at = std::min(in - 1, int64_t(std::floor(double(i) * step + 1e-9)));
    return Place{at, at, 0};
  };
}
Where linear_place(int64_t in, double step) {
  return [=](int64_t i) {
    const double at = std::max(0.0, (double(i) + 0.5) * step - 0.5);
    const int64_t low = std::min(int64_t(at), in - 1);
    return Place{low, std::min(low + 1, in - 1), low == in - 1 ? 0 : at - double(low)};
  };
}
Where corner_place(int64_t in, int64_t out) {
  return [=](int64_t i) {
    const double at = out > 1 ? double(i) * double(in - 1) / double(out - 1) : 0;
    const int64_t low = std::min(int64_t(at), in - 1);
    return Place{low, std::min(low + 1, in - 1), at - double(low)};
  };
}

Reference resampled(int64_t out_h, int64_t out_w, const Where& rows, const Where& columns) {
  return single([=](std::span<const Array> in) {
    const Array& x = in[0];
    return tabulate({x.shape[0], x.shape[1], out_h, out_w}, [&](const Shape& i) {
      const Place r = rows(i[2]), c = columns(i[3]);
      const auto row = [&](int64_t h) {
        return x.at({i[0], i[1], h, c.low}) * (1 - c.share) + x.at({i[0], i[1], h, c.high}) * c.share;
      };
      return row(r.low) * (1 - r.share) + row(r.high) * r.share;
    });
  });
}

OpCase picture_row(const char* op, const std::string& variant, const InterpolateOptions& o,
                   const Reference& reference) {
  return {.op = op,
          .variant = "interpolate, " + variant,
          .inputs = {{.shape = {2, 2, 4, 3}}},
          .f = one_in([o](const Tensor& x) { return interpolate(x, o); }),
          .reference = reference};
}

void add_interpolate(const Add& add) {
  const auto bilinear = [](InterpolateOptions o) {
    o.mode = InterpolateMode::bilinear;
    return o;
  };
  add(picture_row("reshape", "nearest, twice", {.scale_factor = 2.0},
                  resampled(8, 6, nearest_place(4, 0.5), nearest_place(3, 0.5))));
  add(picture_row("index_select", "nearest, 7 x 2", {.size = Pair(7, 2)},
                  resampled(7, 2, nearest_place(4, 4.0 / 7), nearest_place(3, 1.5))));
  add(picture_row("index_select", "nearest by 1.5 and 0.7", {.scale_factor = Scale(1.5, 0.7)},
                  resampled(6, 2, nearest_place(4, 1 / 1.5), nearest_place(3, 1 / 0.7))));
  OpCase row = picture_row("matmul", "bilinear, twice", bilinear({.scale_factor = 2.0}),
                           resampled(8, 6, linear_place(4, 0.5), linear_place(3, 0.5)));
  const auto call = [](const Shape& shape, const InterpolateOptions& o, DType dtype = f32) {
    return [=] { interpolate(zeros(shape, {.dtype = dtype}), o); };
  };
  row.bad = {
      {call({2, 3}, {.size = 3}), "interpolate: expected [n, c, l] or [n, c, h, w], got [2, 3]"},
      {call({1, 2, 3, 3}, {}), "either a size or a scale factor"},
      {call({1, 2, 3, 3}, {.size = 3, .scale_factor = 2.0}), "either a size or a scale factor"},
      {call({1, 2, 3, 3}, {.size = 0}), "the size must be at least 1, got 0"},
      {call({1, 2, 3, 3}, {.scale_factor = -1.0}), "the scale factor must be positive"},
      {call({1, 2, 3, 3}, {.scale_factor = 0.1}), "a size of 3 times 0.1 leaves nothing"},
      {call({1, 2, 0, 3}, {.size = 3}), "there is nothing to show"},
      {call({1, 2, 3}, {.size = 3, .mode = InterpolateMode::bilinear}), "linear takes [n, c, l]"},
      {call({1, 2, 3, 3}, {.size = 3, .mode = InterpolateMode::linear}), "bilinear [n, c, h, w]"},
      {call({1, 2, 3, 3}, {.size = 3, .align_corners = true}), "align_corners means nothing to nearest"},
      {call({1, 2, 3, 3}, bilinear({.size = 3}), i64), "only nearest takes it"},
  };
  add(row);
  add(picture_row("matmul", "bilinear, 5 x 2", bilinear({.size = Pair(5, 2)}),
                  resampled(5, 2, linear_place(4, 0.8), linear_place(3, 1.5))));
  add(picture_row("matmul", "bilinear by 1.3", bilinear({.scale_factor = 1.3}),
                  resampled(5, 3, linear_place(4, 1 / 1.3), linear_place(3, 1 / 1.3))));
  add(picture_row("matmul", "bilinear, corners aligned", bilinear({.size = Pair(7, 1), .align_corners = true}),
                  resampled(7, 1, corner_place(4, 7), corner_place(3, 1))));
  add({.op = "matmul",
       .variant = "interpolate, linear",
       .inputs = {{.shape = {2, 3, 5}}},
       .f = one_in([](const Tensor& x) { return interpolate(x, {.size = 8, .mode = InterpolateMode::linear}); }),
       .reference = single([](std::span<const Array> in) {
         const Where place = linear_place(5, 0.625);
         return tabulate({2, 3, 8}, [&](const Shape& i) {
           const Place p = place(i[2]);
           return in[0].at({i[0], i[1], p.low}) * (1 - p.share) + in[0].at({i[0], i[1], p.high}) * p.share;
         });
       })});
}

void add_shuffles(const Add& add) {
  add({.op = "permute",
       .variant = "pixel_shuffle",
       .inputs = {{.shape = {2, 1, 8, 2, 3}}},
       .f = one_in([](const Tensor& x) { return pixel_shuffle(x, 2); }),
       .reference = single([](std::span<const Array> in) {
         return tabulate({2, 1, 2, 4, 6}, [&](const Shape& i) {
           return in[0].at({i[0], i[1], i[2] * 4 + i[3] % 2 * 2 + i[4] % 2, i[3] / 2, i[4] / 2});
         });
       }),
       .bad = {{[] {
                  pixel_shuffle(zeros({2, 2}), 2);
                },
                "pixel_shuffle: expected [..., c, h, w]"},
               {[] {
                  pixel_shuffle(zeros({1, 6, 2, 2}), 2);
                },
                "the 6 channels of shape [1, 6, 2, 2] do not divide"}}});
  add({.op = "permute",
       .variant = "pixel_unshuffle",
       .inputs = {{.shape = {2, 4, 6}}},
       .f = one_in([](const Tensor& x) { return pixel_unshuffle(x, 2); }),
       .reference = single([](std::span<const Array> in) {
         return tabulate({8, 2, 3}, [&](const Shape& i) {
           return in[0].at({i[0] / 4, i[1] * 2 + i[0] / 2 % 2, i[2] * 2 + i[0] % 2});
         });
       }),
       .bad = {{[] {
                  pixel_unshuffle(zeros({2, 2}), 2);
                },
                "pixel_unshuffle: expected [..., c, h, w]"},
               {[] {
                  pixel_unshuffle(zeros({1, 1, 3, 4}), 2);
                },
                "do not divide into squares of 2 x 2"}}});
}

}  // namespace

void add_resample_cases(const Add& add) {
  add_interpolate(add);
  add_shuffles(add);
}

}  // namespace tenrec::testing
