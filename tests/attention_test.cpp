// Attention, transformers, norms, positions and sampling against PyTorch and transformers
// (tools/make_attention_fixtures.py), and what holds between them: masks, caches, threads, dropout.
#include <gtest/gtest.h>

#include <cmath>

#include "examples/gpt/model.h"
#include "tenrec/tenrec.h"

namespace tenrec {
namespace {

const Safetensors& fixture() {
  static const Safetensors all =
      load_safetensors(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/attention.safetensors");
  return all;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(to_string(a.shape()), to_string(b.shape()));
  const std::vector<double> x = a.detach().to_vector<double>(), y = b.detach().to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
    if (x[i] != y[i]) worst = std::max(worst, std::abs(x[i] - y[i]) / std::max(1.0, std::abs(y[i])));
  return worst;
}

// A case of the fixture in one dtype: its inputs, and the check of output and gradients.
class Case {
 public:
  Case(std::string name, DType dtype) : name_(std::move(name)), dtype_(dtype) {}

  Tensor in(const std::string& key) {
    const Tensor x = fixture().at(name_ + ".in." + key).to(dtype_).detach();
    inputs_.push_back({key, x});
    return inputs_.back().tensor.set_requires_grad(true);
  }
  Tensor mask(const std::string& key) const {
    const Tensor m = fixture().at(name_ + ".mask." + key);
    return m.dtype() == boolean ? m : m.to(dtype_);
  }
  template <class M>
  void load(M& module) {
    to(module, dtype_);
    const std::string prefix = name_ + ".param.";
    std::vector<NamedTensor> state;
    for (const NamedTensor& t : fixture().tensors)
      if (t.name.rfind(prefix, 0) == 0) state.push_back({t.name.substr(prefix.size()), t.tensor.to(dtype_)});
    load_state_dict(module, state);
    parameters_ = named_parameters(module);
    EXPECT_EQ(parameters_.size(), state.size());
  }
  void check(const Tensor& y) {
    const double tolerance = dtype_ == f64 ? 1e-12 : 2e-5;
    EXPECT_EQ(y.dtype(), dtype_);
    EXPECT_LT(largest_difference(y, fixture().at(name_ + ".out")), tolerance) << name_;
    backward(sum(y * fixture().at(name_ + ".dy").to(dtype_)));
    for (const auto& [list, kind] : {std::pair{&parameters_, "param."}, std::pair{&inputs_, "in."}})
      for (const NamedTensor& t : *list)
        EXPECT_LT(largest_difference(t.tensor.grad(), fixture().at(name_ + ".grad." + kind + t.name)), tolerance)
            << name_ << " " << t.name;
  }

 private:
  std::string name_;
  DType dtype_;
  std::vector<NamedTensor> inputs_, parameters_;
};

class AgainstPyTorch : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, AgainstPyTorch, ::testing::Values(f64, f32),
                         [](const auto& test) { return test.param == f64 ? "f64" : "f32"; });

TEST_P(AgainstPyTorch, ScaledDotProduct) {
  Case grouped("sdpa_grouped", GetParam()), causal("sdpa_causal", GetParam());
  grouped.check(scaled_dot_product_attention(grouped.in("q"), grouped.in("k"), grouped.in("v")));
  causal.check(
      scaled_dot_product_attention(causal.in("q"), causal.in("k"), causal.in("v"), {.causal = true, .scale = 0.3}));
}

TEST_P(AgainstPyTorch, MultiheadAttention) {
  Case self("mha_self", GetParam()), causal("mha_causal", GetParam()), cross("mha_cross", GetParam()),
      added("mha_added", GetParam());
  MultiheadAttention plain(8, 2, {.batch_first = true}), without_bias(8, 4, {.bias = false}),
      other_widths(8, 2, {.kdim = 5, .vdim = 3}), with_mask(8, 2, {.batch_first = true});
  self.load(plain);
  self.check(plain(self.in("x")));
  causal.load(without_bias);
  causal.check(without_bias(causal.in("x"), {.is_causal = true}));
  cross.load(other_widths);
  cross.check(other_widths(cross.in("query"), cross.in("key"), cross.in("value"),
                           {.key_padding_mask = cross.mask("padding"), .attn_mask = cross.mask("attn")}));
  added.load(with_mask);
  const Tensor query = added.in("query"), memory = added.in("memory");
  added.check(with_mask(query, memory, memory, {.attn_mask = added.mask("attn")}));
}

TEST_P(AgainstPyTorch, EncoderLayers) {
  Case last("encoder_layer", GetParam()), first("encoder_layer_first", GetParam()), stack("encoder", GetParam());
  TransformerEncoderLayer post(8, 2, {.dim_feedforward = 12, .dropout = 0});
  TransformerEncoderLayer pre(8, 2,
                              {.dim_feedforward = 12,
                               .dropout = 0,
                               .activation = TransformerActivation::gelu,
                               .batch_first = true,
                               .norm_first = true});
  last.load(post);
  last.check(post(last.in("src"), {.src_key_padding_mask = last.mask("padding")}));
  first.load(pre);
  first.check(pre(first.in("src"), {.is_causal = true}));
  TransformerEncoder encoder(TransformerEncoderLayer(4, 2, {.dim_feedforward = 6, .dropout = 0, .batch_first = true}),
                             2, LayerNorm(4));
  stack.load(encoder);
  stack.check(encoder(stack.in("src")));
}

TEST_P(AgainstPyTorch, DecoderLayers) {
  Case last("decoder_layer", GetParam()), first("decoder_layer_first", GetParam()), both("transformer", GetParam());
  TransformerDecoderLayer post(8, 2, {.dim_feedforward = 12, .dropout = 0});
  TransformerDecoderLayer pre(8, 2,
                              {.dim_feedforward = 12,
                               .dropout = 0,
                               .activation = TransformerActivation::gelu,
                               .batch_first = true,
                               .norm_first = true});
  last.load(post);
  last.check(post(last.in("tgt"), last.in("memory"), {.tgt_is_causal = true}));
  first.load(pre);
  first.check(pre(first.in("tgt"), first.in("memory"),
                  {.memory_key_padding_mask = first.mask("padding"), .tgt_is_causal = true}));
  Transformer transformer(4, 2, 1, 2, {.dim_feedforward = 6, .dropout = 0, .batch_first = true});
  both.load(transformer);
  both.check(transformer(both.in("src"), both.in("tgt"), {},
                         {.tgt_mask = generate_square_subsequent_mask(5, {.dtype = GetParam()})}));
}

TEST_P(AgainstPyTorch, Norms) {
  Case rms("rms_norm", GetParam()), group("group_norm", GetParam()), one("instance_norm_1d", GetParam()),
      two("instance_norm_2d", GetParam());
  RMSNorm rms_layer(6, {.eps = 1e-3});
  GroupNorm group_layer(2, 6);
  InstanceNorm1d one_layer(3, {.affine = true});
  rms.load(rms_layer);
  rms.check(rms_layer(rms.in("x")));
  group.load(group_layer);
  group.check(group_layer(group.in("x")));
  one.load(one_layer);
  one.check(one_layer(one.in("x")));
  two.check(InstanceNorm2d(3)(two.in("x")));
}

TEST_P(AgainstPyTorch, RotaryPositions) {
  Case rotary("rotary", GetParam());
  rotary.check(RotaryPositions(6)(rotary.in("x"), 3));
}

// --- the op against the matrix of probabilities ----------------------------------------------------------------------

struct Sides {
  Tensor y;
  std::vector<Tensor> grads;
};
Sides run(const std::vector<Tensor>& xs, const std::function<Tensor(const std::vector<Tensor>&)>& f) {
  std::vector<Tensor> leaves;
  for (const Tensor& x : xs) leaves.push_back(x.detach().set_requires_grad(true));
  const Tensor y = f(leaves);
  Generator generator(11);
  return {y, grad(y, leaves, {.grad_output = randn(y.shape(), {.dtype = y.dtype()}, &generator)})};
}
void expect_same(const Sides& a, const Sides& b, double tolerance) {
  EXPECT_LT(largest_difference(a.y, b.y), tolerance);
  for (size_t i = 0; i < a.grads.size(); ++i)
    EXPECT_LT(largest_difference(a.grads[i], b.grads[i]), tolerance) << "gradient " << i;
}
// By softmax and dropout with the whole matrix.
Tensor by_matrix(const Tensor& q, const Tensor& k, const Tensor& v, bool causal, double p) {
  Tensor s = matmul(q, t(k)) / std::sqrt(double(q.size(-1)));
  if (causal) s = s + generate_square_subsequent_mask(q.size(-2), {.dtype = q.dtype()});
  Generator generator(5);
  return matmul(dropout(softmax(s, -1), p, true, &generator), v);
}

TEST(Attention, TilesAndDropoutEqualTheMatrix) {
  manual_seed(3);
  for (DType dtype : {f64, f32})
    for (int64_t n : {1, 17, 64, 131, 300})
      for (int64_t width : {1, 20, 64})
        for (double p : {0.0, 0.3}) {
          const TensorOptions o{.dtype = dtype};
          const std::vector<Tensor> xs{randn({2, 3, n, width}, o), randn({2, 3, n, width}, o),
                                       randn({2, 3, n, width + 3}, o)};
          for (bool causal : {false, true}) {
            SCOPED_TRACE(concat(dtype, " ", n, " ", width, " dropout ", p, causal ? " causal" : ""));
            const Sides fused = run(xs, [&](const std::vector<Tensor>& in) {
              Generator generator(5);
              return scaled_dot_product_attention(in[0], in[1], in[2],
                                                  {.dropout = p, .causal = causal, .generator = &generator});
            });
            const Sides matrix =
                run(xs, [&](const std::vector<Tensor>& in) { return by_matrix(in[0], in[1], in[2], causal, p); });
            expect_same(fused, matrix, dtype == f64 ? 1e-12 : 2e-5);
          }
        }
}

TEST(Attention, OneHeadCutsItsKeys) {  // backward's parts of dq
  manual_seed(4);
  const std::vector<Tensor> xs{randn({1, 70, 8}), randn({1, 900, 8}), randn({1, 900, 8})};
  expect_same(run(xs, [](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2]); }),
              run(xs, [](const auto& in) { return by_matrix(in[0], in[1], in[2], false, 0); }), 2e-5);
}

TEST(Attention, HeadsThatLieBesideEachOther) {
  manual_seed(5);
  const Tensor qkv = randn({2, 33, 3 * 4 * 8});
  const auto parts = [](const Tensor& x, int64_t i) {
    return transpose(unflatten(narrow(x, -1, i * 32, 32), -1, {4, 8}), 1, 2);
  };
  const Sides views = run({qkv}, [&](const auto& in) {
    const Tensor y = scaled_dot_product_attention(parts(in[0], 0), parts(in[0], 1), parts(in[0], 2), {.causal = true});
    EXPECT_TRUE(transpose(y, 1, 2).is_contiguous());
    return flatten(transpose(y, 1, 2), 2, 3);
  });
  expect_same(views, run({qkv}, [](const auto& in) { return self_attention(in[0], 4, {.causal = true}); }), 1e-6);
}

TEST(Attention, ARowWithoutKeysIsZero) {
  const Tensor q = randn({2, 3, 4}).set_requires_grad(true), k = randn({2, 5, 4}).set_requires_grad(true),
               v = randn({2, 5, 4}).set_requires_grad(true);
  Tensor mask = ones({3, 5}, {.dtype = boolean});
  fill_(select(mask, 0, 1), 0);
  const Tensor y = scaled_dot_product_attention(q, k, v, {.mask = mask});
  EXPECT_EQ(sum(abs(select(y, 1, 1))).item<float>(), 0);
  const std::vector<Tensor> once = grad(sum(y * y), {q, k, v}, {.create_graph = true});
  EXPECT_EQ(sum(abs(select(once[0], 1, 1))).item<float>(), 0);
  for (const Tensor& g : grad(sum(once[0] * once[0]), {q, k, v})) EXPECT_TRUE(all(isfinite(g)).item<bool>());
}

TEST(Attention, ThreadsGiveTheSameBits) {
  manual_seed(6);
  const Tensor qkv = randn({3, 200, 3 * 2 * 24});
  const int before = num_threads();
  std::vector<float> first;
  for (int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    const Sides s = run({qkv}, [](const auto& in) {
      Generator generator(1);
      return self_attention(in[0], 2, {.dropout = 0.1, .causal = true, .generator = &generator});
    });
    std::vector<float> all = s.y.detach().to_vector<float>();
    for (float g : s.grads[0].to_vector<float>()) all.push_back(g);
    if (first.empty()) first = all;
    EXPECT_EQ(all, first) << threads << " threads";
  }
  set_num_threads(before);
}

// --- layers ---------------------------------------------------------------------------------------------------------

TEST(Attention, ACacheGivesTheFullPass) {
  manual_seed(7);
  const NoGrad off;
  MultiheadAttention layer(16, 4, {.batch_first = true, .num_kv_heads = 2});
  eval(layer);
  const Tensor x = randn({3, 40, 16});
  const Tensor whole = layer(x, {.is_causal = true});
  KeyValueCache cache;
  std::vector<Tensor> parts;
  for (int64_t at = 0, step = 7; at < 40; at += step, step = 1)
    parts.push_back(layer(narrow(x, 1, at, step), {.is_causal = true, .cache = &cache}));
  EXPECT_EQ(cache.length(), 40);
  EXPECT_LT(largest_difference(cat(parts, 1), whole), 2e-6);
  EXPECT_THROW(cache.append(randn({2, 2, 1, 4}), randn({2, 2, 1, 4})), ShapeError);
  cache.select(from_vector(std::vector<int64_t>{2, 0}, {2}));
  const Tensor again = layer(narrow(x, 1, 0, 1), {.is_causal = true}), picked = cache.keys();
  EXPECT_EQ(to_string(picked.shape()), "[2, 2, 40, 4]");

  TransformerDecoder decoder(TransformerDecoderLayer(16, 2, {.dim_feedforward = 24, .batch_first = true}), 2);
  eval(decoder);
  const Tensor memory = randn({3, 6, 16}), all = decoder(x, memory, {.tgt_is_causal = true});
  std::vector<KeyValueCache> caches;
  parts.clear();
  for (int64_t at = 0; at < 40; ++at)
    parts.push_back(decoder(narrow(x, 1, at, 1), memory, {.tgt_is_causal = true}, &caches));
  EXPECT_LT(largest_difference(cat(parts, 1), all), 5e-6);
}

TEST(Attention, MasksOfTheWrongShape) {
  MultiheadAttention layer(8, 2, {.batch_first = true});
  const Tensor x = randn({2, 5, 8});
  EXPECT_THROW(layer(x, {.key_padding_mask = zeros({2, 4}, {.dtype = boolean})}), ShapeError);
  EXPECT_THROW(layer(x, {.attn_mask = zeros({5, 4})}), ShapeError);
  EXPECT_THROW(layer(randn({2, 5, 7})), ShapeError);
  EXPECT_THROW(MultiheadAttention(8, 3), ValueError);
  EXPECT_THROW(MultiheadAttention(8, 4, {.num_kv_heads = 3}), ValueError);
  EXPECT_THROW(GroupNorm(4, 6), ValueError);
  EXPECT_THROW(InstanceNorm2d(3)(randn({2, 4, 5, 5})), ShapeError);
}

TEST(Attention, AWholeSequencePaddedGivesTheBiasOfTheProjection) {
  MultiheadAttention layer(8, 2, {.batch_first = true});
  init::normal_(layer.out_proj.bias.detach());
  const Tensor y = layer(randn({1, 3, 8}), {.key_padding_mask = ones({1, 3}, {.dtype = boolean})});
  EXPECT_EQ(largest_difference(y, expand(layer.out_proj.bias, {1, 3, 8})), 0);
}

TEST(Attention, Dropout) {
  TransformerEncoderLayer layer(8, 2, {.dim_feedforward = 16, .dropout = 0.5, .batch_first = true});
  const Tensor x = randn({2, 5, 8});
  manual_seed(1);
  const Tensor a = layer(x);
  manual_seed(1);
  EXPECT_EQ(largest_difference(layer(x), a), 0);
  EXPECT_GT(largest_difference(layer(x), a), 1e-3);
  eval(layer);
  EXPECT_EQ(largest_difference(layer(x), layer(x)), 0);
}

TEST(Attention, StacksHoldCopies) {
  TransformerEncoder stack(TransformerEncoderLayer(8, 2), 3);
  EXPECT_EQ(parameters(stack).size(), 3u * 12u);
}

TEST(Attention, SwiGLUFeedForward) {
  SwiGLUFeedForward layer(4, 6);
  const Tensor x = randn({3, 4});
  const Tensor gate = matmul(x, t(layer.gate_proj.weight)), up = matmul(x, t(layer.up_proj.weight));
  EXPECT_LT(largest_difference(layer(x), matmul(gate * sigmoid(gate) * up, t(layer.down_proj.weight))), 1e-6);
}

// --- positions ------------------------------------------------------------------------------------------------------

TEST(Positions, Sinusoidal) {
  const Tensor table = sinusoidal_positions(4, 5, 2, {.dtype = f64});
  for (int64_t p = 0; p < 4; ++p)
    for (int64_t i = 0; i < 5; ++i) {
      const double angle = double(p + 2) / std::pow(10000, double(i / 2 * 2) / 5);
      EXPECT_NEAR(table.item<double>(p, i), i % 2 ? std::cos(angle) : std::sin(angle), 1e-12);
    }
  EXPECT_LT(
      largest_difference(SinusoidalPositions(6)(zeros({2, 3, 6}), 1), expand(sinusoidal_positions(3, 6, 1), {2, 3, 6})),
      1e-7);
}

TEST(Positions, Learned) {
  LearnedPositions layer(5, 3);
  const Tensor y = layer(zeros({2, 2, 3}), 3);
  EXPECT_EQ(y.item<float>(1, 1, 2), layer.weight.item<float>(4, 2));
  EXPECT_THROW(layer(zeros({2, 3, 3}), 3), IndexError);
}

TEST(Positions, RotaryProductsDependOnDistances) {
  for (bool interleaved : {false, true}) {
    const RotaryPositions turn(8, {.interleaved = interleaved});
    const TensorOptions o{.dtype = f64};
    const Tensor q = randn({1, 8}, o), k = randn({1, 8}, o);
    const double near = sum(turn(q, 5) * turn(k, 2)).item<double>();
    EXPECT_NEAR(sum(turn(q, 1005) * turn(k, 1002)).item<double>(), near, 1e-10);
    EXPECT_GT(std::abs(sum(turn(q, 9) * turn(k, 2)).item<double>() - near), 1e-6);
    EXPECT_LT(largest_difference(turn(q, 0), q), 1e-15);
  }
  EXPECT_THROW(RotaryPositions(5), ValueError);
}

TEST(Positions, Alibi) {
  const std::vector<double> eight = alibi_slopes(8, {.dtype = f64}).to_vector<double>();
  for (int i = 0; i < 8; ++i) EXPECT_DOUBLE_EQ(eight[size_t(i)], std::exp2(-(i + 1)));
  const std::vector<double> three = alibi_slopes(3, {.dtype = f64}).to_vector<double>();
  EXPECT_EQ(three, (std::vector<double>{std::exp2(-4), std::exp2(-8), std::exp2(-2)}));
  const Tensor bias = alibi_bias(3, 2, 4, 2, {.dtype = f64});
  EXPECT_DOUBLE_EQ(bias.item<double>(0, 1, 0), -3 * std::exp2(-4));
  EXPECT_DOUBLE_EQ(bias.item<double>(2, 0, 3), -std::exp2(-2));
}

// --- sampling -------------------------------------------------------------------------------------------------------

TEST(Sampling, FiltersEqualTransformers) {
  const Tensor logits = fixture().at("sampling.logits");
  const auto same = [&](const char* name, const SamplingOptions& options) {
    EXPECT_LT(largest_difference(filter_logits(logits, options), fixture().at(std::string("sampling.") + name)), 1e-14)
        << name;
  };
  same("temperature", {.temperature = 0.7});
  same("top_k", {.top_k = 5});
  same("top_p", {.top_p = 0.6});
  EXPECT_THROW(filter_logits(logits, {.temperature = 0}), ValueError);
  EXPECT_THROW(filter_logits(logits, {.top_k = -1}), ValueError);
  EXPECT_THROW(filter_logits(logits, {.top_p = 0}), ValueError);
}

TEST(Sampling, DrawsFollowTheProbabilities) {
  const Tensor logits = log(tensor({0.1, 0.2, 0.3, 0.4}));
  EXPECT_EQ(sample_tokens(logits, {.temperature = 0}).item<int64_t>(), 3);
  Generator generator(1);
  const std::vector<int64_t> draws =
      sample_tokens(expand(logits, {20000, 4}), {.top_k = 3}, &generator).to_vector<int64_t>();
  std::vector<double> count(4);
  for (int64_t d : draws) ++count[size_t(d)];
  EXPECT_EQ(count[0], 0);
  for (int i = 1; i < 4; ++i) EXPECT_NEAR(count[size_t(i)] / 20000, 0.1 * (i + 1) / 0.9, 0.015);
  Generator again(1);
  EXPECT_EQ(sample_tokens(expand(logits, {20000, 4}), {.top_k = 3}, &again).to_vector<int64_t>(), draws);
}

// A chain over three tokens and an end (3): log-probabilities of the next by the last.
Tensor chain(int64_t last) {
  const double p[4][4] = {{0.1, 0.6, 0.25, 0.05}, {0.4, 0.05, 0.05, 0.5}, {0.05, 0.05, 0.1, 0.8}, {1, 1, 1, 1}};
  return log(from_vector(std::vector<double>(p[last], p[last] + 4), {4}));
}

TEST(Sampling, GenerateFeedsWhatIsNew) {
  std::vector<size_t> sizes;
  const std::vector<int64_t> tokens = generate(
      [&](const std::vector<int64_t>& fresh) {
        sizes.push_back(fresh.size());
        return chain(fresh.back());
      },
      {2, 0}, {.max_new_tokens = 10, .sampling = {.temperature = 0}, .end_token = 3});
  EXPECT_EQ(tokens, (std::vector<int64_t>{2, 0, 1, 3}));
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 1}));
  EXPECT_THROW(generate([](const std::vector<int64_t>&) { return chain(0); }, {}), ValueError);
}

TEST(Sampling, BeamSearchFindsWhatGreedyMisses) {
  const auto next = [](const Tensor& tokens, const Tensor& rows) {
    EXPECT_EQ(tokens.size(0), rows.size(0));
    std::vector<Tensor> logits;
    for (int64_t i = 0; i < tokens.size(0); ++i) logits.push_back(chain(tokens.item<int64_t>(i, tokens.size(1) - 1)));
    return stack(logits);
  };
  // From 0: "1 end" has 0.6 * 0.5 = 0.3, "2 end" 0.25 * 0.8 = 0.2, "1 0 .." less.
  const std::vector<Hypothesis> best =
      beam_search(next, {0}, {.beams = 2, .max_new_tokens = 6, .end_token = 3, .length_penalty = 0});
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[0].tokens, (std::vector<int64_t>{0, 1, 3}));
  EXPECT_NEAR(best[0].score, std::log(0.3), 1e-12);
  // By the mean of the logarithms "2 end" comes second.
  const std::vector<Hypothesis> mean = beam_search(next, {0}, {.beams = 2, .max_new_tokens = 6, .end_token = 3});
  EXPECT_NEAR(mean[0].score, std::log(0.3) / 2, 1e-12);
  EXPECT_THROW(beam_search(next, {0}, {.beams = 0}), ValueError);
}

// --- GPT-2 by Hugging Face's names -----------------------------------------------------------------------------------

const std::string kGpt2 = std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/gpt2.safetensors";

// The model, from the file without what the test compares with; and the file.
struct Gpt2 {
  Safetensors all = load_safetensors(kGpt2);
  examples::Gpt model = [this] {
    Safetensors weights;
    for (const NamedTensor& entry : all.tensors)
      if (!entry.name.starts_with("expected.")) weights.tensors.push_back(entry);
    const std::string path = ::testing::TempDir() + "tenrec_gpt2.safetensors";
    save_safetensors(path, weights);
    examples::Gpt loaded = examples::load_gpt2(path, 3);
    std::remove(path.c_str());
    to(loaded, f64);
    eval(loaded);
    return loaded;
  }();
  const Tensor& expected(const std::string& name) const { return all.at("expected." + name); }
};

TEST(Gpt2, EqualsTransformers) {
  Gpt2 g;
  const Tensor tokens = g.expected("tokens"), logits = g.model(tokens);
  EXPECT_LT(largest_difference(logits, g.expected("logits")), 1e-12);
  const int64_t n = tokens.size(1);
  const Tensor loss = cross_entropy(flatten(narrow(logits, 1, 0, n - 1), 0, 1), flatten(narrow(tokens, 1, 1, n - 1)));
  // transformers computes the loss, and with it the first gradient, in float32.
  EXPECT_NEAR(loss.item<double>(), g.expected("loss").item<double>(), 1e-6);
  backward(loss);
  int compared = 0;
  for (const NamedTensor& p : named_parameters(g.model)) {
    const Tensor* expected = g.all.find("expected.grad." + p.name);
    if (!expected) continue;
    ++compared;
    EXPECT_LT(largest_difference(p.tensor.grad(), *expected), 1e-7) << p.name;
  }
  EXPECT_EQ(compared, 4);
}

TEST(Gpt2, GeneratesWhatTransformersGenerates) {
  const NoGrad off;
  Gpt2 g;
  const std::vector<int64_t> prompt = narrow(select(g.expected("tokens"), 0, 0), 0, 0, 4).to_vector<int64_t>();
  std::vector<KeyValueCache> caches;
  const auto next = [&](const std::vector<int64_t>& fresh) {
    return select(select(g.model(from_vector(fresh, {1, int64_t(fresh.size())}), &caches), 1, -1), 0, 0);
  };
  EXPECT_EQ(generate(next, prompt, {.max_new_tokens = 8, .sampling = {.temperature = 0}}),
            g.expected("greedy").to_vector<int64_t>());
  caches.clear();
  const auto next_beams = [&](const Tensor& tokens, const Tensor& rows) {
    const int64_t seen = caches.empty() ? 0 : caches.front().length();
    for (KeyValueCache& cache : caches) cache.select(rows);
    return select(g.model(narrow(tokens, 1, seen, tokens.size(1) - seen), &caches), 1, -1);
  };
  EXPECT_EQ(beam_search(next_beams, prompt, {.beams = 3, .max_new_tokens = 8})[0].tokens,
            g.expected("beams").to_vector<int64_t>());
}

TEST(Gpt2, RefusesOtherFiles) {
  EXPECT_THROW(examples::load_gpt2(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/optimizers.safetensors"), IOError);
  Gpt2 g;
  EXPECT_THROW(g.model(zeros({1, 25}, {.dtype = i64})), ShapeError);
}

}  // namespace
}  // namespace tenrec
