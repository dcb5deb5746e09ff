#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

int64_t out_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

// Calls f(index into x, into w, into y) for every product that the definition sums.
template <class F>
void for_products(const Shape& x, const Shape& w, const Conv2dParams& p, F f) {
  const int64_t oh = out_size(x[2], w[2], p.stride.h, p.padding.h, p.dilation.h);
  const int64_t ow = out_size(x[3], w[3], p.stride.w, p.padding.w, p.dilation.w);
  const int64_t per_group = w[0] / p.groups;
  for (int64_t n = 0; n < x[0]; ++n)
    for (int64_t o = 0; o < w[0]; ++o)
      for (int64_t i = 0; i < oh; ++i)
        for (int64_t j = 0; j < ow; ++j)
          for (int64_t c = 0; c < w[1]; ++c)
            for (int64_t a = 0; a < w[2]; ++a)
              for (int64_t b = 0; b < w[3]; ++b) {
                const int64_t r = i * p.stride.h - p.padding.h + a * p.dilation.h;
                const int64_t s = j * p.stride.w - p.padding.w + b * p.dilation.w;
                if (r < 0 || r >= x[2] || s < 0 || s >= x[3]) continue;
                const int64_t channel = o / per_group * w[1] + c;
                f(size_t(((n * x[1] + channel) * x[2] + r) * x[3] + s), size_t(((o * w[1] + c) * w[2] + a) * w[3] + b),
                  size_t(((n * w[0] + o) * oh + i) * ow + j));
              }
}

Shape out_shape(const Shape& x, const Shape& w, const Conv2dParams& p) {
  return {x[0], w[0], out_size(x[2], w[2], p.stride.h, p.padding.h, p.dilation.h),
          out_size(x[3], w[3], p.stride.w, p.padding.w, p.dilation.w)};
}

Array zero_array(const Shape& shape) { return {shape, std::vector<double>(size_t(checked_numel(shape)))}; }

Array forward(const Array& x, const Array& w, const Conv2dParams& p) {
  Array y = zero_array(out_shape(x.shape, w.shape, p));
  for_products(x.shape, w.shape, p, [&](size_t i, size_t j, size_t k) { y.values[k] += x.values[i] * w.values[j]; });
  return y;
}

const Tolerance kTolerance{.f64 = 1e-11, .f32 = 2e-5, .bf16 = 6e-2, .f16 = 8e-3};

void add_family(const Add& add, const std::string& variant, const Shape& x, const Shape& w, const Conv2dParams& p) {
  const Shape y = out_shape(x, w, p);
  add({.op = "conv2d",
       .variant = variant,
       .inputs = {{.shape = x}, {.shape = w}},
       .f = [p](std::span<const Tensor> in) { return std::vector<Tensor>{conv2d(in[0], in[1], {}, p)}; },
       .reference = [p](std::span<const Array> in) { return std::vector<Array>{forward(in[0], in[1], p)}; },
       .tolerance = kTolerance});
  add({.op = "conv2d_input_grad",
       .variant = variant,
       .inputs = {{.shape = y}, {.shape = w}},
       .f = [p, x](std::span<const Tensor> in) { return std::vector<Tensor>{conv2d_input_grad(in[0], in[1], x, p)}; },
       .reference =
           [p, x](std::span<const Array> in) {
             Array dx = zero_array(x);
             for_products(x, in[1].shape, p,
                          [&](size_t i, size_t j, size_t k) { dx.values[i] += in[0].values[k] * in[1].values[j]; });
             return std::vector<Array>{dx};
           },
       .tolerance = kTolerance});
  add({.op = "conv2d_weight_grad",
       .variant = variant,
       .inputs = {{.shape = x}, {.shape = y}},
       .f = [p, w](std::span<const Tensor> in) { return std::vector<Tensor>{conv2d_weight_grad(in[0], in[1], w, p)}; },
       .reference =
           [p, w](std::span<const Array> in) {
             Array dw = zero_array(w);
             for_products(in[0].shape, w, p,
                          [&](size_t i, size_t j, size_t k) { dw.values[j] += in[0].values[i] * in[1].values[k]; });
             return std::vector<Array>{dw};
           },
       .tolerance = kTolerance});
}

// Of what x is the convolution: scattered by the definition.
Array transposed(const Array& x, const Array& w, const ConvTranspose2dParams& p) {
  const auto size = [](int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t extra, int64_t dilation) {
    return (in - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1;
  };
  const int64_t channels = w.shape[1] * p.groups, per_group = w.shape[0] / p.groups;
  Array y = zero_array({x.shape[0], channels,
                        size(x.shape[2], w.shape[2], p.stride.h, p.padding.h, p.output_padding.h, p.dilation.h),
                        size(x.shape[3], w.shape[3], p.stride.w, p.padding.w, p.output_padding.w, p.dilation.w)});
  for (int64_t n = 0; n < x.shape[0]; ++n)
    for (int64_t c = 0; c < w.shape[0]; ++c)
      for (int64_t i = 0; i < x.shape[2]; ++i)
        for (int64_t j = 0; j < x.shape[3]; ++j)
          for (int64_t o = 0; o < w.shape[1]; ++o)
            for (int64_t a = 0; a < w.shape[2]; ++a)
              for (int64_t b = 0; b < w.shape[3]; ++b) {
                const int64_t r = i * p.stride.h - p.padding.h + a * p.dilation.h;
                const int64_t s = j * p.stride.w - p.padding.w + b * p.dilation.w;
                if (r < 0 || r >= y.shape[2] || s < 0 || s >= y.shape[3]) continue;
                const int64_t channel = c / per_group * w.shape[1] + o;
                y.values[size_t(((n * channels + channel) * y.shape[2] + r) * y.shape[3] + s)] +=
                    x.at({n, c, i, j}) * w.at({c, o, a, b});
              }
  return y;
}

OpCase transposed_row(const std::string& variant, const Shape& x, const Shape& w, const ConvTranspose2dParams& p) {
  return {.op = "conv2d_input_grad",
          .variant = "conv_transpose2d, " + variant,
          .inputs = {{.shape = x}, {.shape = w}},
          .f = [p](std::span<const Tensor> in) { return std::vector<Tensor>{conv_transpose2d(in[0], in[1], {}, p)}; },
          .reference = [p](std::span<const Array> in) { return std::vector<Array>{transposed(in[0], in[1], p)}; },
          .tolerance = kTolerance};
}

void add_transposed(const Add& add) {
  add(transposed_row("stride, padding, output padding", {2, 3, 3, 2}, {3, 2, 3, 4},
                     {.stride = {2, 3}, .padding = {1, 2}, .output_padding = {1, 2}}));
  add(transposed_row("groups", {1, 4, 2, 3}, {4, 1, 2, 2}, {.stride = 2, .groups = 2}));
  add(transposed_row("output padding of more than a stride", {1, 2, 3, 2}, {2, 1, 2, 3},
                     {.stride = {1, 2}, .padding = {1, 1}, .output_padding = {2, 2}, .dilation = {3, 3}}));
  add(transposed_row("empty batch", {0, 2, 3, 3}, {2, 2, 2, 2}, {}));
  OpCase row = transposed_row("bias", {2, 2, 3, 3}, {2, 3, 2, 2}, {});
  row.inputs.push_back({.shape = {3}});
  row.f = [](std::span<const Tensor> in) { return std::vector<Tensor>{conv_transpose2d(in[0], in[1], in[2])}; };
  row.reference = [](std::span<const Array> in) {
    Array bias = in[2];
    bias.shape = {3, 1, 1};
    return std::vector<Array>{zip_array(transposed(in[0], in[1], {}), bias, std::plus<>())};
  };
  const auto call = [](const Shape& x, const Shape& w, const ConvTranspose2dParams& p = {}, const Tensor& b = {}) {
    return [=] { conv_transpose2d(zeros(x), zeros(w), b, p); };
  };
  row.bad = {{call({1, 2, 3, 3}, {3, 2, 2, 2}), "has 2 channels"},
             {call({1, 3, 3, 3}, {3, 2, 2, 2}, {.groups = 2}), "with 2 groups"},
             {call({1, 3, 3, 3}, {3, 2, 2, 2}, {}, zeros({3})), "a bias of shape [3] for 2 output channels"},
             {call({1, 3, 3, 3}, {3, 2, 2, 2}, {.stride = 2, .output_padding = 2}), "output_padding 2 must be"},
             {call({1, 3, 1, 1}, {3, 2, 2, 2}, {.padding = 1}), "has no output"},
             {call({1, 3, 3, 3}, {3, 2, 2, 2}, {.dilation = 0}), "stride and dilation must be at least 1"},
             {call({3, 3}, {3, 2, 2, 2}), "expected an input [n, c, h, w]"}};
  add(row);
  add({.op = "conv2d_input_grad",
       .variant = "conv_transpose1d, one sequence",
       .inputs = {{.shape = {2, 4}}, {.shape = {2, 3, 3}}, {.shape = {3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{
                 conv_transpose1d(in[0], in[1], in[2], {.stride = 2, .padding = 1, .output_padding = 1})};
           },
       .reference =
           [](std::span<const Array> in) {
             Array x = in[0], w = in[1], bias = in[2];
             x.shape = {1, 2, 1, 4};
             w.shape = {2, 3, 1, 3};
             bias.shape = {3, 1};
             Array y = transposed(x, w, {.stride = {1, 2}, .padding = {0, 1}, .output_padding = {0, 1}});
             y.shape = {3, y.shape[3]};
             return std::vector<Array>{zip_array(y, bias, std::plus<>())};
           },
       .tolerance = kTolerance,
       .bad = {{[] {
                  conv_transpose1d(zeros({1, 2, 4, 4}), zeros({2, 3, 3}));
                },
                "conv_transpose1d: expected an input [n, c, l]"}}});
}

}  // namespace

void add_conv_cases(const Add& add) {
  add_transposed(add);
  add_family(add, "3x3", {2, 2, 5, 4}, {3, 2, 3, 3}, {});
  add_family(add, "padding", {1, 2, 3, 4}, {2, 2, 3, 3}, {.padding = {1, 2}});
  add_family(add, "stride and padding, rest dropped", {1, 1, 6, 5}, {2, 1, 3, 2},
             {.stride = {2, 3}, .padding = {1, 0}});
  add_family(add, "dilation", {1, 2, 6, 5}, {1, 2, 3, 2}, {.padding = 1, .dilation = {2, 1}});
  add_family(add, "groups", {1, 4, 3, 3}, {2, 2, 2, 2}, {.groups = 2});
  add_family(add, "depthwise", {1, 3, 4, 3}, {3, 1, 3, 3}, {.padding = 1, .groups = 3});
  add_family(add, "1x1", {2, 3, 2, 2}, {4, 3, 1, 1}, {});
  add_family(add, "kernel as large as the image", {2, 2, 3, 3}, {2, 2, 3, 3}, {});
  add_family(add, "empty batch", {0, 2, 4, 4}, {3, 2, 3, 3}, {});
  add({.op = "conv2d",
       .variant = "bias",
       .inputs = {{.shape = {2, 2, 4, 4}}, {.shape = {3, 2, 3, 3}}, {.shape = {3}}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{conv2d(in[0], in[1], in[2])}; },
       .reference =
           [](std::span<const Array> in) {
             Array bias = in[2];
             bias.shape = {3, 1, 1};
             return std::vector<Array>{zip_array(forward(in[0], in[1], {}), bias, std::plus<>())};
           },
       .tolerance = kTolerance,
       .also_covers = {"conv2d_input_grad", "conv2d_weight_grad", "sum"},
       .bad = {{[] {
                  conv2d(zeros({1, 2, 4, 4}), zeros({3, 3, 3, 3}));
                },
                "has 2 channels"},
               {[] {
                  conv2d(zeros({1, 3, 2, 2}), zeros({3, 3, 3, 3}));
                },
                "spans 3 elements, more than the padded input's 2"},
               {[] {
                  conv2d(zeros({1, 3, 4, 4}), zeros({3, 3, 3, 3}), zeros({2}));
                },
                "a bias of shape [2]"},
               {[] {
                  conv2d(zeros({1, 3, 4, 4}), zeros({3, 3, 3, 3}), {}, {.stride = 0});
                },
                "stride and dilation must be at least 1"},
               {[] {
                  conv2d(zeros({1, 3, 4, 4}), zeros({3, 3, 3, 3}, {.dtype = f64}));
                },
                "one floating dtype"},
               {[] {
                  conv2d(zeros({4, 4}), zeros({3, 3, 3, 3}));
                },
                "expected an input [n, c, h, w]"}},
       .bench = {.shapes = {{8, 16, 16, 16}, {64, 32, 26, 26}},
                 .inputs =
                     [](const Shape& s) {
                       return std::vector<Input>{{.shape = s}, {.shape = {64, s[1], 3, 3}}, {.shape = {64}}};
                     },
                 .bytes_per_element = 12,
                 .flops_per_element = 1152}});
  add({.op = "conv2d",
       .variant = "one image without a batch",
       .inputs = {{.shape = {2, 4, 4}}, {.shape = {3, 2, 3, 3}}},
       .f = [](std::span<const Tensor> in) { return std::vector<Tensor>{conv2d(in[0], in[1])}; },
       .reference =
           [](std::span<const Array> in) {
             Array x = in[0];
             x.shape.insert(0, 1);
             Array y = forward(x, in[1], {});
             y.shape.erase(0);
             return std::vector<Array>{y};
           },
       .tolerance = kTolerance,
       .also_covers = {"unsqueeze", "reshape"}});
  add({.op = "conv2d",
       .variant = "conv1d",
       .inputs = {{.shape = {2, 2, 7}}, {.shape = {3, 2, 3}}, {.shape = {3}}},
       .f =
           [](std::span<const Tensor> in) {
             return std::vector<Tensor>{conv1d(in[0], in[1], in[2], {.stride = 2, .padding = 1})};
           },
       .reference =
           [](std::span<const Array> in) {
             Array x = in[0], w = in[1], bias = in[2];
             x.shape.insert(2, 1);
             w.shape.insert(2, 1);
             bias.shape = {3, 1};
             Array y = forward(x, w, {.stride = {1, 2}, .padding = {0, 1}});
             y.shape.erase(2);
             return std::vector<Array>{zip_array(y, bias, std::plus<>())};
           },
       .tolerance = kTolerance,
       .bad = {{[] {
                  conv1d(zeros({1, 2, 4, 4}), zeros({3, 3, 3}));
                },
                "conv1d: expected an input [n, c, l]"}}});
}

}  // namespace tenrec::testing
