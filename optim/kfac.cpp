#include "tenrec/optim/kfac.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/hooks.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/core/numeric_error.h"
#include "tenrec/nn/conv.h"
#include "tenrec/nn/layer_observer.h"
#include "tenrec/nn/linear.h"

namespace tenrec {

using detail::check_option;

struct KFAC::Layer {
  std::string path;
  Tensor weight, bias;
  // Sums of this pass: outer products, and how many examples and places of them there were.
  Tensor input_sum = {}, output_sum = {};
  int64_t examples = 0, places = 0;
  // Running means and the inverses made of them, f64.
  Tensor inputs = {}, outputs = {}, inputs_inverse = {}, outputs_inverse = {};
  int64_t looks = 0;

  bool ready() const { return inputs_inverse.defined(); }
  void forget_pass() {
    input_sum = output_sum = Tensor();
    examples = places = 0;
  }
};

namespace {

// Layers of convolutions have a matrix for a weight too: [out, in / groups * kh * kw].
Tensor as_matrix(const Tensor& weight) { return reshape(weight, {weight.shape()[0], -1}); }

Tensor second_moment(const Tensor& rows) { return matmul(transpose(rows, 0, 1), rows).to(f64); }

// What a weight's row is multiplied by, a row for each example and place: the patches of an image, by a convolution
// whose kernels are those of the identity.
Tensor input_rows(const Tensor& x, const Tensor& weight, const Conv2dParams* conv) {
  if (!conv) return reshape(x, {-1, x.shape()[x.ndim() - 1]});
  const Shape& w = weight.shape();
  const int64_t size = w[1] * w[2] * w[3];
  const Tensor kernels = reshape(eye(size, {.dtype = x.dtype(), .device = x.device()}), {size, w[1], w[2], w[3]});
  const Tensor patches = conv2d(x.ndim() == 3 ? unsqueeze(x, 0) : x, kernels, {}, *conv);
  return reshape(permute(patches, {0, 2, 3, 1}), {-1, size});
}
Tensor output_rows(const Tensor& dy, const Conv2dParams* conv) {
  if (!conv) return reshape(dy, {-1, dy.shape()[dy.ndim() - 1]});
  const Tensor batch = dy.ndim() == 3 ? unsqueeze(dy, 0) : dy;
  return reshape(permute(batch, {0, 2, 3, 1}), {-1, batch.shape()[1]});
}
int64_t examples_of(const Tensor& x, const Conv2dParams* conv) {
  if (!conv) return x.numel() / std::max<int64_t>(x.shape()[x.ndim() - 1], 1);
  return x.ndim() == 3 ? 1 : x.shape()[0];
}

Tensor with_ones(const Tensor& rows) {
  return cat({rows, ones({rows.shape()[0], 1}, {.dtype = rows.dtype(), .device = rows.device()})}, 1);
}
// Sums are f32 at least.
Tensor wide(const Tensor& x) { return is_floating(x.dtype()) && x.dtype() != f64 ? x.to(f32) : x; }

void add_to(Tensor& sum, const Tensor& part) { sum = sum.defined() ? sum + part : part; }

double trace_mean(const Tensor& a) { return mean(diagonal(a)).item<double>(); }
bool is_finite(const Tensor& a) { return std::isfinite(sum(a).item<double>()); }
double dot(const Tensor& a, const Tensor& b) { return sum(a.to(f64) * b.to(f64)).item<double>(); }

// (a + damping)^-1 of a positive semi-definite matrix.
Tensor damped_inverse(const Tensor& a, double damping) {
  const Tensor unit = eye(a.shape()[0], {.dtype = a.dtype(), .device = a.device()});
  const Tensor half = solve_triangular(cholesky(a + unit * damping), unit);
  return matmul(transpose(half, 0, 1), half);
}

// The parameter's gradient is another one for a while.
class GradSwap {
 public:
  GradSwap(const Tensor& param, const Tensor& grad) : param_(param), before_(param.grad()) { param_.set_grad(grad); }
  ~GradSwap() { param_.set_grad(before_); }
  GradSwap(const GradSwap&) = delete;
  GradSwap& operator=(const GradSwap&) = delete;

 private:
  Tensor param_, before_;
};

class LayerFinder : public Visitor {
 public:
  struct Found {
    std::string path;
    Tensor weight, bias;
  };
  std::vector<Found> found;

 private:
  void on_module(const std::string& path, Module& module) override {
    if (const auto* linear = dynamic_cast<const Linear*>(&module))
      found.push_back({path, linear->weight, linear->bias});
    if (const auto* conv = dynamic_cast<const Conv2d*>(&module)) found.push_back({path, conv->weight, conv->bias});
  }
};

void check(const KFACOptions& o) {
  check_option(o.lr >= 0, "KFAC", "lr must not be negative", o.lr);
  check_option(o.momentum >= 0 && o.momentum < 1, "KFAC", "momentum must lie in [0, 1)", o.momentum);
  check_option(o.weight_decay >= 0, "KFAC", "weight_decay must not be negative", o.weight_decay);
  check_option(o.damping > 0, "KFAC", "damping must be positive", o.damping);
  check_option(o.decay >= 0 && o.decay < 1, "KFAC", "decay must lie in [0, 1)", o.decay);
  check_option(o.factor_interval >= 1, "KFAC", "factor_interval must be at least 1", double(o.factor_interval));
  check_option(o.inverse_interval >= 1, "KFAC", "inverse_interval must be at least 1", double(o.inverse_interval));
  check_option(o.kl_clip >= 0, "KFAC", "kl_clip must not be negative", o.kl_clip);
}

}  // namespace

// Sums up what the layers say while it lives.
class KFAC::Watch : public detail::LayerObserver {
 public:
  explicit Watch(KFAC& owner) : outer_(detail::layer_observer) {
    for (Layer& layer : owner.layers_) {
      layer.forget_pass();
      layers_.emplace(layer.weight.raw(), &layer);
    }
    detail::layer_observer = this;
  }
  ~Watch() override {
    detail::layer_observer = outer_;
    for (HookHandle& hook : hooks_) hook.remove();
  }

  void ran(const Tensor& weight, const Tensor& x, const Tensor& y, const Conv2dParams* conv) override {
    if (outer_) outer_->ran(weight, x, y, conv);
    const auto it = layers_.find(weight.raw());
    if (it == layers_.end() || !grad_enabled() || !y.requires_grad() || (conv && conv->groups != 1)) return;
    Layer& layer = *it->second;
    const bool is_conv = conv != nullptr;
    const Conv2dParams params = conv ? *conv : Conv2dParams{};
    // Both sums are made when the gradient is there: a run that the loss does not use counts for neither.
    hooks_.push_back(register_hook(y, [&layer, input = x.detach(), is_conv, params](const Tensor& dy) {
      const NoGrad off;
      add(layer, input, dy.detach(), is_conv ? &params : nullptr);
      return Tensor();
    }));
  }

 private:
  static void add(Layer& layer, const Tensor& x, const Tensor& dy, const Conv2dParams* conv) {
    Tensor rows = wide(input_rows(x, layer.weight, conv));
    if (layer.bias.defined()) rows = with_ones(rows);
    const int64_t examples = examples_of(x, conv);
    layer.examples += examples;
    layer.places = rows.shape()[0] / std::max<int64_t>(examples, 1);
    add_to(layer.input_sum, second_moment(rows));
    add_to(layer.output_sum, second_moment(wide(output_rows(dy, conv))));
  }

  LayerObserver* outer_;
  std::unordered_map<const void*, Layer*> layers_;
  std::vector<HookHandle> hooks_;
};

KFAC::KFAC(Module& model, const KFACOptions& options) : Optimizer({"momentum"}), options_(options) {
  check(options);
  add_parameters(tenrec::parameters(model), 0);
  LayerFinder finder;
  finder.start(model);
  std::unordered_map<const void*, bool> known;
  for (const LayerFinder::Found& f : finder.found)
    if (f.weight.numel() > 0 && known.emplace(f.weight.raw(), true).second)
      layers_.push_back({.path = f.path, .weight = f.weight, .bias = f.bias});
}

KFAC::~KFAC() = default;

double KFAC::lr(size_t group) const {
  if (group != 0) fail<IndexError>("KFAC: there is one group, 0, got ", group);
  return options_.lr;
}
void KFAC::set_lr(double lr, size_t group) {
  this->lr(group);
  options_.lr = lr;
}

int64_t KFAC::layers() const {
  return std::count_if(layers_.begin(), layers_.end(), [](const Layer& layer) { return layer.looks > 0; });
}

// Running means take in what the pass has seen. Their first values are plain means: the weight of the past rises to
// `decay`. A pass whose sums are not finite teaches nothing.
void KFAC::learn() {
  const NoGrad off;
  for (Layer& layer : layers_) {
    if (layer.examples > 0 && is_finite(layer.input_sum) && is_finite(layer.output_sum)) {
      // The loss is a mean, so a gradient is 1 / n of its example's: n^2 / n = n times the sum, over the places of one.
      const Tensor inputs = layer.input_sum / double(layer.examples);
      const Tensor outputs = layer.output_sum * (double(layer.examples) / double(layer.places));
      const double past = std::min(options_.decay, 1 - 1 / double(layer.looks + 1));
      layer.inputs = layer.looks ? layer.inputs * past + inputs * (1 - past) : inputs;
      layer.outputs = layer.looks ? layer.outputs * past + outputs * (1 - past) : outputs;
      ++layer.looks;
    }
    layer.forget_pass();
  }
}

void KFAC::observe(const std::function<Tensor()>& loss) {
  {
    const EnableGrad recording;
    const Watch watch(*this);
    grad(loss(), parameters(), {.allow_unused = true});
  }
  learn();
}

Tensor KFAC::step(const std::function<Tensor()>& closure) {
  const EnableGrad recording;
  Tensor loss;
  if (options_.empirical && steps_ % options_.factor_interval == 0) {
    {
      const Watch watch(*this);
      loss = closure();
    }
    learn();
  } else {
    loss = closure();
  }
  step();
  return loss;
}

namespace {

struct Inverses {
  Tensor inputs, outputs;
};
// The damping is shared out so that both factors are changed alike (Martens and Grosse, section 6.3).
Inverses invert(const std::string& path, const Tensor& inputs, const Tensor& outputs, double damping) {
  const double in = trace_mean(inputs), out = trace_mean(outputs);
  const double balance = in > 0 && out > 0 ? std::sqrt(in / out) : 1;
  try {
    return {damped_inverse(inputs, balance * std::sqrt(damping)),
            damped_inverse(outputs, std::sqrt(damping) / balance)};
  } catch (const NumericError& e) {
    fail<NumericError>("KFAC: the factors of ", path.empty() ? "the layer" : path, " cannot be inverted with damping ",
                       damping, ": ", e.what());
  }
}

// G^-1 dW A^-1 for the weight and, as its last column, the bias.
struct Direction {
  Tensor weight, bias;
};
Direction precondition(const Tensor& weight, const Tensor& bias, const Inverses& inverse) {
  Tensor d = as_matrix(weight).to(f64);
  if (bias.defined()) d = cat({d, unsqueeze(bias.to(f64), 1)}, 1);
  d = matmul(matmul(inverse.outputs, d), inverse.inputs);
  const int64_t columns = weight.numel() / weight.shape()[0];
  Direction out{reshape(narrow(d, 1, 0, columns), weight.shape()), {}};
  if (bias.defined()) out.bias = contiguous(select(d, 1, columns));
  return out;
}

}  // namespace

void KFAC::update() {
  const NoGrad off;
  const auto gradient = [&](const Tensor& p) {
    const Tensor g = p.grad();
    return options_.weight_decay != 0 && g.defined() ? g + p * options_.weight_decay : g;
  };
  const bool due = steps_ % options_.inverse_interval == 0;
  std::vector<Inverses> inverses;  // nothing of the optimizer changes before the whole step is known to be finite
  std::unordered_map<const void*, Tensor> directions;
  double product = 0;
  for (const Layer& layer : layers_) {
    inverses.push_back({layer.inputs_inverse, layer.outputs_inverse});
    Inverses& inverse = inverses.back();
    if (layer.looks > 0 && (due || !layer.ready()))
      inverse = invert(layer.path, layer.inputs, layer.outputs, options_.damping);
    const Tensor weight = gradient(layer.weight), bias = layer.bias.defined() ? gradient(layer.bias) : Tensor();
    if (!inverse.inputs.defined() || !weight.defined() || (layer.bias.defined() && !bias.defined())) continue;
    const Direction d = precondition(weight, bias, inverse);
    product += dot(d.weight, weight);
    directions[layer.weight.raw()] = d.weight;
    if (!bias.defined()) continue;
    product += dot(d.bias, bias);
    directions[layer.bias.raw()] = d.bias;
  }
  double scale = 1;
  if (options_.kl_clip > 0 && product * options_.lr * options_.lr > options_.kl_clip)
    scale = std::sqrt(options_.kl_clip / product) / options_.lr;

  std::vector<std::pair<Tensor, Tensor>> steps;
  double length = product;
  for (const Slot& slot : slots_) {
    const auto it = directions.find(slot.param.raw());
    Tensor d = it == directions.end() ? gradient(slot.param) : (it->second * scale).to(slot.param.dtype());
    if (!d.defined()) continue;
    if (it == directions.end()) length += dot(d, d);
    steps.emplace_back(slot.param, std::move(d));
  }
  if (!std::isfinite(length))
    fail<NumericError>("KFAC: step ", steps_ + 1,
                       " is refused, it would not be finite; the parameters are as they were");

  std::vector<std::unique_ptr<GradSwap>> swaps;
  for (const auto& [param, direction] : steps) swaps.push_back(std::make_unique<GradSwap>(param, direction));
  const auto move = [&](const Batch& batch) {
    const kernels::SgdStep step{options_.lr, options_.momentum, 0, 0, false, batch.steps == 1};
    dispatch("KFAC", batch.device, [&](auto device) { kernels::sgd_step(device, batch.dtype, batch.tensors, step); });
  };
  if (options_.momentum != 0)
    for_each_batch(0, {0}, 0, move);
  else
    for_each_batch(0, {}, 0, move);
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].inputs_inverse = inverses[i].inputs;
    layers_[i].outputs_inverse = inverses[i].outputs;
  }
  ++steps_;
}

std::vector<NamedTensor> KFAC::state_dict() const {
  std::vector<NamedTensor> out = Optimizer::state_dict();
  out.push_back({"kfac.steps", scalar(steps_, {.dtype = f64})});
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    out.push_back({concat("layer", i, ".looks"), scalar(layer.looks, {.dtype = f64})});
    if (layer.looks > 0) {
      out.push_back({concat("layer", i, ".inputs"), layer.inputs});
      out.push_back({concat("layer", i, ".outputs"), layer.outputs});
    }
    if (layer.ready()) {
      out.push_back({concat("layer", i, ".inputs_inverse"), layer.inputs_inverse});
      out.push_back({concat("layer", i, ".outputs_inverse"), layer.outputs_inverse});
    }
  }
  return out;
}

void KFAC::load_state_dict(const std::vector<NamedTensor>& state) {
  const NoGrad off;
  std::vector<NamedTensor> common;
  std::unordered_map<std::string, Tensor> own;
  for (const NamedTensor& entry : state) {
    if (entry.name.starts_with("layer") || entry.name.starts_with("kfac."))
      own.emplace(entry.name, entry.tensor);
    else
      common.push_back(entry);
  }
  const auto number = [&](const std::string& name) {
    const auto it = own.find(name);
    if (it == own.end()) fail<ValueError>("KFAC: the saved state has no ", name);
    return int64_t(it->second.item<double>());
  };
  size_t used = 1 + layers_.size();
  std::vector<Layer> loaded = layers_;
  for (size_t i = 0; i < loaded.size(); ++i) {
    Layer& layer = loaded[i];
    const int64_t outputs = layer.weight.shape()[0];
    const int64_t inputs = layer.weight.numel() / outputs + (layer.bias.defined() ? 1 : 0);
    const auto matrix = [&](const char* what, int64_t n, bool needed) {
      const std::string name = concat("layer", i, ".", what);
      const auto it = own.find(name);
      if (it == own.end()) {
        if (needed) fail<ValueError>("KFAC: the saved state has no ", name);
        return Tensor();
      }
      ++used;
      if (it->second.shape() != Shape{n, n})
        fail<ShapeError>("KFAC: saved ", name, " has shape ", it->second.shape(), ", its layer needs ", Shape{n, n});
      return clone(it->second.to(f64).to(layer.weight.device()));
    };
    layer.looks = number(concat("layer", i, ".looks"));
    layer.inputs = matrix("inputs", inputs, layer.looks > 0);
    layer.outputs = matrix("outputs", outputs, layer.looks > 0);
    layer.inputs_inverse = matrix("inputs_inverse", inputs, false);
    layer.outputs_inverse = matrix("outputs_inverse", outputs, layer.inputs_inverse.defined());
  }
  const int64_t steps = number("kfac.steps");
  if (used != own.size()) fail<ValueError>("KFAC: the saved state belongs to another optimizer or model");
  Optimizer::load_state_dict(common);
  layers_ = std::move(loaded);
  steps_ = steps;
}

}  // namespace tenrec
