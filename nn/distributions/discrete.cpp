#include "tenrec/nn/distributions/discrete.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tenrec/autograd/ops.h"

namespace tenrec::distributions {

using detail::broadcast_parameters;
using detail::check_parameter;
using detail::inside_or_never;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor in_unit_interval(const Tensor& x) { return logical_and(ge(x, 0), le(x, 1)); }
Tensor not_negative(const Tensor& x) { return ge(x, 0); }
Tensor is_count(const Tensor& x) { return logical_and(logical_and(ge(x, 0), le(x, 0x1p24)), eq(x, floor(x))); }

// The one that was given, in a floating dtype.
const Tensor& only_one(const char* name, const Odds& odds) {
  if (odds.probs.defined() == odds.logits.defined())
    fail<ValueError>(name, ": expected either probs or logits, got ", odds.probs.defined() ? "both" : "neither");
  const Tensor& given = odds.probs.defined() ? odds.probs : odds.logits;
  if (!is_floating(given.dtype()))
    fail<DTypeError>(name, ": expected probs or logits of a floating dtype, got ", given.dtype());
  return given;
}

Tensor whole(const Tensor& value, const Tensor& most) {
  return logical_and(logical_and(ge(value, 0), le(value, most)), eq(value, floor(value)));
}

}  // namespace

// --- BinaryOdds -----------------------------------------------------------------------------------------------------

BinaryOdds::BinaryOdds(const char* name, const Odds& odds)
    : given_(only_one(name, odds)), logits_(odds.logits.defined()) {
  if (logits_)
    check_parameter(name, "logits must be numbers", given_, detail::is_number);
  else
    check_parameter(name, "probs must lie in [0, 1]", given_, in_unit_interval);
}
Tensor BinaryOdds::probs() const { return logits_ ? sigmoid(given_) : given_; }
Tensor BinaryOdds::logits() const { return logits_ ? given_ : log(given_) - log1p(-given_); }
Tensor BinaryOdds::log_yes() const { return logits_ ? logsigmoid(given_) : log(given_); }
Tensor BinaryOdds::log_no() const { return logits_ ? logsigmoid(-given_) : log1p(-given_); }

// --- Bernoulli ------------------------------------------------------------------------------------------------------

Bernoulli::Bernoulli(const Odds& odds) : Distribution("Bernoulli", false), odds_(name(), odds) {
  set_shapes(odds_.given().shape());
}
Tensor Bernoulli::draw(const Shape& shape, Generator* generator) const {
  const Tensor p = probs(), wide = p.dtype() == f64 ? p : p.to(f32);  // 16-bit noise would be coarse
  return lt(detail::uniform_noise(wide, shape, generator), wide).to(p.dtype());
}
Tensor Bernoulli::log_prob(const Tensor& value) const {
  if (!odds_.has_logits()) return xlogy(value, odds_.given()) + xlogy(1 - value, 1 - odds_.given());
  const std::vector<Tensor> both = broadcast_tensors({odds_.given(), value.to(odds_.given().dtype())});
  return -binary_cross_entropy_with_logits(both[0], both[1], {.reduction = Reduction::none});
}
Tensor Bernoulli::entropy() const { return -log_prob(probs()); }
Tensor Bernoulli::variance() const {
  const Tensor p = probs();
  return p * (1 - p);
}

// --- Categorical ----------------------------------------------------------------------------------------------------

Categorical::Categorical(const Odds& odds) : Distribution("Categorical", false) {
  const Tensor& given = only_one(name(), odds);
  if (given.ndim() == 0 || given.shape().back() == 0)
    fail<ShapeError>(name(), ": expected a last dimension of classes, got shape ", given.shape());
  if (odds.logits.defined()) {
    check_parameter(name(), "logits must be numbers", given, detail::is_number);
    logits_ = log_softmax(given, -1);
  } else {
    check_parameter(name(), "probs must not be negative", given, not_negative);
    const Tensor total = sum(given, {.dim = -1, .keepdim = true});
    check_parameter(name(), "probs must not all be 0", total, detail::is_positive);
    logits_ = log(given / total);
  }
  Shape batch = given.shape();
  batch.erase(batch.ndim() - 1);
  set_shapes(batch);
}
Tensor Categorical::draw(const Shape& shape, Generator* generator) const {
  Shape rows = shape;
  rows.push_back(logits_.shape().back());
  return categorical(expand(logits_, rows), generator);
}
Tensor Categorical::log_prob(const Tensor& value) const {
  const Shape shape = broadcast_shapes(name(), value.shape(), batch_shape());
  Shape rows = shape;
  rows.push_back(logits_.shape().back());
  return squeeze(gather(expand(logits_, rows), -1, unsqueeze(expand(value, shape), -1).to(i64)), -1);
}
// A class without a chance adds nothing.
Tensor Categorical::entropy() const {
  const Tensor p = probs();
  return -sum(p * where(eq(p, 0), 0, logits_), {.dim = -1});
}
Tensor Categorical::mean() const {
  return full(batch_shape(), kNan, {.dtype = logits_.dtype(), .device = logits_.device()});
}
Tensor Categorical::probs() const { return exp(logits_); }

// --- Binomial -------------------------------------------------------------------------------------------------------

Binomial::Binomial(const Parameter& count, const Odds& odds) : Distribution("Binomial", false), odds_(name(), odds) {
  const std::vector<Tensor> p = broadcast_parameters(name(), {count, odds_.given()});
  total_count = p[0].detach();
  odds_ = BinaryOdds(p[1], odds_.has_logits());
  check_parameter(name(), "total_count must be a whole number from 0 to 2^24", total_count, is_count);
  set_shapes(total_count.shape());
}

// By halving: of n uniform numbers the i-th smallest is Beta(i, n + 1 - i). If it is below p, i of them are, and the
// n - i above it are left to be asked about; else the i - 1 below it. What is at most kFew is asked one by one.
// (D. Relles, "A simple algorithm for generating binomial random variables when N is large", JASA 67, 1972.)
Tensor Binomial::draw(const Shape& shape, Generator* generator) const {
  constexpr double kFew = 16;
  if (total_count.numel() == 0) return expand(total_count, shape);
  const auto most = max(total_count).item<double>();
  Tensor n = expand(total_count.to(f64), shape), p = expand(probs().detach().to(f64), shape), found = zeros_like(n);
  for (double top = most; top > kFew; top = std::floor(top / 2)) {
    const Tensor i = floor(n / 2) + 1, many = gt(n, kFew);
    const Tensor a = gamma(i, generator), b = gamma(clamp_min(n + 1 - i, 1), generator), middle = a / (a + b);
    const Tensor below = le(middle, p), count = where(below, i, 0);
    found = where(many, found + count, found);
    p = where(many, where(below, (p - middle) / (1 - middle), p / middle), p);
    n = where(many, where(below, n - i, i - 1), n);
  }
  for (double k = 0; k < std::min(most, kFew); ++k)
    found = found + logical_and(gt(n, k), lt(detail::uniform_noise(n, shape, generator), p)).to(f64);
  return found.to(total_count.dtype());
}

Tensor Binomial::log_prob(const Tensor& value) const {
  const Tensor &n = total_count, k = value.to(n.dtype());
  const Tensor ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
  const Tensor chance = odds_.has_logits() ? k * odds_.given() + n * odds_.log_no()
                                           : xlogy(k, odds_.given()) + xlogy(n - k, 1 - odds_.given());
  return inside_or_never(whole(k, n), ways + chance);
}
Tensor Binomial::entropy() const {
  const int64_t most = total_count.numel() == 0 ? 0 : max(total_count).item<int64_t>();
  Tensor counts = arange(most + 1, {.dtype = total_count.dtype(), .device = total_count.device()});
  counts = reshape(counts, [&] {
    Shape s = Shape::filled(total_count.ndim() + 1, 1);
    s[0] = most + 1;
    return s;
  }());
  const Tensor lp = log_prob(counts), never = isinf(lp);
  return -sum(exp(lp) * where(never, 0, lp), {.dim = 0});
}
Tensor Binomial::mean() const { return total_count * probs(); }
Tensor Binomial::variance() const {
  const Tensor p = probs();
  return total_count * p * (1 - p);
}

// --- Poisson --------------------------------------------------------------------------------------------------------

Poisson::Poisson(const Parameter& rate_) : Distribution("Poisson", false) {
  rate = broadcast_parameters(name(), {rate_})[0];
  check_parameter(name(), "rate must not be negative", rate, not_negative);
  set_shapes(rate.shape());
}
Tensor Poisson::draw(const Shape& shape, Generator* generator) const { return poisson(expand(rate, shape), generator); }
Tensor Poisson::log_prob(const Tensor& value) const {
  const Tensor k = value.to(rate.dtype());
  return inside_or_never(logical_and(ge(k, 0), eq(k, floor(k))), xlogy(k, rate) - rate - lgamma(k + 1));
}

}  // namespace tenrec::distributions
