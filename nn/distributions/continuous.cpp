#include "tenrec/nn/distributions/continuous.h"

#include <limits>

#include "tenrec/autograd/ops.h"

namespace tenrec::distributions {

using detail::broadcast_parameters;
using detail::check_parameter;
using detail::inside_or_never;

namespace {

constexpr double kHalfLogTwoPi = 0.9189385332046727, kLogPi = 1.1447298858494002;
constexpr double kInf = std::numeric_limits<double>::infinity();

void check_scale(const char* name, const Tensor& scale) {
  check_parameter(name, "scale must be positive", scale, detail::is_positive);
}
void check_loc(const char* name, const Tensor& loc) {
  check_parameter(name, "loc must be a number", loc, detail::is_number);
}

// The smallest positive normal number of a dtype: a variate of a small shape may round to 0, whose logarithm is no use.
double tiny(DType dtype) { return dtype == f64 ? 0x1p-1022 : dtype == f16 ? 0x1p-14 : 0x1p-126; }
// 1 less half the distance to the next number.
double below_one(DType dtype) {
  return 1 - (dtype == f64 ? 0x1p-53 : dtype == f32 ? 0x1p-24 : dtype == f16 ? 0x1p-11 : 0x1p-8);
}

// In f64, where variates of small shapes still have room.
Tensor gamma_variate(const Tensor& shape, const Shape& size, Generator* generator) {
  return clamp_min(gamma(expand(shape.to(f64), size), generator), tiny(f64));
}

}  // namespace

// --- Normal and Laplace ---------------------------------------------------------------------------------------------

LocationScale::LocationScale(const char* label, const Parameter& loc_, const Parameter& scale_)
    : Distribution(label, true) {
  const std::vector<Tensor> p = broadcast_parameters(name(), {loc_, scale_});
  loc = p[0];
  scale = p[1];
  check_loc(name(), loc);
  check_scale(name(), scale);
  set_shapes(loc.shape());
}

Tensor Normal::draw(const Shape& shape, Generator* generator) const {
  return loc + detail::normal_noise(loc, shape, generator) * scale;
}
Tensor Normal::log_prob(const Tensor& value) const {
  return square((value - loc) / scale) * -0.5 - log(scale) - kHalfLogTwoPi;
}
Tensor Normal::entropy() const { return log(scale) + (0.5 + kHalfLogTwoPi); }
Tensor Normal::variance() const { return square(scale); }

// The difference of two exponential variates.
Tensor Laplace::draw(const Shape& shape, Generator* generator) const {
  const Tensor up = detail::exponential_noise(loc, shape, generator);
  return loc + (up - detail::exponential_noise(loc, shape, generator)) * scale;
}
Tensor Laplace::log_prob(const Tensor& value) const { return -abs(value - loc) / scale - log(scale * 2); }
Tensor Laplace::entropy() const { return log(scale * 2) + 1; }
Tensor Laplace::variance() const { return square(scale) * 2; }

// --- Uniform --------------------------------------------------------------------------------------------------------

Uniform::Uniform(const Parameter& low_, const Parameter& high_) : Distribution("Uniform", true) {
  const std::vector<Tensor> p = broadcast_parameters(name(), {low_, high_});
  low = p[0];
  high = p[1];
  check_parameter(name(), "low must be less than high", high - low, detail::is_positive);
  set_shapes(low.shape());
}
Tensor Uniform::draw(const Shape& shape, Generator* generator) const {
  return low + detail::uniform_noise(low, shape, generator) * (high - low);
}
Tensor Uniform::log_prob(const Tensor& value) const {
  return inside_or_never(logical_and(ge(value, low), lt(value, high)), -entropy());
}
Tensor Uniform::entropy() const { return log(high - low); }
Tensor Uniform::mean() const { return (low + high) / 2; }
Tensor Uniform::variance() const { return square(high - low) / 12; }

// --- Exponential ----------------------------------------------------------------------------------------------------

Exponential::Exponential(const Parameter& rate_) : Distribution("Exponential", true) {
  rate = broadcast_parameters(name(), {rate_})[0];
  check_parameter(name(), "rate must be positive", rate, detail::is_positive);
  set_shapes(rate.shape());
}
Tensor Exponential::draw(const Shape& shape, Generator* generator) const {
  return detail::exponential_noise(rate, shape, generator) / rate;
}
Tensor Exponential::log_prob(const Tensor& value) const {
  return inside_or_never(ge(value, 0), log(rate) - rate * value);
}
Tensor Exponential::entropy() const { return 1 - log(rate); }
Tensor Exponential::mean() const { return reciprocal(rate); }
Tensor Exponential::variance() const { return reciprocal(square(rate)); }

// --- Gamma ----------------------------------------------------------------------------------------------------------

Gamma::Gamma(const Parameter& concentration_, const Parameter& rate_) : Distribution("Gamma", true) {
  const std::vector<Tensor> p = broadcast_parameters(name(), {concentration_, rate_});
  concentration = p[0];
  rate = p[1];
  check_parameter(name(), "concentration must be positive", concentration, detail::is_positive);
  check_parameter(name(), "rate must be positive", rate, detail::is_positive);
  set_shapes(rate.shape());
}
Tensor Gamma::draw(const Shape& shape, Generator* generator) const {
  const Tensor x = gamma_variate(concentration, shape, generator) / rate;
  return clamp_min(x.to(rate.dtype()), tiny(rate.dtype()));
}
Tensor Gamma::log_prob(const Tensor& value) const {
  const Tensor lp = concentration * log(rate) + xlogy(concentration - 1, value) - rate * value - lgamma(concentration);
  return inside_or_never(ge(value, 0), lp);
}
Tensor Gamma::entropy() const {
  return concentration - log(rate) + lgamma(concentration) + (1 - concentration) * digamma(concentration);
}
Tensor Gamma::mean() const { return concentration / rate; }
Tensor Gamma::variance() const { return concentration / square(rate); }

// --- Beta -----------------------------------------------------------------------------------------------------------

Beta::Beta(const Parameter& concentration1_, const Parameter& concentration0_) : Distribution("Beta", true) {
  const std::vector<Tensor> p = broadcast_parameters(name(), {concentration1_, concentration0_});
  concentration1 = p[0];
  concentration0 = p[1];
  for (const Tensor& c : p) check_parameter(name(), "concentrations must be positive", c, detail::is_positive);
  set_shapes(concentration1.shape());
}
Tensor Beta::draw(const Shape& shape, Generator* generator) const {
  const Tensor one = gamma_variate(concentration1, shape, generator);
  const Tensor x = one / (one + gamma_variate(concentration0, shape, generator));
  const DType dtype = concentration1.dtype();
  return clamp(x.to(dtype), tiny(dtype), below_one(dtype));
}
Tensor Beta::log_prob(const Tensor& value) const {
  const Tensor norm = lgamma(concentration1 + concentration0) - lgamma(concentration1) - lgamma(concentration0);
  return inside_or_never(logical_and(ge(value, 0), le(value, 1)),
                         xlogy(concentration1 - 1, value) + xlogy(concentration0 - 1, 1 - value) + norm);
}
Tensor Beta::entropy() const {
  const Tensor &a = concentration1, &b = concentration0, both = a + b;
  return lgamma(a) + lgamma(b) - lgamma(both) - (a - 1) * digamma(a) - (b - 1) * digamma(b) +
         (both - 2) * digamma(both);
}
Tensor Beta::mean() const { return concentration1 / (concentration1 + concentration0); }
Tensor Beta::variance() const {
  const Tensor both = concentration1 + concentration0;
  return concentration1 * concentration0 / (square(both) * (both + 1));
}

// --- StudentT -------------------------------------------------------------------------------------------------------

StudentT::StudentT(const Parameter& df_, const Parameter& loc_, const Parameter& scale_)
    : Distribution("StudentT", true) {
  const std::vector<Tensor> p = broadcast_parameters(name(), {df_, loc_, scale_});
  df = p[0];
  loc = p[1];
  scale = p[2];
  check_parameter(name(), "df must be positive", df, detail::is_positive);
  check_loc(name(), loc);
  check_scale(name(), scale);
  set_shapes(df.shape());
}
// A normal variate over the root of a chi-squared one by its degrees of freedom.
Tensor StudentT::draw(const Shape& shape, Generator* generator) const {
  const Tensor normal = detail::normal_noise(loc, shape, generator);
  const Tensor spread = rsqrt(gamma_variate(df / 2, shape, generator) * 2 / df.to(f64));
  return loc + (normal * spread).to(loc.dtype()) * scale;
}
Tensor StudentT::log_prob(const Tensor& value) const {
  const Tensor half = (df + 1) / 2;
  return lgamma(half) - lgamma(df / 2) - half * log1p(square((value - loc) / scale) / df) - (log(df) + kLogPi) / 2 -
         log(scale);
}
Tensor StudentT::entropy() const {
  const Tensor half = (df + 1) / 2;
  return half * (digamma(half) - digamma(df / 2)) + (log(df) + kLogPi) / 2 + lgamma(df / 2) - lgamma(half) + log(scale);
}
Tensor StudentT::mean() const { return where(gt(df, 1), loc, std::numeric_limits<double>::quiet_NaN()); }
Tensor StudentT::variance() const {
  const Tensor finite = square(scale) * df / (df - 2);
  return where(gt(df, 2), finite, where(gt(df, 1), full_like(df, kInf), std::numeric_limits<double>::quiet_NaN()));
}

}  // namespace tenrec::distributions
