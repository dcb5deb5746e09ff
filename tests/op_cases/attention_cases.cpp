#include <algorithm>
#include <cmath>

#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// One row's call: how q, k and v come about from the inputs is up to the row.
struct AttentionRow {
  bool causal = false;
  int64_t offset = 0;
  double scale = 0;              // 0: 1 / sqrt(width)
  std::vector<double> may = {};  // boolean mask [queries, keys], 1 where a key may be looked at
};

AttentionOptions options_of(const AttentionRow& o, const Tensor& mask = {}) {
  AttentionOptions options{.mask = mask, .causal = o.causal, .causal_offset = o.offset};
  if (o.scale != 0) options.scale = o.scale;
  return options;
}

// Rows of [batch, heads, rows, width]: fewer dimensions have 1 in front, more are one batch.
Array as_four(Array x) {
  Shape shape{1, 1, 1, 1};
  const int64_t missing = 4 - x.shape.ndim();
  for (int64_t d = 0; d < x.shape.ndim(); ++d) shape[std::max<int64_t>(d + missing, 0)] *= x.shape[d];
  x.shape = shape;
  return x;
}

// softmax(q k^T scale + mask) v, one element after the other. `added` broadcasts from its last two dimensions.
Array attend(const Array& q, const Array& k, const Array& v, const AttentionRow& o, const Array* added) {
  const Shape &qs = q.shape, &ks = k.shape;
  const int64_t group = qs[1] / ks[1], out = v.shape[3];
  const double scale = o.scale != 0 ? o.scale : 1 / std::sqrt(double(qs[3]));
  Array y{{qs[0], qs[1], qs[2], out}, {}};
  for (int64_t b = 0; b < qs[0]; ++b)
    for (int64_t h = 0; h < qs[1]; ++h)
      for (int64_t i = 0; i < qs[2]; ++i) {
        std::vector<double> p;
        for (int64_t j = 0; j < ks[2]; ++j) {
          double s = 0;
          for (int64_t c = 0; c < qs[3]; ++c) s += q.at({b, h, i, c}) * k.at({b, h / group, j, c});
          s *= scale;
          if (o.causal && j > i + o.offset) s = kNever;
          if (!o.may.empty() && o.may[size_t(i * ks[2] + j)] == 0) s = kNever;
          if (added) {
            const Array m = as_four(*added);
            s += m.at({m.shape[0] > 1 ? b : 0, m.shape[1] > 1 ? h : 0, m.shape[2] > 1 ? i : 0, m.shape[3] > 1 ? j : 0});
          }
          p.push_back(s);
        }
        const double most = p.empty() ? kNever : *std::max_element(p.begin(), p.end());
        double total = 0;
        for (double& s : p) total += s = most > kNever ? std::exp(s - most) : 0;
        for (int64_t c = 0; c < out; ++c) {
          double sum = 0;
          for (int64_t j = 0; j < ks[2]; ++j) sum += p[size_t(j)] * v.at({b, h / group, j, c});
          y.values.push_back(total > 0 ? sum / total : 0);
        }
      }
  return y;
}

OpCase attention_row(const char* variant, const Shape& q, const Shape& k, const Shape& v, const AttentionRow& o = {}) {
  OpCase c{.op = "scaled_dot_product_attention",
           .variant = variant,
           .inputs = {{.shape = q}, {.shape = k}, {.shape = v}},
           .f = {}};
  c.f = [o](std::span<const Tensor> in) {
    Tensor mask;
    if (!o.may.empty()) mask = from_vector(o.may, {in[0].size(-2), in[1].size(-2)}).to(boolean).to(in[0].device());
    return std::vector<Tensor>{scaled_dot_product_attention(in[0], in[1], in[2], options_of(o, mask))};
  };
  c.reference = [o](std::span<const Array> in) {
    Array y = attend(as_four(in[0]), as_four(in[1]), as_four(in[2]), o, nullptr);
    Shape shape = in[0].shape;
    shape[shape.ndim() - 1] = y.shape[3];
    y.shape = shape;
    return std::vector<Array>{y};
  };
  c.tolerance = {1e-12, 4e-6, 3e-2, 4e-3};
  return c;
}

// The mask is an input, added to the scores.
OpCase masked_row(const char* variant, const Shape& q, const Shape& k, const Shape& v, const Shape& mask,
                  std::vector<double> values = {}) {
  OpCase c = attention_row(variant, q, k, v);
  c.inputs.push_back({.shape = mask, .values = std::move(values)});
  c.f = [](std::span<const Tensor> in) {
    return std::vector<Tensor>{scaled_dot_product_attention(in[0], in[1], in[2], {.mask = in[3]})};
  };
  c.reference = [](std::span<const Array> in) {
    return std::vector<Array>{attend(as_four(in[0]), as_four(in[1]), as_four(in[2]), {}, &in[3])};
  };
  return c;
}

// [batch, positions, (heads + 2 key heads) width]: its parts as heads.
Array head_part(const Array& x, int64_t first, int64_t count, int64_t width) {
  Array y{{x.shape[0], count, x.shape[1], width}, {}};
  for (int64_t b = 0; b < x.shape[0]; ++b)
    for (int64_t h = 0; h < count; ++h)
      for (int64_t i = 0; i < x.shape[1]; ++i)
        for (int64_t c = 0; c < width; ++c) y.values.push_back(x.at({b, i, (first + h) * width + c}));
  return y;
}

OpCase self_row(const char* variant, const Shape& qkv, int64_t heads, int64_t key_heads, const AttentionRow& o) {
  OpCase c{.op = "self_attention", .variant = variant, .inputs = {{.shape = qkv}}, .f = {}};
  c.f = [=](std::span<const Tensor> in) {
    return std::vector<Tensor>{self_attention(in[0], heads, options_of(o), key_heads)};
  };
  c.reference = [=](std::span<const Array> in) {
    Array x = in[0];
    if (x.shape.ndim() == 2) x.shape = {1, x.shape[0], x.shape[1]};
    const int64_t width = x.shape[2] / (heads + 2 * key_heads);
    const Array y = attend(head_part(x, 0, heads, width), head_part(x, heads, key_heads, width),
                           head_part(x, heads + key_heads, key_heads, width), o, nullptr);
    Array joined{in[0].shape, {}};
    joined.shape[joined.shape.ndim() - 1] = heads * width;
    for (int64_t b = 0; b < x.shape[0]; ++b)
      for (int64_t i = 0; i < x.shape[1]; ++i)
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t d = 0; d < width; ++d) joined.values.push_back(y.at({b, h, i, d}));
    return std::vector<Array>{joined};
  };
  c.tolerance = {1e-12, 4e-6, 3e-2, 4e-3};
  return c;
}

void add_bad_calls(OpCase& c) {
  const auto call = [](const Shape& q, const Shape& k, const Shape& v, const AttentionOptions& o = {}) {
    return [=] { scaled_dot_product_attention(ones(q), ones(k), ones(v), o); };
  };
  c.bad = {
      {call({2, 3, 4}, {2, 3, 5}, {2, 3, 4}), "heads a multiple of key heads, got [2, 3, 4]"},
      {call({3, 3, 4}, {2, 3, 4}, {2, 3, 4}), "heads a multiple of key heads"},
      {call({3, 4}, {3, 4}, {2, 4}), "heads a multiple of key heads"},
      {call({2, 3, 2, 4}, {1, 3, 2, 4}, {1, 3, 2, 4}), "heads a multiple of key heads"},
      {call({4}, {4}, {4}), "needs q [..., heads, queries, width]"},
      {call({2, 3, 4}, {2, 5, 4}, {2, 5, 4}, {.mask = ones({3, 4})}),
       "does not broadcast to the scores' shape [2, 3, 5]"},
      {call({2, 3, 4}, {2, 5, 4}, {2, 5, 4}, {.mask = ones({1, 2, 3, 5})}), "does not broadcast to the scores' shape"},
      {call({3, 4}, {5, 4}, {5, 4}, {.mask = ones({3, 5}, {.dtype = i64})}), "the mask must be boolean or floating"},
      {call({3, 4}, {5, 4}, {5, 4}, {.dropout = 1}), "dropout must lie in [0, 1)"},
      {[] {
         scaled_dot_product_attention(ones({3, 4}), ones({3, 4}, {.dtype = f64}), ones({3, 4}));
       },
       "one dtype"},
      {[] {
         scaled_dot_product_attention(ones({3, 4}, {.dtype = i64}), ones({3, 4}), ones({3, 4}));
       },
       "needs a floating dtype"},
  };
}

void add_plain(const Add& add) {
  OpCase first = attention_row("heads", {2, 2, 3, 4}, {2, 2, 5, 4}, {2, 2, 5, 3});
  add_bad_calls(first);
  first.bench.shapes = {{12, 4, 64, 32}, {4, 8, 512, 64}, {1, 8, 2048, 64}};
  first.bench.inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}, {.shape = s}, {.shape = s}}; };
  first.bench.bytes_per_element = 16;
  first.bench.flops = [](const Shape& s) { return 4.0 * double(s[0] * s[1] * s[2] * s[2] * s[3]); };
  add(std::move(first));
  add(attention_row("one head", {3, 4}, {5, 4}, {5, 2}));
  add(attention_row("causal", {1, 2, 4, 3}, {1, 2, 4, 3}, {1, 2, 4, 3}, {.causal = true}));
  add(attention_row("causal, more keys", {2, 2, 3}, {2, 4, 3}, {2, 4, 2}, {.causal = true, .offset = 2, .scale = 0.7}));
  add(attention_row("no key for the first query", {3, 2}, {2, 2}, {2, 2}, {.causal = true, .offset = -1}));
  add(attention_row("grouped queries", {1, 4, 3, 2}, {1, 2, 3, 2}, {1, 2, 3, 2}, {.causal = true}));
  add(attention_row("five dimensions", {2, 1, 2, 3, 2}, {2, 1, 2, 2, 2}, {2, 1, 2, 2, 2}));
  add(attention_row("boolean mask, a row without keys", {1, 2, 3, 2}, {1, 2, 3, 2}, {1, 2, 3, 2},
                    {.may = {1, 0, 1, 0, 0, 0, 1, 1, 0}}));
  add(attention_row("no keys", {2, 3, 2}, {2, 0, 2}, {2, 0, 2}));
  const auto large = [&](OpCase c) {
    c.order = 0;
    c.tolerance = {1e-12, 1e-5, 3e-2, 4e-3};
    add(std::move(c));
  };
  large(attention_row("tiles", {1, 2, 150, 20}, {1, 2, 300, 20}, {1, 2, 300, 37}));
  large(attention_row("causal tiles", {1, 2, 201, 33}, {1, 2, 201, 33}, {1, 2, 201, 16}, {.causal = true}));
  large(attention_row("grouped tiles", {3, 6, 70, 9}, {3, 2, 140, 9}, {3, 2, 140, 5}, {.causal = true, .offset = 70}));
  large(attention_row("many heads", {9, 4, 33, 8}, {9, 4, 33, 8}, {9, 4, 33, 8}, {.causal = true}));
  // Widths that the tensor cores take; with more queries and keys than a tile has, and an end within one.
  large(attention_row("pieces of 16 bytes", {1, 2, 140, 64}, {1, 2, 150, 64}, {1, 2, 150, 64}));
  large(attention_row("pieces, causal", {2, 2, 150, 24}, {2, 1, 150, 24}, {2, 1, 150, 24}, {.causal = true}));
  large(attention_row("pieces, causal, more keys", {1, 2, 90, 72}, {1, 1, 130, 72}, {1, 1, 130, 72},
                      {.causal = true, .offset = 37}));
  large(attention_row("pieces, the first queries without keys", {1, 1, 150, 8}, {1, 1, 80, 8}, {1, 1, 80, 8},
                      {.causal = true, .offset = -70}));
  large(attention_row("pieces of the widest rows", {1, 1, 70, 128}, {1, 1, 100, 128}, {1, 1, 100, 128}));
  OpCase far = attention_row("large scores", {4, 3}, {6, 3}, {6, 3}, {.scale = 100});
  far.order = 0;
  far.dtypes = {f64, f32};
  far.tolerance = {1e-11, 4e-4};  // scores near 400 lose 2^9 units to rounding
  add(std::move(far));
}

void add_masked(const Add& add) {
  add(masked_row("added mask", {1, 2, 3, 2}, {1, 2, 4, 2}, {1, 2, 4, 2}, {3, 4}));
  add(masked_row("added mask of heads", {2, 2, 3, 2}, {2, 2, 2, 2}, {2, 2, 2, 2}, {2, 3, 1}));
  OpCase wide = masked_row("added mask, pieces of 16 bytes", {1, 2, 70, 16}, {1, 2, 90, 16}, {1, 2, 90, 16}, {70, 90});
  wide.inputs[3].differentiable = false;
  wide.order = 0;
  add(std::move(wide));
  OpCase never = masked_row("added mask of -inf", {1, 1, 2, 3}, {1, 1, 3, 3}, {1, 1, 3, 3}, {2, 3},
                            {0.5, kNever, 1, kNever, kNever, kNever});
  never.inputs[3].differentiable = false;
  add(std::move(never));
}

void add_self(const Add& add) {
  OpCase first = self_row("causal", {2, 3, 12}, 2, 2, {.causal = true});
  first.bad = {{[] {
                  self_attention(ones({3, 10}), 2);
                },
                "needs qkv [positions, (heads + 2 key_heads) width]"},
               {[] {
                  self_attention(ones({3, 12}), 3, {}, 2);
                },
                "heads must be a multiple of key_heads"},
               {[] {
                  self_attention(ones({3, 12}, {.dtype = i64}), 2);
                },
                "needs a floating dtype"}};
  first.bench.shapes = {{12, 64, 384}};
  first.bench.inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}}; };
  first.bench.bytes_per_element = 16.0 / 3;
  first.bench.flops = [](const Shape& s) { return 4.0 * double(s[0] * s[1] * s[1] * s[2] / 3); };
  add(std::move(first));
  add(self_row("one sequence", {4, 6}, 1, 1, {}));
  add(self_row("grouped", {1, 3, 16}, 4, 2, {.causal = true}));
  for (const auto& [variant, width] : {std::pair{"tiles", 96}, std::pair{"tiles, pieces of 16 bytes", 192}}) {
    OpCase large = self_row(variant, {2, 140, width}, 4, 4, {.causal = true});
    large.order = 0;
    add(std::move(large));
  }
}

// The mask of dropout is a pure function of the generator, so forward, backward and their derivatives agree: gradcheck
// draws the same mask again and again.
void add_dropped(const Add& add) {
  OpCase c = attention_row("dropout", {1, 2, 3, 3}, {1, 2, 5, 3}, {1, 2, 5, 3});
  c.f = [](std::span<const Tensor> in) {
    Generator generator(5);
    return std::vector<Tensor>{
        scaled_dot_product_attention(in[0], in[1], in[2], {.dropout = 0.4, .generator = &generator})};
  };
  c.reference = {};
  c.why_no_reference = "random; tests/attention_test.cpp compares it with the matrix and dropout";
  add(c);
  for (const auto& [variant, width] : {std::pair{"dropout of tiles", 3}, std::pair{"dropout, pieces of 16 bytes", 8}}) {
    c.variant = variant;
    c.inputs = {{.shape = {2, 2, 70, width}}, {.shape = {2, 2, 150, width}}, {.shape = {2, 2, 150, width}}};
    c.order = 0;
    add(c);
  }
}

}  // namespace

void add_attention_cases(const Add& add) {
  add_plain(add);
  add_masked(add);
  add_self(add);
  add_dropped(add);
}

}  // namespace tenrec::testing
