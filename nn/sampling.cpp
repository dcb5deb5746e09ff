#include "tenrec/nn/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

void check_logits(const char* name, const Tensor& logits) {
  if (logits.ndim() < 1 || logits.size(-1) < 1)
    fail<ShapeError>(name, ": expected logits [..., n] with at least one token, got ", logits.shape());
}

}  // namespace

Tensor filter_logits(const Tensor& logits, const SamplingOptions& o) {
  check_logits("filter_logits", logits);
  if (!(o.temperature > 0)) fail<ValueError>("filter_logits: temperature must be positive, got ", o.temperature);
  if (o.top_k < 0) fail<ValueError>("filter_logits: top_k must not be negative, got ", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) fail<ValueError>("filter_logits: top_p must lie in (0, 1], got ", o.top_p);
  const NoGrad off;
  const int64_t n = logits.size(-1);
  Tensor x = logits.detach().to(logits.dtype() == f64 ? f64 : f32);
  if (o.temperature != 1) x = x / o.temperature;
  if (o.top_k > 0 && o.top_k < n) {
    const Tensor least = narrow(topk(x, o.top_k, -1).values, -1, o.top_k - 1, 1);
    x = masked_fill(x, x < least, kNever);
  }
  if (o.top_p < 1) {
    const Sorted sorted = sort(x, -1, true);
    const Tensor p = softmax(sorted.values, -1);
    // A token is left out when those before it already have probability top_p.
    const Tensor kept = masked_fill(sorted.values, cumsum(p, -1) - p >= o.top_p, kNever);
    x = scatter(x, -1, sorted.indices, kept);
  }
  return x;
}

Tensor sample_tokens(const Tensor& logits, const SamplingOptions& options, Generator* generator) {
  check_logits("sample_tokens", logits);
  if (options.temperature == 0) return argmax(logits.detach(), {.dim = -1});
  return categorical(filter_logits(logits, options), generator);
}

std::vector<int64_t> generate(FunctionRef<Tensor(const std::vector<int64_t>&)> next, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options, Generator* generator) {
  if (prompt.empty()) fail<ValueError>("generate: the prompt must have at least one token");
  const NoGrad off;
  std::vector<int64_t> tokens = prompt, fresh = prompt;
  for (int64_t i = 0; i < options.max_new_tokens; ++i) {
    const Tensor logits = next(fresh);
    if (logits.ndim() != 1) fail<ShapeError>("generate: expected logits [n], got ", logits.shape());
    const int64_t token = sample_tokens(logits, options.sampling, generator).item<int64_t>();
    tokens.push_back(token);
    fresh = {token};
    if (token == options.end_token) break;
  }
  return tokens;
}

namespace {

struct Beam {
  std::vector<int64_t> tokens;
  double sum;   // of log-probabilities
  int64_t row;  // it goes on from, of the last call
};

// The `count` likeliest continuations of the beams, the best first.
std::vector<Beam> continuations(const std::vector<Beam>& beams, const Tensor& logits, int64_t count) {
  const int64_t n = logits.size(1);
  const std::vector<double> scores = log_softmax(logits.detach().to(f64), -1).to_vector<double>();
  struct Candidate {
    double sum;
    int64_t row, token;
  };
  std::vector<Candidate> all;
  for (int64_t r = 0; r < int64_t(beams.size()); ++r)
    for (int64_t t = 0; t < n; ++t) {
      const double sum = beams[size_t(r)].sum + scores[size_t(r * n + t)];
      if (sum > kNever) all.push_back({sum, r, t});
    }
  const auto best = all.begin() + long(std::min<int64_t>(count, int64_t(all.size())));
  std::partial_sort(all.begin(), best, all.end(), [](const Candidate& a, const Candidate& b) {
    return a.sum != b.sum ? a.sum > b.sum : a.row != b.row ? a.row < b.row : a.token < b.token;
  });
  std::vector<Beam> found;
  for (auto c = all.begin(); c != best; ++c) {
    found.push_back({beams[size_t(c->row)].tokens, c->sum, c->row});
    found.back().tokens.push_back(c->token);
  }
  return found;
}

}  // namespace

std::vector<Hypothesis> beam_search(FunctionRef<Tensor(const Tensor&, const Tensor&)> next,
                                    const std::vector<int64_t>& prompt, const BeamOptions& o) {
  if (prompt.empty()) fail<ValueError>("beam_search: the prompt must have at least one token");
  if (o.beams < 1) fail<ValueError>("beam_search: expected at least one beam, got ", o.beams);
  const NoGrad off;
  std::vector<Beam> beams{{prompt, 0, 0}};
  std::vector<Hypothesis> done;
  const auto finish = [&](const Beam& b) {
    const double length = double(b.tokens.size() - prompt.size());
    done.push_back({b.tokens, length > 0 ? b.sum / std::pow(length, o.length_penalty) : b.sum});
  };
  for (int64_t step = 0; step < o.max_new_tokens && !beams.empty() && int64_t(done.size()) < o.beams; ++step) {
    std::vector<int64_t> tokens, rows;
    for (const Beam& b : beams) {
      tokens.insert(tokens.end(), b.tokens.begin(), b.tokens.end());
      rows.push_back(b.row);
    }
    const auto count = int64_t(beams.size());
    const Tensor logits =
        next(from_vector(tokens, {count, int64_t(beams[0].tokens.size())}), from_vector(rows, {count}));
    if (logits.ndim() != 2 || logits.size(0) != count)
      fail<ShapeError>("beam_search: expected logits [", count, ", n], got ", logits.shape());
    // Twice as many, so that enough go on however many of them end.
    const std::vector<Beam> found = continuations(beams, logits, 2 * o.beams);
    beams.clear();
    for (const Beam& b : found) {
      if (b.tokens.back() == o.end_token)
        finish(b);
      else if (int64_t(beams.size()) < o.beams)
        beams.push_back(b);
    }
  }
  if (int64_t(done.size()) < o.beams)
    for (const Beam& b : beams) finish(b);
  std::stable_sort(done.begin(), done.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  if (int64_t(done.size()) > o.beams) done.resize(size_t(o.beams));
  return done;
}

}  // namespace tenrec
