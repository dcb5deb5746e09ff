#include <cmath>

#include "op_cases/elementwise_cases.h"
#include "op_cases/op_case.h"

namespace tenrec::testing {
namespace {

using Line = std::vector<double>;

double mean_of(const Line& v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / double(v.size());
}
double variance_of(const Line& v, double correction) {
  double squares = 0;
  for (double x : v) squares += (x - mean_of(v)) * (x - mean_of(v));
  return squares / (double(v.size()) - correction);
}

struct BatchNormRow {
  bool training = true;
  bool affine = true;
  double momentum = 0.1, eps = 1e-5;
};

int64_t channel_of(const Array& x, size_t i) {
  int64_t inner = 1;
  for (int64_t d = 2; d < x.shape.ndim(); ++d) inner *= x.shape[d];
  return int64_t(i) / inner % x.shape[1];
}
std::vector<Line> channels_of(const Array& x) {
  std::vector<Line> lines(size_t(x.shape[1]));
  for (size_t i = 0; i < x.values.size(); ++i) lines[size_t(channel_of(x, i))].push_back(x.values[i]);
  return lines;
}
// Running statistics that are not the defaults.
double running_mean_of(int64_t c) { return 0.5 - 0.25 * double(c); }
double running_var_of(int64_t c) { return 0.5 + 0.5 * double(c); }
std::pair<Tensor, Tensor> running(int64_t channels) {
  Line m, v;
  for (int64_t c = 0; c < channels; ++c) {
    m.push_back(running_mean_of(c));
    v.push_back(running_var_of(c));
  }
  return {from_vector(m, {channels}), from_vector(v, {channels})};
}

// `statistics`: the outputs are both running statistics after the call, instead of y.
OpCase batch_norm_row(const char* variant, const Shape& shape, const BatchNormRow& o, bool statistics = false) {
  OpCase c{.op = "batch_norm", .variant = variant, .inputs = {{.shape = shape}}, .f = {}};
  if (o.affine) c.inputs = {{.shape = shape}, {.shape = {shape[1]}}, {.shape = {shape[1]}}};
  c.f = [o, statistics](std::span<const Tensor> in) {
    const auto [m, v] = running(in[0].shape()[1]);
    const BatchNormParams params{.training = o.training, .momentum = o.momentum, .eps = o.eps};
    const Tensor y = o.affine ? batch_norm(in[0], m, v, in[1], in[2], params) : batch_norm(in[0], m, v, {}, {}, params);
    return statistics ? std::vector<Tensor>{m, v} : std::vector<Tensor>{y};
  };
  c.reference = [o, statistics](std::span<const Array> in) {
    const Array& x = in[0];
    const std::vector<Line> lines = channels_of(x);
    Line mean, var, running_mean, running_var;
    for (size_t k = 0; k < lines.size(); ++k) {
      running_mean.push_back(running_mean_of(int64_t(k)));
      running_var.push_back(running_var_of(int64_t(k)));
      mean.push_back(o.training ? mean_of(lines[k]) : running_mean[k]);
      var.push_back(o.training ? variance_of(lines[k], 0) : running_var[k]);
      if (!o.training) continue;
      running_mean[k] = (1 - o.momentum) * running_mean[k] + o.momentum * mean[k];
      running_var[k] = (1 - o.momentum) * running_var[k] + o.momentum * variance_of(lines[k], 1);
    }
    Array y = x;
    for (size_t i = 0; i < y.values.size(); ++i) {
      const size_t k = size_t(channel_of(x, i));
      y.values[i] = (x.values[i] - mean[k]) / std::sqrt(var[k] + o.eps);
      if (o.affine) y.values[i] = y.values[i] * in[1].values[k] + in[2].values[k];
    }
    const Shape channels{x.shape[1]};
    if (statistics) return std::vector<Array>{{channels, running_mean}, {channels, running_var}};
    return std::vector<Array>{y};
  };
  c.tolerance = {1e-12, 1e-5, 3e-2, 5e-3};
  c.differentiable = !statistics;
  return c;
}

void add_batch_norm(const Add& add) {
  for (bool training : {true, false}) {
    const BatchNormRow plain{.training = training, .affine = false}, affine{.training = training, .eps = 1e-3};
    OpCase first = batch_norm_row("[n, c]", {5, 3}, affine);
    if (training)
      first.bad = {{[] { batch_norm(ones({3}), {}, {}, {}, {}, {.training = true}); }, "needs [rows, channels, ...]"},
                   {[] {
                      batch_norm(ones({1, 3}), {}, {}, {}, {}, {.training = true});
                    },
                    "more than one value"},
                   {[] {
                      batch_norm(ones({2, 3}), {}, {});
                    },
                    "needs running_mean and running_var"},
                   {[] {
                      batch_norm(ones({2, 3}), {}, {}, ones({2}), {}, {.training = true});
                    },
                    "weight needs shape [3]"},
                   {[] {
                      batch_norm(ones({2, 3}, {.dtype = i64}), {}, {});
                    },
                    "needs a floating dtype"}};
    add(std::move(first));
    add(batch_norm_row("[n, c], no parameters", {4, 2}, plain));
    add(batch_norm_row("[n, c, l]", {2, 3, 4}, affine));
    add(batch_norm_row("[n, c, h, w]", {2, 2, 2, 3}, affine));
    add(batch_norm_row("[n, c, h, w], no parameters", {2, 2, 2, 2}, plain));
    add(batch_norm_row("running statistics", {4, 3}, affine, true));
    add(batch_norm_row("running statistics of images", {2, 3, 4, 5}, {.training = training, .momentum = 0.3}, true));
    add(batch_norm_row("long runs", {2, 2, 20}, affine));
    OpCase large = batch_norm_row("leaves", {3, 2, 19, 17}, affine);
    large.order = 0;
    large.bench.shapes = {{64, 32, 24, 24}, {256, 1024}};
    large.bench.inputs = [](const Shape& s) {
      return std::vector<Input>{{.shape = s}, {.shape = {s[1]}}, {.shape = {s[1]}}};
    };
    large.bench.bytes_per_element = 12;
    large.bench.flops_per_element = 6;
    add(std::move(large));
    OpCase columns = batch_norm_row("wide rows", {70, 40}, affine);
    columns.order = 0;
    add(std::move(columns));
  }
  OpCase far = batch_norm_row("far from 0", {4, 2, 300}, {.affine = false});
  far.inputs[0].low = 1000;
  far.inputs[0].high = 1001;
  far.dtypes = {f64, f32};
  far.tolerance = {1e-8, 1e-3};
  far.order = 0;
  add(std::move(far));
}

OpCase layer_norm_row(const char* variant, const Shape& shape, int64_t dims, bool weight, bool bias) {
  Shape along;
  for (int64_t d = shape.ndim() - dims; d < shape.ndim(); ++d) along.push_back(shape[d]);
  OpCase c{.op = "layer_norm", .variant = variant, .inputs = {{.shape = shape}}, .f = {}};
  if (weight) c.inputs.push_back({.shape = along});
  if (bias) c.inputs.push_back({.shape = along});
  c.f = [=](std::span<const Tensor> in) {
    Shape last;  // of any size, for the bench
    for (int64_t d = in[0].ndim() - dims; d < in[0].ndim(); ++d) last.push_back(in[0].size(d));
    return std::vector<Tensor>{
        layer_norm(in[0], last, weight ? in[1] : Tensor(), bias ? in[in.size() - 1] : Tensor(), 1e-3)};
  };
  c.reference = [=](std::span<const Array> in) {
    Array y = in[0];
    const size_t n = size_t(checked_numel(along));
    for (size_t r = 0; r < y.values.size(); r += n) {
      const Line line(in[0].values.begin() + long(r), in[0].values.begin() + long(r + n));
      for (size_t k = 0; k < n; ++k) {
        double& v = y.values[r + k];
        v = (v - mean_of(line)) / std::sqrt(variance_of(line, 0) + 1e-3);
        if (weight) v *= in[1].values[k];
        if (bias) v += in[in.size() - 1].values[k];
      }
    }
    return std::vector<Array>{y};
  };
  c.tolerance = {1e-12, 1e-5, 3e-2, 5e-3};
  return c;
}

OpCase rms_norm_row(const char* variant, const Shape& shape, int64_t dims, bool weight) {
  Shape along;
  for (int64_t d = shape.ndim() - dims; d < shape.ndim(); ++d) along.push_back(shape[d]);
  OpCase c{.op = "rms_norm", .variant = variant, .inputs = {{.shape = shape}}, .f = {}};
  if (weight) c.inputs.push_back({.shape = along});
  c.f = [=](std::span<const Tensor> in) {
    Shape last;  // of any size, for the bench
    for (int64_t d = in[0].ndim() - dims; d < in[0].ndim(); ++d) last.push_back(in[0].size(d));
    return std::vector<Tensor>{rms_norm(in[0], last, weight ? in[1] : Tensor(), 1e-3)};
  };
  c.reference = [=](std::span<const Array> in) {
    Array y = in[0];
    const size_t n = size_t(checked_numel(along));
    for (size_t r = 0; r < y.values.size(); r += n) {
      double squares = 0;
      for (size_t k = 0; k < n; ++k) squares += y.values[r + k] * y.values[r + k];
      for (size_t k = 0; k < n; ++k) {
        y.values[r + k] /= std::sqrt(squares / double(n) + 1e-3);
        if (weight) y.values[r + k] *= in[1].values[k];
      }
    }
    return std::vector<Array>{y};
  };
  c.tolerance = {1e-12, 1e-5, 3e-2, 5e-3};
  return c;
}

void add_rms_norm(const Add& add) {
  OpCase first = rms_norm_row("rows", {3, 5}, 1, true);
  first.bad = {{[] {
                  rms_norm(ones({2, 3}), {2});
                },
                "must be normalized_shape [2]"},
               {[] {
                  rms_norm(ones({2, 3}), {3}, ones({2}));
                },
                "weight needs shape [3]"}};
  first.bench.shapes = {{768, 128}, {2048, 1024}};
  first.bench.inputs = [](const Shape& s) { return std::vector<Input>{{.shape = s}, {.shape = {s[1]}}}; };
  first.bench.bytes_per_element = 8;
  first.bench.flops_per_element = 4;
  add(std::move(first));
  add(rms_norm_row("no weight", {4, 3}, 1, false));
  add(rms_norm_row("two dimensions", {2, 2, 3}, 2, true));
  add(rms_norm_row("a pack and more", {2, 19}, 1, true));
  OpCase leaves = rms_norm_row("more than a leaf", {3, 700}, 1, true);
  leaves.order = 0;
  add(std::move(leaves));
}

void add_layer_norm(const Add& add) {
  OpCase first = layer_norm_row("rows", {3, 5}, 1, true, true);
  first.bad = {{[] {
                  layer_norm(ones({2, 3}), {2});
                },
                "must be normalized_shape [2]"},
               {[] {
                  layer_norm(ones({2, 3}), {2, 2, 3});
                },
                "must be normalized_shape"},
               {[] {
                  layer_norm(ones({2, 3}), {3}, ones({2}));
                },
                "weight needs shape [3]"},
               {[] {
                  layer_norm(ones({2, 3}, {.dtype = i64}), {3});
                },
                "needs a floating dtype"}};
  first.bench.shapes = {{768, 128}, {2048, 1024}, {64, 65536}};
  first.bench.inputs = [](const Shape& s) {
    return std::vector<Input>{{.shape = s}, {.shape = {s[1]}}, {.shape = {s[1]}}};
  };
  first.bench.bytes_per_element = 8;
  first.bench.flops_per_element = 8;
  add(std::move(first));
  add(layer_norm_row("no parameters", {4, 3}, 1, false, false));
  add(layer_norm_row("weight alone", {2, 2, 3}, 1, true, false));
  add(layer_norm_row("bias alone", {2, 4}, 1, false, true));
  add(layer_norm_row("two dimensions", {2, 2, 3}, 2, true, true));
  add(layer_norm_row("a pack and more", {2, 19}, 1, true, true));
  OpCase leaves = layer_norm_row("more than a leaf", {3, 700}, 1, true, true);
  leaves.order = 0;
  add(std::move(leaves));
  OpCase rows = layer_norm_row("many rows", {150, 4}, 1, true, true);
  rows.order = 0;
  add(std::move(rows));
}

}  // namespace

void add_norm_cases(const Add& add) {
  add_batch_norm(add);
  add_layer_norm(add);
  add_rms_norm(add);
}

}  // namespace tenrec::testing
