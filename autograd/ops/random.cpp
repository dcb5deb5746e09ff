#include "tenrec/autograd/ops/random.h"

#include <cmath>
#include <limits>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/elementwise.h"
#include "tenrec/kernels/random.h"
#include "tenrec/kernels/sort.h"

namespace tenrec {
namespace {

GeneratorState next_key(Generator* generator) { return (generator ? *generator : default_generator()).next(); }

void check_floating(const char* op, DType dtype) {
  if (!is_floating(dtype)) fail<DTypeError>(op, ": expected a floating dtype, got ", dtype);
}

void check_probability(const char* op, double p) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>(op, ": p must lie in [0, 1], got ", p);
}

// A new tensor, filled by fill(device, view).
template <class Fill>
Tensor make(const char* op, const Shape& shape, const TensorOptions& options, Fill&& fill) {
  Tensor y = empty(shape, {.dtype = options.dtype, .device = options.device});
  dispatch(op, y.device(), [&](auto device) { fill(device, view(y)); });
  if (options.requires_grad) y.set_requires_grad(true);
  return y;
}

// x filled by fill(device, view), through a contiguous tensor if x is not one.
template <class Fill>
const Tensor& fill_in(const char* op, const Tensor& x, Fill&& fill) {
  detail::check_mutation(op, x, "a new random tensor");
  const Tensor y = x.is_contiguous() ? x : empty_like(x);
  dispatch(op, x.device(), [&](auto device) { fill(device, view(y)); });
  if (!x.is_contiguous()) {
    const NoGrad off;
    copy_(x, y);
  } else {
    detail::bump_version(x);
  }
  return x;
}

TensorOptions options_of(const Tensor& x) { return {.dtype = x.dtype(), .device = x.device()}; }

}  // namespace

Tensor rand(const Shape& shape, const TensorOptions& options, Generator* generator) {
  check_floating("rand", options.dtype);
  const GeneratorState key = next_key(generator);
  return make("rand", shape, options,
              [&](auto device, const View& y) { kernels::random_uniform(device, key, 0, 1, y); });
}

Tensor randn(const Shape& shape, const TensorOptions& options, Generator* generator) {
  check_floating("randn", options.dtype);
  const GeneratorState key = next_key(generator);
  return make("randn", shape, options,
              [&](auto device, const View& y) { kernels::random_normal(device, key, 0, 1, y); });
}

Tensor rand_like(const Tensor& x, Generator* generator) { return rand(x.shape(), options_of(x), generator); }
Tensor randn_like(const Tensor& x, Generator* generator) { return randn(x.shape(), options_of(x), generator); }

Tensor randint(int64_t low, int64_t high, const Shape& shape, const TensorOptions& options, Generator* generator) {
  if (low >= high) fail<ValueError>("randint: there is no integer from ", low, " to below ", high);
  const GeneratorState key = next_key(generator);
  const uint64_t range = uint64_t(high) - uint64_t(low);
  return make("randint", shape, options,
              [&](auto device, const View& y) { kernels::random_integers(device, key, low, range, y); });
}
Tensor randint_like(const Tensor& x, int64_t low, int64_t high, Generator* generator) {
  return randint(low, high, x.shape(), options_of(x), generator);
}

Tensor randperm(int64_t n, Generator* generator) {
  if (n < 0) fail<ValueError>("randperm: n must not be negative, got ", n);
  const GeneratorState key = next_key(generator);
  // The order of n random numbers of 64 bits: ties, of probability n^2 / 2^65, are broken by index.
  const Tensor bits = empty({n}, {.dtype = i64}), sorted = empty_like(bits);
  Tensor order = empty_like(bits);
  dispatch("randperm", bits.device(), [&](auto device) {
    kernels::random_integers(device, key, INT64_MIN, 0, view(bits));
    kernels::sort_rows(device, view(bits), n, false, view(sorted), view(order));
  });
  return order;
}

// --- fills ----------------------------------------------------------------------------------------------------------

const Tensor& uniform_(const Tensor& x, double low, double high, Generator* generator) {
  check_floating("uniform_", x.dtype());
  if (!(low <= high) || !std::isfinite(high - low))
    fail<ValueError>("uniform_: there is nothing from ", low, " to ", high);
  const GeneratorState key = next_key(generator);
  return fill_in("uniform_", x,
                 [&](auto device, const View& y) { kernels::random_uniform(device, key, low, high, y); });
}

const Tensor& normal_(const Tensor& x, double mean, double std, Generator* generator) {
  check_floating("normal_", x.dtype());
  if (!(std >= 0)) fail<ValueError>("normal_: std must not be negative, got ", std);
  const GeneratorState key = next_key(generator);
  return fill_in("normal_", x, [&](auto device, const View& y) { kernels::random_normal(device, key, mean, std, y); });
}

const Tensor& trunc_normal_(const Tensor& x, double mean, double std, double low, double high, Generator* generator) {
  check_floating("trunc_normal_", x.dtype());
  if (!(std > 0)) fail<ValueError>("trunc_normal_: std must be positive, got ", std);
  if (!(low < high)) fail<ValueError>("trunc_normal_: there is nothing from ", low, " to ", high);
  const GeneratorState key = next_key(generator);
  return fill_in("trunc_normal_", x, [&](auto device, const View& y) {
    kernels::random_truncated_normal(device, key, mean, std, low, high, y);
  });
}

const Tensor& exponential_(const Tensor& x, double rate, Generator* generator) {
  check_floating("exponential_", x.dtype());
  if (!(rate > 0)) fail<ValueError>("exponential_: the rate must be positive, got ", rate);
  const GeneratorState key = next_key(generator);
  return fill_in("exponential_", x,
                 [&](auto device, const View& y) { kernels::random_exponential(device, key, rate, y); });
}

const Tensor& bernoulli_(const Tensor& x, double p, Generator* generator) {
  check_probability("bernoulli_", p);
  const GeneratorState key = next_key(generator);
  return fill_in("bernoulli_", x, [&](auto device, const View& y) { kernels::random_bernoulli(device, key, p, y); });
}

// --- ops ------------------------------------------------------------------------------------------------------------

namespace {

// Linear in x, so it is its own rule: the same key draws the same mask.
Tensor dropout_with(const Tensor& x, double p, GeneratorState key) {
  const Tensor from = contiguous(x.detach());
  Tensor y = empty_like(x);
  dispatch("dropout", x.device(), [&](auto device) {
    if (p == 1)
      kernels::fill(device, view(y), 0, 0);
    else
      kernels::dropout(device, key, p, view(from), view(y));
  });
  return record("dropout", {x}, std::move(y), save_none,
                [p, key](const Saved&, const Tensor& dy, Needs) { return Grads{dropout_with(dy, p, key)}; });
}

// True if every element of a f64 tensor is in [0, most].
bool all_within(const Tensor& x, double most) {
  const Tensor host = x.to(kCpu);
  const auto* p = host.data<double>();
  bool fine = true;
  for (int64_t i = 0; i < x.numel(); ++i) fine &= p[i] >= 0 && p[i] <= most;
  return fine;
}

Tensor as_doubles(const Tensor& x) { return contiguous(x.detach().to(f64)); }

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training, Generator* generator) {
  check_probability("dropout", p);
  check_floating("dropout", x.dtype());
  if (!training || p == 0) return x;
  return dropout_with(x, p, next_key(generator));
}

Tensor bernoulli(const Tensor& p, Generator* generator) {
  check_floating("bernoulli", p.dtype());
  if (!all_within(as_doubles(p), 1)) fail<ValueError>("bernoulli: every p must lie in [0, 1]");
  const GeneratorState key = next_key(generator);
  const Tensor chances = contiguous(p.detach());
  Tensor y = empty_like(p);
  dispatch("bernoulli", p.device(),
           [&](auto device) { kernels::random_bernoulli(device, key, view(chances), view(y)); });
  return record("bernoulli", {p}, std::move(y), not_differentiable);
}

Tensor multinomial(const Tensor& weights, int64_t k, bool replacement, Generator* generator) {
  check_floating("multinomial", weights.dtype());
  if (weights.ndim() != 1 && weights.ndim() != 2)
    fail<ShapeError>("multinomial: expected weights [n] or [rows, n], got shape ", weights.shape());
  const int64_t n = weights.shape().back(), rows = weights.ndim() == 2 ? weights.shape()[0] : 1;
  if (k < 1) fail<ValueError>("multinomial: expected at least one draw, got ", k);
  if (!replacement && k > n) fail<ValueError>("multinomial: ", k, " draws without replacement from ", n, " weights");
  const GeneratorState key = next_key(generator);
  const Tensor table = reshape(as_doubles(weights), {rows, n});
  Tensor y = empty({rows, k}, {.dtype = i64, .device = weights.device()});
  const int64_t bad = dispatch("multinomial", weights.device(), [&](auto device) {
    return kernels::random_multinomial(device, key, view(table), replacement, view(y));
  });
  if (bad >= 0)
    fail<ValueError>("multinomial: row ", bad, " cannot be drawn from: weights must be finite and not negative, and ",
                     replacement ? "one" : "as many as are drawn", " must be positive");
  if (weights.ndim() == 1) y = reshape(y, {k});
  return record("multinomial", {weights}, std::move(y), not_differentiable);
}

Tensor categorical(const Tensor& logits, Generator* generator) {
  check_floating("categorical", logits.dtype());
  if (logits.ndim() == 0) fail<ShapeError>("categorical: logits need a dimension");
  const int64_t n = logits.shape().back(), rows = n ? logits.numel() / n : 0;
  Shape shape = logits.shape();
  shape.erase(shape.ndim() - 1);
  if (n == 0 && checked_numel(shape) > 0) fail<ValueError>("categorical: there are no classes to draw from");
  const GeneratorState key = next_key(generator);
  const Tensor table = reshape(contiguous(logits.detach().to(f32)), {rows, n}), noise = empty_like(table);
  Tensor y = empty(shape, {.dtype = i64, .device = logits.device()});
  const int64_t bad = dispatch("categorical", logits.device(), [&](auto device) {
    kernels::random_exponential(device, key, 1, view(noise));
    return kernels::random_categorical(device, view(table), view(noise), view(y));
  });
  if (bad >= 0) fail<ValueError>("categorical: row ", bad, " has no logit above -inf");
  return record("categorical", {logits}, std::move(y), not_differentiable);
}

Tensor gamma(const Tensor& shape, Generator* generator) {
  check_floating("gamma", shape.dtype());
  const Tensor shapes = as_doubles(shape), y = empty_like(shapes);
  if (!all_within(shapes, std::numeric_limits<double>::max()))
    fail<ValueError>("gamma: every shape must be finite and not negative");
  const GeneratorState key = next_key(generator);
  dispatch("gamma", shape.device(), [&](auto device) { kernels::random_gamma(device, key, view(shapes), view(y)); });
  return record("gamma", {shape}, y.to(shape.dtype()), save_both,
                [](const Saved& s, const Tensor& dy, Needs) { return Grads{dy * gamma_grad(s.input(), s.output())}; });
}

Tensor gamma_grad(const Tensor& shape, const Tensor& x) {
  return record("gamma_grad", {shape, x}, detail::zip("gamma_grad", kernels::GammaGrad(), shape, x), no_rule);
}

Tensor poisson(const Tensor& rate, Generator* generator) {
  check_floating("poisson", rate.dtype());
  const Tensor rates = as_doubles(rate), y = empty_like(rates);
  if (!all_within(rates, 0x1p62)) fail<ValueError>("poisson: every rate must be finite and not negative");
  const GeneratorState key = next_key(generator);
  dispatch("poisson", rate.device(), [&](auto device) { kernels::random_poisson(device, key, view(rates), view(y)); });
  return record("poisson", {rate}, y.to(rate.dtype()), not_differentiable);
}

}  // namespace tenrec
