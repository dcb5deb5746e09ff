// The training workloads in LibTorch (C++), written as its own tutorials do it.
//
// Variants for the search of its best setting: `set_to_none` drops gradients instead of zeroing them, `channels_last`
// lays images and filters out as NHWC.
#include <dlfcn.h>
#include <torch/torch.h>

#include "bench/harness.h"

namespace {

using namespace tenrec::bench;
using torch::Tensor;
namespace F = torch::nn::functional;

Tensor to_tensor(const std::vector<float>& values, const std::vector<int64_t>& shape) {
  return torch::tensor(values).reshape(shape).contiguous();
}

struct Mlp : torch::nn::Module {
  explicit Mlp(const Workload& w)
      : fc1(register_module("fc1", torch::nn::Linear(w.layers[0].in, w.layers[0].out))),
        fc2(register_module("fc2", torch::nn::Linear(w.layers[1].in, w.layers[1].out))),
        is_xor(w.name == "xor") {}
  Tensor loss(const Tensor& x, const Tensor& y) {
    const Tensor h = fc1(x);
    if (is_xor) return F::mse_loss(fc2(torch::tanh(h)), y);
    return F::cross_entropy(fc2(torch::relu(h)), y);
  }
  torch::nn::Linear fc1, fc2;
  bool is_xor;
};

torch::nn::Conv2d make_conv(const Layer& l, int64_t padding) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(l.in, l.out, l.kernel).padding(padding));
}

struct LeNet : torch::nn::Module {
  explicit LeNet(const Workload& w)
      : conv1(register_module("conv1", make_conv(w.layers[0], 2))),
        conv2(register_module("conv2", make_conv(w.layers[1], 0))),
        fc1(register_module("fc1", torch::nn::Linear(w.layers[2].in, w.layers[2].out))),
        fc2(register_module("fc2", torch::nn::Linear(w.layers[3].in, w.layers[3].out))),
        fc3(register_module("fc3", torch::nn::Linear(w.layers[4].in, w.layers[4].out))) {}
  Tensor loss(Tensor x, const Tensor& y) {
    x = torch::max_pool2d(torch::relu(conv1(x)), 2);
    x = torch::max_pool2d(torch::relu(conv2(x)), 2).flatten(1);
    return F::cross_entropy(fc3(torch::relu(fc2(torch::relu(fc1(x))))), y);
  }
  torch::nn::Conv2d conv1, conv2;
  torch::nn::Linear fc1, fc2, fc3;
};

struct Cnn : torch::nn::Module {
  explicit Cnn(const Workload& w)
      : conv1(register_module("conv1", make_conv(w.layers[0], 0))),
        conv2(register_module("conv2", make_conv(w.layers[1], 0))),
        fc1(register_module("fc1", torch::nn::Linear(w.layers[2].in, w.layers[2].out))),
        fc2(register_module("fc2", torch::nn::Linear(w.layers[3].in, w.layers[3].out))) {}
  Tensor loss(Tensor x, const Tensor& y) {
    x = torch::max_pool2d(torch::relu(conv2(torch::relu(conv1(x)))), 2);
    x = torch::dropout(x, kDropout, true).flatten(1);
    x = torch::dropout(torch::relu(fc1(x)), kDropout, true);
    return F::nll_loss(torch::log_softmax(fc2(x), 1), y);
  }
  torch::nn::Conv2d conv1, conv2;
  torch::nn::Linear fc1, fc2;
};

// Tokens [steps, batch] to the mean loss of each next one.
template <class Cell>
struct LanguageModel : torch::nn::Module {
  explicit LanguageModel(const Workload& w)
      : embedding(register_module("embedding", torch::nn::Embedding(w.recurrent.vocabulary, w.recurrent.width))),
        cell(register_module("cell", Cell(w.recurrent.width, w.recurrent.hidden))),
        head(register_module("head", torch::nn::Linear(w.recurrent.hidden, w.recurrent.vocabulary))) {}
  Tensor loss(const Tensor& x, const Tensor& y) {
    return F::cross_entropy(head(std::get<0>(cell(embedding(x)))).flatten(0, 1), y);
  }
  torch::nn::Embedding embedding;
  Cell cell;
  torch::nn::Linear head;
};

// Queries, keys and values [batch, heads, positions, width]; `hidden` is true where a key lies ahead.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& hidden) {
  const Tensor scores = torch::matmul(q, k.transpose(-2, -1)) * (1 / std::sqrt(double(q.size(-1))));
  return torch::matmul(torch::softmax(scores.masked_fill(hidden, -INFINITY), -1), v);
}
Tensor future(int64_t n) { return torch::ones({n, n}, torch::kBool).triu(1); }

struct GptBlock : torch::nn::Module {
  explicit GptBlock(const GptSize& t)
      : ln_1(register_module("ln_1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({t.width})))),
        c_attn(register_module("c_attn", torch::nn::Linear(t.width, 3 * t.width))),
        c_proj(register_module("c_proj", torch::nn::Linear(t.width, t.width))),
        ln_2(register_module("ln_2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({t.width})))),
        mlp_fc(register_module("mlp_fc", torch::nn::Linear(t.width, 4 * t.width))),
        mlp_proj(register_module("mlp_proj", torch::nn::Linear(4 * t.width, t.width))),
        heads(t.heads) {}
  Tensor forward(Tensor x, const Tensor& hidden) {
    const int64_t n = x.size(0), steps = x.size(1), width = x.size(2);
    const std::vector<Tensor> qkv = c_attn(ln_1(x)).split(width, 2);
    const auto split = [&](const Tensor& t) { return t.view({n, steps, heads, width / heads}).transpose(1, 2); };
    const Tensor y = attend(split(qkv[0]), split(qkv[1]), split(qkv[2]), hidden);
    x = x + c_proj(y.transpose(1, 2).contiguous().view({n, steps, width}));
    return x + mlp_proj(F::gelu(mlp_fc(ln_2(x)), F::GELUFuncOptions().approximate("tanh")));
  }
  torch::nn::LayerNorm ln_1;
  torch::nn::Linear c_attn, c_proj;
  torch::nn::LayerNorm ln_2;
  torch::nn::Linear mlp_fc, mlp_proj;
  int64_t heads;
};

// Tokens [batch, context] to the mean loss of each next one.
struct Gpt : torch::nn::Module {
  explicit Gpt(const Workload& w)
      : wte(register_module("wte", torch::nn::Embedding(w.transformer.vocabulary, w.transformer.width))),
        wpe(register_module("wpe", torch::nn::Embedding(w.transformer.context, w.transformer.width))),
        positions(torch::arange(w.transformer.context)),
        hidden(future(w.transformer.context)) {
    for (int64_t i = 0; i < w.transformer.layers; ++i)
      h.push_back(register_module("h" + std::to_string(i), std::make_shared<GptBlock>(w.transformer)));
    ln_f = register_module("ln_f", torch::nn::LayerNorm(torch::nn::LayerNormOptions({w.transformer.width})));
  }
  Tensor loss(const Tensor& tokens, const Tensor& y) {
    Tensor x = wte(tokens) + wpe(positions);
    for (const auto& block : h) x = block->forward(x, hidden);
    return F::cross_entropy(F::linear(ln_f(x), wte->weight).flatten(0, 1), y);
  }
  torch::nn::Embedding wte, wpe;
  std::vector<std::shared_ptr<GptBlock>> h;
  torch::nn::LayerNorm ln_f{nullptr};
  Tensor positions, hidden;
};

// Draws what causal attention gives to a target, through queries, keys and values.
struct Attention : torch::nn::Module {
  explicit Attention(const Workload& w)
      : q(register_parameter("q", torch::zeros(w.input))),
        k(register_parameter("k", torch::zeros(w.input))),
        v(register_parameter("v", torch::zeros(w.input))),
        hidden(future(w.input[2])) {}
  Tensor loss(const Tensor&, const Tensor& y) { return F::mse_loss(attend(q, k, v, hidden).flatten(1), y); }
  Tensor q, k, v, hidden;
};

// Pictures and the noise of their latent vectors to the negative evidence lower bound of a picture.
struct Vae : torch::nn::Module {
  explicit Vae(const Workload& w)
      : encoder(make_linear("encoder", w.layers[0])),
        mean(make_linear("mean", w.layers[1])),
        log_variance(make_linear("log_variance", w.layers[2])),
        decoder(make_linear("decoder", w.layers[3])),
        pixels(make_linear("pixels", w.layers[4])) {}
  Tensor loss(const Tensor& x, const Tensor& noise) {
    const Tensor h = torch::relu(encoder(x)), m = mean(h), lv = log_variance(h);
    const Tensor drawn = pixels(torch::relu(decoder(m + noise * torch::exp(0.5 * lv))));
    const Tensor likelihood = F::binary_cross_entropy_with_logits(
        drawn, x, F::BinaryCrossEntropyWithLogitsFuncOptions().reduction(torch::kSum));
    return (likelihood - 0.5 * torch::sum(1 + lv - m.pow(2) - lv.exp())) / x.size(0);
  }
  torch::nn::Linear make_linear(const char* name, const Layer& l) {
    return register_module(name, torch::nn::Linear(l.in, l.out));
  }
  torch::nn::Linear encoder, mean, log_variance, decoder, pixels;
};

void load_parameters(torch::nn::Module& model, const Workload& w, bool channels_last) {
  torch::NoGradGuard guard;
  std::vector<Tensor> mine = model.parameters();
  const std::vector<Parameter> theirs = initial_parameters(w);
  TORCH_CHECK(mine.size() == theirs.size(), "the model has other parameters than the workload");
  for (size_t i = 0; i < mine.size(); ++i) {
    TORCH_CHECK(mine[i].sizes().vec() == theirs[i].shape, theirs[i].name, " has another shape in the model");
    mine[i].copy_(to_tensor(theirs[i].values, theirs[i].shape));
    if (channels_last && mine[i].dim() == 4) mine[i].set_data(mine[i].contiguous(torch::MemoryFormat::ChannelsLast));
  }
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::vector<Tensor>& parameters, const Workload& w) {
  if (w.lr > 0) return std::make_unique<torch::optim::SGD>(parameters, torch::optim::SGDOptions(w.lr));
  const auto betas = std::make_tuple(w.adam.beta1, w.adam.beta2);
  if (w.transformer.layers > 0) {
    const auto options = torch::optim::AdamWOptions(w.adam.lr).betas(betas).eps(w.adam.eps);
    return std::make_unique<torch::optim::AdamW>(parameters,
                                                 torch::optim::AdamWOptions(options).weight_decay(w.adam.weight_decay));
  }
  return std::make_unique<torch::optim::Adam>(parameters,
                                              torch::optim::AdamOptions(w.adam.lr).betas(betas).eps(w.adam.eps));
}

struct Batches {
  std::vector<Tensor> inputs, targets;
  Batches(const Workload& w, bool channels_last) {
    for (const Batch& b : make_batches(w)) {
      Tensor x = to_tensor(b.inputs, w.input);
      if (w.reads_tokens()) x = x.to(torch::kInt64);
      if (channels_last && x.dim() == 4) x = x.contiguous(torch::MemoryFormat::ChannelsLast);
      inputs.push_back(x);
      targets.push_back(b.labels.empty()
                            ? to_tensor(b.targets, {w.batch_size(), int64_t(b.targets.size()) / w.batch_size()})
                            : torch::tensor(b.labels));
    }
  }
  size_t at(int64_t step) const { return size_t(step) % inputs.size(); }
};

template <class Model>
class Training : public Runner {
 public:
  Training(const Workload& w, const Options& options)
      : model_(w), set_to_none_(options.has("set_to_none")), batches_(w, options.has("channels_last")) {
    load_parameters(model_, w, options.has("channels_last"));
    optimizer_ = make_optimizer(model_.parameters(), w);
    parameters_ = model_.parameters();
  }
  double step(int64_t i, bool want_loss) override {
    const size_t batch = batches_.at(i);
    if (!set_to_none_)
      optimizer_->zero_grad();
    else
      for (Tensor& p : parameters_) p.mutable_grad().reset();
    const Tensor loss = model_.loss(batches_.inputs[batch], batches_.targets[batch]);
    loss.backward();
    optimizer_->step();
    return want_loss ? loss.item<double>() : 0.;
  }

 private:
  Model model_;
  bool set_to_none_;
  Batches batches_;
  std::vector<Tensor> parameters_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

class ChainRunner : public Runner {
 public:
  ChainRunner() {
    const Chain chain = chain_operands();
    x_ = torch::tensor(chain.x).requires_grad_();
    c_ = torch::tensor(chain.c);
    d_ = torch::tensor(chain.d);
  }
  double step(int64_t, bool want_loss) override {
    double value = 0;
    {
      Tensor y = x_;
      for (int64_t k = 0; k < kChainPairs; ++k) y = y * c_ + d_;
      const Tensor loss = y.sum();
      loss.backward();
      if (want_loss) value = loss.item<double>();
    }
    if (want_loss) {
      torch::NoGradGuard guard;
      x_ -= kChainLearningRate * x_.grad();
    }
    x_.mutable_grad().reset();
    return value;
  }

 private:
  Tensor x_, c_, d_;
};

class AdamWRunner : public Runner {
 public:
  explicit AdamWRunner(const Workload& w) {
    const std::vector<int64_t> shape{kAdamWSide, kAdamWSide};
    for (int64_t i = 0; i < kAdamWTensors; ++i) {
      parameters_.push_back(to_tensor(adamw_parameter(i), shape).clone().requires_grad_());
      targets_.push_back(to_tensor(adamw_target(i), shape).clone());
      parameters_.back().mutable_grad() = torch::empty(shape);
    }
    const auto options = torch::optim::AdamWOptions(w.adam.lr).betas({w.adam.beta1, w.adam.beta2}).eps(w.adam.eps);
    optimizer_ = std::make_unique<torch::optim::AdamW>(
        parameters_, torch::optim::AdamWOptions(options).weight_decay(w.adam.weight_decay));
    gradients();
  }
  double step(int64_t, bool want_loss) override {
    const double loss = want_loss ? gradients() : 0.;
    optimizer_->step();
    return loss;
  }

 private:
  double gradients() {
    double loss = 0;
    for (size_t i = 0; i < parameters_.size(); ++i)
      loss += adamw_gradient(parameters_[i].data_ptr<float>(), targets_[i].data_ptr<float>(),
                             parameters_[i].mutable_grad().data_ptr<float>(), parameters_[i].numel());
    return loss;
  }
  std::vector<Tensor> parameters_, targets_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

// Hessian products as torch.autograd.functional.hvp makes them: the gradient of the gradient along the direction.
class DerivativeRunner : public Runner {
 public:
  explicit DerivativeRunner(const Workload& w) : model_(w), lr_(w.lr), batches_(w, false) {
    load_parameters(model_, w, false);
    parameters_ = model_.parameters();
    if (w.is_hvp())
      for (const Parameter& p : hvp_direction(w)) direction_.push_back(to_tensor(p.values, p.shape));
  }
  double step(int64_t i, bool want_loss) override {
    const size_t batch = batches_.at(i);
    const Tensor loss = model_.loss(batches_.inputs[batch], batches_.targets[batch]);
    std::vector<Tensor> found;
    if (direction_.empty())
      found = torch::autograd::grad({loss}, parameters_);
    else
      found =
          torch::autograd::grad(torch::autograd::grad({loss}, parameters_, {}, true, true), parameters_, direction_);
    if (!want_loss) return 0;
    const torch::NoGradGuard guard;
    for (size_t k = 0; k < parameters_.size(); ++k) parameters_[k] -= lr_ * found[k];
    return loss.item<double>();
  }

 private:
  Mlp model_;
  double lr_;
  Batches batches_;
  std::vector<Tensor> parameters_, direction_;
};

std::unique_ptr<Runner> make(const Workload& w, const Options& options) {
  TORCH_CHECK(options.device == "cpu" && options.dtype == "f32", "this program runs on the CPU in f32 alone");
  if (w.name == "chain") return std::make_unique<ChainRunner>();
  if (w.name == "adamw") return std::make_unique<AdamWRunner>(w);
  if (w.is_derivative()) return std::make_unique<DerivativeRunner>(w);
  if (w.name == "lenet") return std::make_unique<Training<LeNet>>(w, options);
  if (w.name == "vae") return std::make_unique<Training<Vae>>(w, options);
  if (w.name == "cnn") return std::make_unique<Training<Cnn>>(w, options);
  if (w.name == "gpt") return std::make_unique<Training<Gpt>>(w, options);
  if (w.name == "attention") return std::make_unique<Training<Attention>>(w, options);
  if (w.name == "lstm") return std::make_unique<Training<LanguageModel<torch::nn::LSTM>>>(w, options);
  if (w.name == "gru") return std::make_unique<Training<LanguageModel<torch::nn::GRU>>>(w, options);
  return std::make_unique<Training<Mlp>>(w, options);
}

// Debian lets the administrator choose what libblas.so.3 is; a LibTorch on the reference BLAS is no peer.
std::string blas() {
  using Config = char* (*)();
  const auto config = reinterpret_cast<Config>(dlsym(RTLD_DEFAULT, "openblas_get_config"));
  return config ? config() : "reference BLAS";
}

}  // namespace

int main(int argc, char** argv) {
  return bench_main(argc, argv,
                    {.name = "libtorch",
                     .set_threads = [](int n) { torch::set_num_threads(n); },
                     .num_threads = [] { return torch::get_num_threads(); },
                     .make = make,
                     .version = TORCH_VERSION,
                     .backend = blas()});
}
