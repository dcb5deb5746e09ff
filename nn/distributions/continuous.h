// Distributions of one real number. Their draws are differentiable in the parameters: Gamma, Beta and StudentT by
// implicit reparameterisation (gamma_grad in autograd/ops/random.h), once, the others to any order.
#pragma once

#include "tenrec/nn/distributions/distribution.h"

namespace tenrec::distributions {

// Moved by loc and stretched by scale > 0.
class LocationScale : public Distribution {
 public:
  Tensor mean() const override { return loc; }
  Tensor loc, scale;

 protected:
  LocationScale(const char* name, const Parameter& loc, const Parameter& scale);
};

// scale is the deviation.
class Normal : public LocationScale {
 public:
  Normal(const Parameter& loc_, const Parameter& scale_) : LocationScale("Normal", loc_, scale_) {}
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor variance() const override;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

// Density e^(-|x - loc| / scale) / (2 scale).
class Laplace : public LocationScale {
 public:
  Laplace(const Parameter& loc_, const Parameter& scale_) : LocationScale("Laplace", loc_, scale_) {}
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor variance() const override;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

// On [low, high), low < high.
class Uniform : public Distribution {
 public:
  Uniform(const Parameter& low, const Parameter& high);
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override;
  Tensor variance() const override;
  Tensor low, high;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

// Density rate e^(-rate x), x >= 0.
class Exponential : public Distribution {
 public:
  explicit Exponential(const Parameter& rate);
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override;
  Tensor variance() const override;
  Tensor rate;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

// Density rate^a x^(a - 1) e^(-rate x) / gamma(a), a the concentration, x > 0.
class Gamma : public Distribution {
 public:
  Gamma(const Parameter& concentration, const Parameter& rate);
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override;
  Tensor variance() const override;
  Tensor concentration, rate;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

// Density x^(a - 1) (1 - x)^(b - 1) / B(a, b) with a = concentration1, b = concentration0, 0 < x < 1.
class Beta : public Distribution {
 public:
  Beta(const Parameter& concentration1, const Parameter& concentration0);
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override;
  Tensor variance() const override;
  Tensor concentration1, concentration0;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

// Student's t with df degrees of freedom, moved and scaled. The mean exists for df > 1, the variance for df > 2.
class StudentT : public Distribution {
 public:
  explicit StudentT(const Parameter& df, const Parameter& loc = 0, const Parameter& scale = 1);
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override;
  Tensor variance() const override;
  Tensor df, loc, scale;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

}  // namespace tenrec::distributions
