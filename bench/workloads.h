// The training workloads that Tenrec and its peers are compared on: sizes, initial weights, batches, and the work that
// a step cannot avoid.
//
// Plain C++ without tensors, so that every program (train_bench.cpp, peers/) solves the same problem from the same
// numbers. Weights are listed in the order and layout of torch.nn: weight then bias per layer, linear weights
// [out, in], convolution weights [out, in, kernel, kernel]. All values come from integers by one rounding at most, so
// they are the same bits whatever the compiler does with a * b + c.
#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace tenrec::bench {

inline constexpr int64_t kLossSteps = 50;   // the stretch over which losses must agree
inline constexpr int64_t kChainPairs = 50;  // y = y * c + d: two ops a pair
inline constexpr int64_t kChainWidth = 4;
inline constexpr float kChainLearningRate = 0.02f;
inline constexpr int64_t kAdamWTensors = 16;
inline constexpr int64_t kAdamWSide = 512;  // 16 tensors of 512 x 512: 4,194,304 parameters
// Dropout is off in every workload, because no two libraries draw the same masks and losses have to agree.
inline constexpr double kDropout = 0.0;

struct AdamConstants {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;  // weight decay: AdamW only
};

// A stream of uniform numbers (G. Steele, D. Lea, C. Flood: Fast splittable pseudorandom number generators, 2014).
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [-1, 1), a multiple of 2^-20.
  float uniform() { return float(int64_t(next() >> 43) - (int64_t(1) << 20)) * 0x1p-20f; }
  int64_t below(int64_t n) { return int64_t(next() % uint64_t(n)); }

 private:
  uint64_t state_;
};

// `n` values in [-bound, bound).
inline std::vector<float> uniform(uint64_t seed, int64_t n, float bound) {
  SplitMix64 random(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = bound * random.uniform();
  return values;
}

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

struct Batch {
  std::vector<float> inputs;  // [batch, channels, side, side] for convolutions, else [batch, in]; tokens [steps, batch]
  std::vector<int64_t> labels;  // classes, [batch], or of each token's next; empty for xor
  std::vector<float> targets;   // of xor, [batch, 1]; of vae its noise, [batch, latent]
};

// A layer with weights. A linear one is a convolution with kernel 1 and side 1, as far as counting goes.
struct Layer {
  const char* name;
  int64_t in, out;
  int64_t kernel, side;  // side: height and width of the output
  bool is_conv;

  int64_t fan_in() const { return in * kernel * kernel; }
  int64_t weights() const { return fan_in() * out; }
};

// A language model of one recurrent layer: tokens to vectors, LSTM or GRU, scores of the next token.
struct Recurrent {
  int64_t gates = 0, vocabulary = 65, width = 128, hidden = 256;

  int64_t cell_weights() const { return gates * hidden * (width + hidden); }
  int64_t parameters() const {
    return vocabulary * width + cell_weights() + 2 * gates * hidden + (hidden + 1) * vocabulary;
  }
};

// A language model of nanoGPT's form: blocks of causal attention and a feed-forward part of four times the width.
struct GptSize {
  int64_t layers = 0, heads = 4, width = 128, context = 64, vocabulary = 65;

  int64_t block_weights() const { return 12 * width * width; }
  int64_t parameters() const { return (vocabulary + context + 2) * width + layers * (block_weights() + 13 * width); }
  // What all heads' attention to the past takes for one sequence: two products forward, four backward.
  double attention_flops() const { return 6. * double(context * context * width); }
};

struct Workload {
  std::string name;
  std::vector<Layer> layers;
  Recurrent recurrent;         // has gates if this is such a model
  GptSize transformer;         // has layers if this is such a model
  std::vector<int64_t> input;  // shape of a batch
  int64_t batches = 1;         // distinct ones, used in turn
  double lr = 0;               // SGD; 0 if the workload uses Adam
  AdamConstants adam;
  int64_t ops = 1;  // times are given per op: divide the time of a step by this

  bool is_hvp() const { return name == "mlp_hvp"; }
  // A step computes a derivative and leaves the parameters alone, but for steps whose losses are compared: those move
  // the parameters along it.
  bool is_derivative() const { return is_hvp() || name == "mlp_grad"; }
  bool reads_tokens() const { return recurrent.gates > 0 || transformer.layers > 0; }
  int64_t batch_size() const { return input.empty() ? 1 : input[0]; }
  int64_t parameters() const {
    int64_t n = 0;
    for (const Layer& l : layers) n += l.weights() + l.out;
    if (recurrent.gates > 0) return recurrent.parameters();
    if (transformer.layers > 0) return transformer.parameters();
    if (name == "attention") return 3 * input_size();
    return name == "adamw" ? kAdamWTensors * kAdamWSide * kAdamWSide : n;
  }
  int64_t input_size() const {
    int64_t n = input.empty() ? 0 : 1;
    for (int64_t s : input) n *= s;
    return n;
  }

  // Multiplications and additions of one step: three products a layer, but no gradient for the data.
  double flops() const {
    if (recurrent.gates > 0)
      return 6. * double(input_size()) * double(recurrent.cell_weights() + recurrent.hidden * recurrent.vocabulary);
    if (transformer.layers > 0) {
      const GptSize& t = transformer;
      return 6. * double(input_size()) * double(t.layers * t.block_weights() + t.vocabulary * t.width) +
             double(batch_size() * t.layers) * t.attention_flops();
    }
    if (name == "attention") return 6. * double(input_size()) * double(input[2]);
    // Of a Hessian product: forward, forward along the direction, and back through both, the gradient itself left out.
    const double first = is_hvp() ? 3 : 2, other = is_hvp() ? 8 : 3;
    double total = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      const Layer& l = layers[i];
      total += (i == 0 ? first : other) * 2. * double(batch_size() * l.side * l.side) * double(l.weights());
    }
    return total;
  }
  // Bytes that a step has to move: weights read forward and backward, read and written with their state by the update;
  // batch read forward and backward. Activations and gradients could stay in registers and are not counted, except for
  // adamw, which is the update alone and has to read its gradients.
  double bytes() const {
    if (name == "adamw") return 4. * 7. * double(parameters());
    const double passes = lr > 0 ? 4. : 8.;
    return 4. * (passes * double(parameters()) + 2. * double(input_size()));
  }
  // Bytes that the steps go through again and again: says which level of memory bounds them.
  double footprint() const { return 4. * ((lr > 0 ? 2. : 4.) * double(parameters()) + double(batches * input_size())); }
};

inline const std::vector<std::string>& workload_names() {
  static const std::vector<std::string> names{"chain", "xor", "mlp_b64", "mlp_b1",    "lenet", "cnn",      "lstm",
                                              "gru",   "vae", "gpt",     "attention", "adamw", "mlp_grad", "mlp_hvp"};
  return names;
}

// Too large for a processor: for devices, and only when asked for by name.
inline const std::vector<std::string>& large_workload_names() {
  static const std::vector<std::string> names{"gpt_10m", "gpt2"};
  return names;
}

inline Layer linear(const char* name, int64_t in, int64_t out) { return {name, in, out, 1, 1, false}; }
inline Layer conv(const char* name, int64_t in, int64_t out, int64_t kernel, int64_t side) {
  return {name, in, out, kernel, side, true};
}

inline Workload find_workload(const std::string& name) {
  Workload w;
  w.name = name;
  if (name == "chain") {
    w.ops = 2 * kChainPairs;
  } else if (name == "xor") {  // 2-8-1, tanh, mean squared error
    w.layers = {linear("fc1", 2, 8), linear("fc2", 8, 1)};
    w.input = {4, 2};
    w.lr = 0.1;
  } else if (name == "mlp_b64" || name == "mlp_b1") {  // 784-128-10, ReLU, cross-entropy
    const bool one = name == "mlp_b1";
    w.layers = {linear("fc1", 784, 128), linear("fc2", 128, 10)};
    w.input = {one ? 1 : 64, 784};
    w.batches = one ? 50 : 10;
    w.lr = one ? 0.005 : 0.05;
  } else if (name == "mlp_grad" || name == "mlp_hvp") {  // the same network: the gradient; the Hessian times a vector
    w.layers = {linear("fc1", 784, 128), linear("fc2", 128, 10)};
    w.input = {512, 784};
    w.batches = 2;
    w.lr = 0.05;
  } else if (name == "lenet") {  // Y. LeCun et al. 1998, with ReLU and max pooling; conv1 has padding 2
    w.layers = {conv("conv1", 1, 6, 5, 28), conv("conv2", 6, 16, 5, 10), linear("fc1", 400, 120),
                linear("fc2", 120, 84), linear("fc3", 84, 10)};
    w.input = {64, 1, 28, 28};
    w.batches = 10;
    w.lr = 0.2;
  } else if (name == "cnn") {  // the network of PyTorch's MNIST example, trained with Adam
    w.layers = {conv("conv1", 1, 32, 3, 26), conv("conv2", 32, 64, 3, 24), linear("fc1", 9216, 128),
                linear("fc2", 128, 10)};
    w.input = {64, 1, 28, 28};
    w.batches = 10;
    // Small, so that 50 steps can be compared at all: at 3e-5 the peer's own two layouts drift apart by 4e-4, because
    // somewhere a unit close to 0 falls to the other side.
    w.adam.lr = 1e-5;
  } else if (name == "lstm" || name == "gru") {  // 64 steps of 32 sequences, trained with Adam
    w.recurrent.gates = name == "lstm" ? 4 : 3;
    w.input = {64, 32};
    w.batches = 10;
  } else if (name == "vae") {  // 784-400-20-400-784, Bernoulli likelihood, noise from the batch, trained with Adam
    w.layers = {linear("encoder", 784, 400), linear("mean", 400, 20), linear("log_variance", 400, 20),
                linear("decoder", 20, 400), linear("pixels", 400, 784)};
    w.input = {128, 784};
    w.batches = 10;
    w.adam.lr = 1e-4;
  } else if (name == "gpt") {  // nanoGPT's configuration for a CPU: 12 sequences of 64 tokens, trained with AdamW
    w.transformer.layers = 4;
    w.input = {12, w.transformer.context};
    w.batches = 10;
    w.adam.lr = 1e-4;
  } else if (name == "gpt_10m") {  // nanoGPT's configuration for Shakespeare's characters
    w.transformer = {.layers = 6, .heads = 6, .width = 384, .context = 256, .vocabulary = 65};
    w.input = {64, w.transformer.context};
    w.batches = 10;
    w.adam.lr = 1e-4;
  } else if (name == "gpt2") {  // the smallest GPT-2, of 124 million parameters
    w.transformer = {.layers = 12, .heads = 12, .width = 768, .context = 1024, .vocabulary = 50257};
    w.input = {32, w.transformer.context};
    w.batches = 2;
    w.adam.lr = 1e-5;
  } else if (name == "attention") {  // causal: q, k and v are the parameters, [batch, heads, positions, width]
    w.input = {2, 8, 512, 64};
    w.lr = 100;
  } else if (name != "adamw") {
    throw std::invalid_argument("no workload \"" + name + "\"");
  }
  return w;
}

// Adds one with values in `centre` +- `most`.
inline void add_parameter(std::vector<Parameter>& result, const std::string& name, const std::vector<int64_t>& shape,
                          float most, float centre = 0) {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  std::vector<float> values = uniform(1000 + result.size(), n, most);
  for (float& v : values) v += centre;
  result.push_back({name, shape, std::move(values)});
}

inline std::vector<Parameter> recurrent_parameters(const Recurrent& r) {
  const float bound = 1.f / std::sqrt(float(r.hidden));
  std::vector<Parameter> result;
  const auto add = [&](const char* name, const std::vector<int64_t>& shape, float most) {
    add_parameter(result, name, shape, most);
  };
  add("embedding.weight", {r.vocabulary, r.width}, 1.f);
  add("cell.weight_ih_l0", {r.gates * r.hidden, r.width}, bound);
  add("cell.weight_hh_l0", {r.gates * r.hidden, r.hidden}, bound);
  add("cell.bias_ih_l0", {r.gates * r.hidden}, bound);
  add("cell.bias_hh_l0", {r.gates * r.hidden}, bound);
  add("head.weight", {r.vocabulary, r.hidden}, bound);
  add("head.bias", {r.vocabulary}, bound);
  return result;
}

// Names and order are GPT-2's.
inline std::vector<Parameter> transformer_parameters(const GptSize& t) {
  std::vector<Parameter> result;
  add_parameter(result, "wte.weight", {t.vocabulary, t.width}, 0.0625f);
  add_parameter(result, "wpe.weight", {t.context, t.width}, 0.0625f);
  const auto norm = [&](const std::string& name) {
    add_parameter(result, name + ".weight", {t.width}, 0.0625f, 1.f);
    add_parameter(result, name + ".bias", {t.width}, 0.0625f);
  };
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    add_parameter(result, name + ".weight", {out, in}, 1.f / std::sqrt(float(in)));
    add_parameter(result, name + ".bias", {out}, 0.0625f);
  };
  for (int64_t i = 0; i < t.layers; ++i) {
    const std::string block = "h." + std::to_string(i);
    norm(block + ".ln_1");
    linear(block + ".c_attn", t.width, 3 * t.width);
    linear(block + ".c_proj", t.width, t.width);
    norm(block + ".ln_2");
    linear(block + ".mlp_fc", t.width, 4 * t.width);
    linear(block + ".mlp_proj", 4 * t.width, t.width);
  }
  norm("ln_f");
  return result;
}

// Initial weights: uniform with variance 1/fan_in, so that 50 steps are enough to move the loss of the deeper ones.
inline std::vector<Parameter> initial_parameters(const Workload& w) {
  if (w.recurrent.gates > 0) return recurrent_parameters(w.recurrent);
  if (w.transformer.layers > 0) return transformer_parameters(w.transformer);
  std::vector<Parameter> result;
  if (w.name == "attention")
    for (const char* name : {"q", "k", "v"}) add_parameter(result, name, w.input, 1.75f);
  for (const Layer& l : w.layers) {
    const float bound = float(std::sqrt(3. / double(l.fan_in())));
    const uint64_t seed = 1000 + 2 * result.size();
    std::vector<int64_t> shape{l.out, l.in};
    if (l.is_conv) shape.insert(shape.end(), {l.kernel, l.kernel});
    result.push_back({std::string(l.name) + ".weight", shape, uniform(seed, l.weights(), bound)});
    result.push_back({std::string(l.name) + ".bias", {l.out}, uniform(seed + 1, l.out, bound)});
  }
  return result;
}

// What the Hessian is multiplied by, like initial_parameters.
inline std::vector<Parameter> hvp_direction(const Workload& w) {
  std::vector<Parameter> direction = initial_parameters(w);
  for (size_t i = 0; i < direction.size(); ++i)
    direction[i].values = uniform(4000 + i, int64_t(direction[i].values.size()), 0.0625f);
  return direction;
}

inline Batch xor_batch() { return {.inputs = {0, 0, 0, 1, 1, 0, 1, 1}, .labels = {}, .targets = {0, 1, 1, 0}}; }

// Classification: noise plus a quarter of the class's own pattern; one label in eight is drawn at random, so that the
// loss cannot fall to where it is all rounding.
inline Batch classification_batch(const Workload& w, int64_t index) {
  constexpr int64_t kClasses = 10;
  const int64_t n = w.batch_size(), features = w.input_size() / n;
  const std::vector<float> patterns = uniform(1, kClasses * features, 1.f);
  SplitMix64 random(100 + uint64_t(index));
  Batch batch;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t label = random.below(kClasses);
    for (int64_t j = 0; j < features; ++j)
      batch.inputs.push_back(random.uniform() + 0.25f * patterns[size_t(label * features + j)]);
    batch.labels.push_back(random.below(8) == 0 ? random.below(kClasses) : label);
  }
  return batch;
}

// Grey pixels, three in four of them black, and noise of variance 1 for the latent vectors.
inline Batch picture_batch(const Workload& w, int64_t index) {
  SplitMix64 random(100 + uint64_t(index));
  Batch batch;
  for (int64_t i = 0; i < w.input_size(); ++i) {
    const float value = random.uniform();
    batch.inputs.push_back(random.below(4) == 0 ? 0.5f + 0.5f * value : 0.f);
  }
  batch.targets = uniform(200 + uint64_t(index), w.batch_size() * w.layers[1].out, 1.75f);
  return batch;
}

// Tokens in which one in four is drawn at random; the others follow from the one before. [steps, batch], but [batch,
// steps] for a transformer.
inline Batch token_batch(const Workload& w, int64_t index) {
  const bool batch_first = w.transformer.layers > 0;
  const int64_t steps = w.input[batch_first], sequences = w.input[!batch_first];
  const int64_t kinds = batch_first ? w.transformer.vocabulary : w.recurrent.vocabulary;
  SplitMix64 random(100 + uint64_t(index));
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < (steps + 1) * sequences; ++i) {
    const bool follows = i >= sequences && random.below(4) != 0;
    tokens.push_back(follows ? (tokens[size_t(i - sequences)] * 7 + 3) % kinds : random.below(kinds));
  }
  Batch batch;
  for (int64_t i = 0; i < steps * sequences; ++i) {
    const int64_t from = batch_first ? i % steps * sequences + i / steps : i;
    batch.inputs.push_back(float(tokens[size_t(from)]));
    batch.labels.push_back(tokens[size_t(from + sequences)]);
  }
  return batch;
}

inline std::vector<Batch> make_batches(const Workload& w) {
  if (w.name == "xor") return {xor_batch()};
  if (w.name == "attention")  // nothing goes in; what comes out is drawn to this
    return {
        {.inputs = std::vector<float>(size_t(w.input_size())), .labels = {}, .targets = uniform(1, w.input_size(), 1)}};
  std::vector<Batch> result;
  for (int64_t i = 0; i < w.batches; ++i)
    result.push_back(w.name == "vae"    ? picture_batch(w, i)
                     : w.reads_tokens() ? token_batch(w, i)
                                        : classification_batch(w, i));
  return result;
}

// The chain's three operands, of which only x wants a gradient. Positive, so that the sum does not cancel.
struct Chain {
  std::vector<float> x, c, d;
};
inline Chain chain_operands() {
  Chain chain{uniform(1, kChainWidth, 0.5f), uniform(2, kChainWidth, 0.015625f), uniform(3, kChainWidth, 0.03125f)};
  for (float& v : chain.x) v += 1.5f;
  for (float& v : chain.c) v += 1.0f;
  for (float& v : chain.d) v += 0.0625f;
  return chain;
}

// AdamW: parameters pulled towards targets. The gradient is computed here, in the same way for everyone.
inline std::vector<float> adamw_parameter(int64_t i) {
  return uniform(2000 + uint64_t(i), kAdamWSide * kAdamWSide, 0.0625f);
}
inline std::vector<float> adamw_target(int64_t i) {
  return uniform(3000 + uint64_t(i), kAdamWSide * kAdamWSide, 0.0625f);
}
// Writes gradient = parameter - target and returns half the sum of its squares.
inline double adamw_gradient(const float* parameter, const float* target, float* gradient, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    gradient[i] = parameter[i] - target[i];
    sum += 0.5 * double(gradient[i]) * double(gradient[i]);
  }
  return sum;
}

}  // namespace tenrec::bench
