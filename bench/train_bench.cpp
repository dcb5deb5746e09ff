// The training workloads in Tenrec, written as its examples are. compare.py runs this program against its peers.
//
//   train_bench [--workload NAME] [--threads N] [--repeats R] [--min-time SECONDS] [--losses]
//               [--device cuda [--capture]]
#include <optional>

#include "bench/harness.h"
#include "tenrec/tenrec.h"

namespace {

using namespace tenrec;
using namespace tenrec::bench;

Tensor to_tensor(const std::vector<float>& values, const std::vector<int64_t>& shape) {
  return from_vector(values, Shape(std::span<const int64_t>(shape)));  // on the default device
}

// A runner on the default device, whose steps are run one by one or captured at the first and replayed. `Result`: what
// a step returns.
template <class Result>
class DeviceRunner : public Runner {
 public:
  explicit DeviceRunner(bool captured) : captured_(captured) {}
  void synchronize() override {
    if (device_.is_cuda()) cuda::synchronize(device_);
  }
  double peak_device_mb() const override {
    return device_.is_cuda() ? double(cuda::memory_stats(device_).peak_reserved) / (1 << 20) : 0;
  }
  int64_t graph_nodes() const override { return step_ ? step_->nodes() : 0; }

 protected:
  // `train` must refer to nothing that goes away before the runner does.
  template <class F, class... Inputs>
  Result run_step(F train, const Inputs&... inputs) {
    if (!captured_) return train(inputs...);
    if (!step_) step_.emplace(cuda::capture(train, inputs...));
    return (*step_)(inputs...);
  }
  const Device device_ = default_device();

 private:
  const bool captured_;
  std::optional<cuda::CapturedStep<Result>> step_;
};

class Mlp : public Module {
 public:
  explicit Mlp(const Workload& w)
      : fc1(w.layers[0].in, w.layers[0].out), fc2(w.layers[1].in, w.layers[1].out), is_xor_(w.name == "xor") {}
  Tensor loss(const Tensor& x, const Tensor& y) const {
    ModuleScope scope(*this);
    const Tensor h = fc1(x);
    return is_xor_ ? mse_loss(fc2(tanh(h)), y) : cross_entropy(fc2(relu(h)), y);
  }
  void visit(Visitor& v) override {
    v("fc1", fc1);
    v("fc2", fc2);
  }
  Linear fc1, fc2;

 private:
  bool is_xor_;
};

Conv2d make_conv(const Layer& l, int64_t padding) { return {l.in, l.out, l.kernel, {.padding = padding}}; }
Linear make_linear(const Layer& l) { return {l.in, l.out}; }

class LeNet : public Module {
 public:
  explicit LeNet(const Workload& w)
      : conv1(make_conv(w.layers[0], 2)),
        conv2(make_conv(w.layers[1], 0)),
        fc1(make_linear(w.layers[2])),
        fc2(make_linear(w.layers[3])),
        fc3(make_linear(w.layers[4])) {}
  Tensor loss(Tensor x, const Tensor& y) const {
    ModuleScope scope(*this);
    x = max_pool2d(relu(conv1(x)), 2);
    x = flatten(max_pool2d(relu(conv2(x)), 2), 1);
    return cross_entropy(fc3(relu(fc2(relu(fc1(x))))), y);
  }
  void visit(Visitor& v) override {
    v("conv1", conv1);
    v("conv2", conv2);
    v("fc1", fc1);
    v("fc2", fc2);
    v("fc3", fc3);
  }
  Conv2d conv1, conv2;
  Linear fc1, fc2, fc3;
};

class Cnn : public Module {
 public:
  explicit Cnn(const Workload& w)
      : conv1(make_conv(w.layers[0], 0)),
        conv2(make_conv(w.layers[1], 0)),
        fc1(make_linear(w.layers[2])),
        fc2(make_linear(w.layers[3])) {}
  Tensor loss(Tensor x, const Tensor& y) const {
    ModuleScope scope(*this);
    x = max_pool2d(relu(conv2(relu(conv1(x)))), 2);
    x = flatten(dropout(x), 1);
    x = dropout(relu(fc1(x)));
    return nll_loss(log_softmax(fc2(x), 1), y);
  }
  void visit(Visitor& v) override {
    v("conv1", conv1);
    v("conv2", conv2);
    v("dropout", dropout);
    v("fc1", fc1);
    v("fc2", fc2);
  }
  Conv2d conv1, conv2;
  Dropout dropout{kDropout};
  Linear fc1, fc2;
};

// Tokens [steps, batch] to the mean loss of each next one.
template <class Cell>
class LanguageModel : public Module {
 public:
  explicit LanguageModel(const Workload& w)
      : embedding(w.recurrent.vocabulary, w.recurrent.width),
        cell(w.recurrent.width, w.recurrent.hidden),
        head(w.recurrent.hidden, w.recurrent.vocabulary) {}
  Tensor loss(const Tensor& x, const Tensor& y) const {
    ModuleScope scope(*this);
    return cross_entropy(flatten(head(cell(embedding(x)).output), 0, 1), y);
  }
  void visit(Visitor& v) override {
    v("embedding", embedding);
    v("cell", cell);
    v("head", head);
  }
  Embedding embedding;
  Cell cell;
  Linear head;
};

class GptBlock : public Module {
 public:
  explicit GptBlock(const GptSize& t)
      : ln_1(t.width),
        c_attn(t.width, 3 * t.width),
        c_proj(t.width, t.width),
        ln_2(t.width),
        mlp_fc(t.width, 4 * t.width),
        mlp_proj(4 * t.width, t.width),
        heads_(t.heads) {}
  Tensor operator()(Tensor x) const {
    ModuleScope scope(*this);
    x = x + c_proj(self_attention(c_attn(ln_1(x)), heads_, {.causal = true}));
    return x + mlp_proj(gelu(mlp_fc(ln_2(x)), GeluApproximation::tanh));
  }
  void visit(Visitor& v) override {
    v("ln_1", ln_1);
    v("c_attn", c_attn);
    v("c_proj", c_proj);
    v("ln_2", ln_2);
    v("mlp_fc", mlp_fc);
    v("mlp_proj", mlp_proj);
  }
  LayerNorm ln_1;
  Linear c_attn, c_proj;
  LayerNorm ln_2;
  Linear mlp_fc, mlp_proj;

 private:
  int64_t heads_;
};

// Tokens [batch, context] to the mean loss of each next one.
class Gpt : public Module {
 public:
  explicit Gpt(const Workload& w)
      : wte(w.transformer.vocabulary, w.transformer.width),
        wpe(w.transformer.context, w.transformer.width),
        h(repeat(w.transformer.layers, [&] { return GptBlock(w.transformer); })),
        ln_f(w.transformer.width) {}
  Tensor loss(const Tensor& tokens, const Tensor& y) const {
    ModuleScope scope(*this);
    Tensor x = wpe(wte(tokens));
    for (const GptBlock& block : h) x = block(x);
    return cross_entropy(flatten(linear(ln_f(x), wte.weight), 0, 1), y);
  }
  void visit(Visitor& v) override {
    v("wte", wte);
    v("wpe", wpe);
    v("h", h);
    v("ln_f", ln_f);
  }
  Embedding wte;
  LearnedPositions wpe;
  std::vector<GptBlock> h;
  LayerNorm ln_f;
};

// Draws what causal attention gives to a target, through queries, keys and values.
class Attention : public Module {
 public:
  explicit Attention(const Workload& w) {
    for (Tensor* t : {&q, &k, &v}) *t = zeros(Shape(std::span<const int64_t>(w.input)), {.requires_grad = true});
  }
  Tensor loss(const Tensor&, const Tensor& y) const {
    const Tensor seen = scaled_dot_product_attention(q, k, v, {.causal = true});
    return mse_loss(flatten(seen, 1), y);
  }
  void visit(Visitor& visitor) override {
    visitor("q", q);
    visitor("k", k);
    visitor("v", v);
  }
  Tensor q, k, v;
};

// Pictures and the noise of their latent vectors to the negative evidence lower bound of a picture.
class Vae : public Module {
 public:
  explicit Vae(const Workload& w)
      : encoder(make_linear(w.layers[0])),
        mean(make_linear(w.layers[1])),
        log_variance(make_linear(w.layers[2])),
        decoder(make_linear(w.layers[3])),
        pixels(make_linear(w.layers[4])) {}
  Tensor loss(const Tensor& x, const Tensor& noise) const {
    ModuleScope scope(*this);
    const Tensor h = relu(encoder(x)), m = mean(h), lv = log_variance(h);
    const Tensor drawn = pixels(relu(decoder(m + noise * exp(lv * 0.5))));
    const Tensor likelihood = binary_cross_entropy_with_logits(drawn, x, {.reduction = Reduction::sum});
    return (likelihood - sum(lv - square(m) - exp(lv) + 1) * 0.5) / x.size(0);
  }
  void visit(Visitor& v) override {
    v("encoder", encoder);
    v("mean", mean);
    v("log_variance", log_variance);
    v("decoder", decoder);
    v("pixels", pixels);
  }
  Linear encoder, mean, log_variance, decoder, pixels;
};

void load_parameters(Module& model, const Workload& w) {
  std::vector<NamedTensor> state;
  for (const Parameter& p : initial_parameters(w)) state.push_back({p.name, to_tensor(p.values, p.shape)});
  load_state_dict(model, state);
}

std::unique_ptr<Optimizer> make_optimizer(Module& model, const Workload& w) {
  if (w.lr > 0) return std::make_unique<SGD>(parameters(model), SGDOptions{.lr = w.lr});
  const auto& [lr, beta1, beta2, eps, weight_decay] = w.adam;
  if (w.transformer.layers > 0)
    return std::make_unique<AdamW>(parameters(model), AdamWOptions{lr, beta1, beta2, eps, weight_decay});
  return std::make_unique<Adam>(parameters(model), AdamOptions{lr, beta1, beta2, eps, 0});
}

struct Batches {
  std::vector<Tensor> inputs, targets;
  explicit Batches(const Workload& w) {
    for (const Batch& b : make_batches(w)) {
      const Tensor x = to_tensor(b.inputs, w.input);
      inputs.push_back(w.reads_tokens() ? x.to(i64) : x);
      targets.push_back(b.labels.empty()
                            ? to_tensor(b.targets, {w.batch_size(), int64_t(b.targets.size()) / w.batch_size()})
                            : from_vector(b.labels, {int64_t(b.labels.size())}));
    }
  }
  size_t at(int64_t step) const { return size_t(step) % inputs.size(); }
};

template <class Model>
class Training : public DeviceRunner<Tensor> {
 public:
  Training(const Workload& w, const Options& options)
      : DeviceRunner(options.capture), model_(w), batches_(w), autocast_(options.dtype == "bf16") {
    load_parameters(model_, w);
    optimizer_ = make_optimizer(model_, w);
  }
  double step(int64_t i, bool want_loss) override {
    const size_t batch = batches_.at(i);
    const Tensor loss = run_step([this](const Tensor& x, const Tensor& y) { return train(x, y); },
                                 batches_.inputs[batch], batches_.targets[batch]);
    return want_loss ? loss.item<double>() : 0.;
  }

 private:
  Tensor train(const Tensor& x, const Tensor& y) {
    optimizer_->zero_grad();
    const Tensor loss = forward(x, y);
    backward(loss);
    optimizer_->step();
    return loss;
  }
  Tensor forward(const Tensor& x, const Tensor& y) {
    if (!autocast_) return model_.loss(x, y);
    const Autocast scope(bf16);
    return model_.loss(x, y);
  }

  Model model_;
  Batches batches_;
  bool autocast_;
  std::unique_ptr<Optimizer> optimizer_;
};

class ChainRunner : public DeviceRunner<std::vector<Tensor>> {
 public:
  explicit ChainRunner(bool captured) : DeviceRunner(captured) {
    const Chain chain = chain_operands();
    x_ = from_vector(chain.x, {kChainWidth}).set_requires_grad(true);
    c_ = from_vector(chain.c, {kChainWidth});
    d_ = from_vector(chain.d, {kChainWidth});
  }
  double step(int64_t, bool want_loss) override {
    const std::vector<Tensor> results = run_step([this] { return train(); });  // the loss and its gradient
    if (!want_loss) return 0;
    NoGrad guard;
    add_(x_, results[1], -double(kChainLearningRate));
    return results[0].item<double>();
  }

 private:
  std::vector<Tensor> train() {
    Tensor y = x_;
    for (int64_t k = 0; k < kChainPairs; ++k) y = y * c_ + d_;
    const Tensor loss = sum(y);
    backward(loss);
    const Tensor gradient = x_.grad();
    x_.set_grad({});
    return {loss, gradient};
  }

  Tensor x_, c_, d_;
};

class AdamWRunner : public DeviceRunner<std::vector<Tensor>> {
 public:
  AdamWRunner(const Workload& w, bool captured) : DeviceRunner(captured) {
    const std::vector<int64_t> shape{kAdamWSide, kAdamWSide};
    for (int64_t i = 0; i < kAdamWTensors; ++i) {
      parameters_.push_back(to_tensor(adamw_parameter(i), shape).set_requires_grad(true));
      targets_.push_back(to_tensor(adamw_target(i), shape));
      gradients_.push_back(empty_like(targets_.back()));
      parameters_.back().set_grad(gradients_.back());
    }
    const auto& [lr, beta1, beta2, eps, weight_decay] = w.adam;
    optimizer_ = std::make_unique<AdamW>(parameters_, AdamWOptions{lr, beta1, beta2, eps, weight_decay});
    compute_gradients();
  }
  double step(int64_t, bool want_loss) override {
    const double loss = want_loss ? compute_gradients() : 0.;
    run_step([this] {
      optimizer_->step();
      return std::vector<Tensor>();
    });
    return loss;
  }

 private:
  double compute_gradients() {
    if (device_.is_cuda()) return compute_gradients_there();
    double loss = 0;
    for (size_t i = 0; i < parameters_.size(); ++i)
      loss += adamw_gradient(parameters_[i].data<float>(), targets_[i].data<float>(), gradients_[i].data<float>(),
                             parameters_[i].numel());
    return loss;
  }
  // adamw_gradient with ops.
  double compute_gradients_there() {
    const NoGrad off;
    double loss = 0;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      copy_(gradients_[i], parameters_[i] - targets_[i]);
      const Tensor g = gradients_[i].to(f64);
      loss += 0.5 * sum(g * g).item<double>();
    }
    return loss;
  }
  std::vector<Tensor> parameters_, targets_, gradients_;
  std::unique_ptr<Optimizer> optimizer_;
};

// The loss's gradient or its Hessian times a vector.
class DerivativeRunner : public DeviceRunner<std::vector<Tensor>> {
 public:
  DerivativeRunner(const Workload& w, bool captured) : DeviceRunner(captured), model_(w), lr_(w.lr), batches_(w) {
    load_parameters(model_, w);
    parameters_ = parameters(model_);
    if (w.is_hvp())
      for (const Parameter& p : hvp_direction(w)) direction_.push_back(to_tensor(p.values, p.shape));
  }
  double step(int64_t i, bool want_loss) override {
    const size_t batch = batches_.at(i);
    const std::vector<Tensor> results = run_step([this](const Tensor& x, const Tensor& y) { return derivative(x, y); },
                                                 batches_.inputs[batch], batches_.targets[batch]);
    if (!want_loss) return 0;
    const NoGrad off;
    for (size_t k = 0; k < parameters_.size(); ++k) add_(parameters_[k], results[k + 1], -lr_);
    return results[0].item<double>();
  }

 private:
  std::vector<Tensor> derivative(const Tensor& x, const Tensor& y) {
    const Closure loss = [&] { return model_.loss(x, y); };
    ValueAndTensors found = direction_.empty() ? grad_and_value(loss, parameters_) : hvp(loss, parameters_, direction_);
    found.tensors.insert(found.tensors.begin(), found.value);
    return found.tensors;
  }

  Mlp model_;
  double lr_;
  Batches batches_;
  std::vector<Tensor> parameters_, direction_;
};

std::unique_ptr<Runner> make(const Workload& w, const Options& options) {
  const Device device(options.device);
  if (device.is_cuda() && !cuda::is_available())
    fail<DeviceError>("there is no CUDA device here: no driver, no GPU, or a build with TENREC_CUDA=OFF");
  if (options.capture && !device.is_cuda()) fail<ValueError>("--capture: needs --device cuda");
  if (options.dtype != "f32" && (w.name == "chain" || w.name == "adamw" || w.is_derivative()))
    fail<ValueError>("--dtype: ", w.name, " runs in f32 alone");
  set_default_device(device);
  if (w.name == "chain") return std::make_unique<ChainRunner>(options.capture);
  if (w.name == "adamw") return std::make_unique<AdamWRunner>(w, options.capture);
  if (w.is_derivative()) return std::make_unique<DerivativeRunner>(w, options.capture);
  if (w.name == "lenet") return std::make_unique<Training<LeNet>>(w, options);
  if (w.name == "vae") return std::make_unique<Training<Vae>>(w, options);
  if (w.name == "cnn") return std::make_unique<Training<Cnn>>(w, options);
  if (w.transformer.layers > 0) return std::make_unique<Training<Gpt>>(w, options);
  if (w.name == "attention") return std::make_unique<Training<Attention>>(w, options);
  if (w.name == "lstm") return std::make_unique<Training<LanguageModel<LSTM>>>(w, options);
  if (w.name == "gru") return std::make_unique<Training<LanguageModel<GRU>>>(w, options);
  return std::make_unique<Training<Mlp>>(w, options);
}

}  // namespace

int main(int argc, char** argv) {
  return bench_main(argc, argv,
                    {.name = "tenrec",
                     .set_threads = [](int n) { set_num_threads(n); },
                     .num_threads = [] { return num_threads(); },
                     .make = make});
}
