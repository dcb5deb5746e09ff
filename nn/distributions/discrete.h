// Distributions of counts and classes. Their draws have no derivative.
#pragma once

#include "tenrec/nn/distributions/distribution.h"

namespace tenrec::distributions {

// Probabilities of yes and no, from whichever of probs and logits was given, stable.
class BinaryOdds {
 public:
  // ValueError unless one is given, or for a probability outside [0, 1].
  BinaryOdds(const char* name, const Odds& odds);
  BinaryOdds(const Tensor& given, bool logits) : given_(given), logits_(logits) {}
  const Tensor& given() const { return given_; }
  bool has_logits() const { return logits_; }
  Tensor probs() const;
  Tensor logits() const;
  Tensor log_yes() const;
  Tensor log_no() const;

 private:
  Tensor given_;
  bool logits_;
};

// 1 with probability p, else 0: Bernoulli({.probs = p}) or Bernoulli({.logits = x}).
class Bernoulli : public Distribution {
 public:
  explicit Bernoulli(const Odds& odds);
  // value log p + (1 - value) log(1 - p), for all values in [0, 1]: grey pixels are scored as their mean.
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  Tensor mean() const override { return odds_.probs(); }
  Tensor variance() const override;
  Tensor probs() const { return odds_.probs(); }
  Tensor logits() const { return odds_.logits(); }
  const BinaryOdds& odds() const { return odds_; }

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;

 private:
  BinaryOdds odds_;
};

// Classes 0 .. n - 1, i64, by probabilities [..., n], which need not sum to 1, or logits.
class Categorical : public Distribution {
 public:
  explicit Categorical(const Odds& odds);
  // value: i64 or i32. IndexError for a class that there is not.
  Tensor log_prob(const Tensor& value) const override;
  Tensor entropy() const override;
  // NaN, as in PyTorch: classes are no numbers.
  Tensor mean() const override;
  Tensor variance() const override { return mean(); }
  Tensor probs() const;
  // Logarithms of the probabilities.
  const Tensor& logits() const { return logits_; }

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;

 private:
  Tensor logits_;
};

// How many of total_count tries succeed.
class Binomial : public Distribution {
 public:
  // total_count: whole numbers >= 0, at most 2^24 where that is checked; it broadcasts with the odds.
  Binomial(const Parameter& total_count, const Odds& odds);
  Tensor log_prob(const Tensor& value) const override;
  // The sum over all counts; reads the largest total_count on the host.
  Tensor entropy() const override;
  Tensor mean() const override;
  Tensor variance() const override;
  Tensor probs() const { return odds_.probs(); }
  Tensor logits() const { return odds_.logits(); }
  const BinaryOdds& odds() const { return odds_; }
  Tensor total_count;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;

 private:
  BinaryOdds odds_;
};

// Counts k with probability rate^k e^-rate / k!, rate >= 0.
class Poisson : public Distribution {
 public:
  explicit Poisson(const Parameter& rate);
  Tensor log_prob(const Tensor& value) const override;
  Tensor mean() const override { return rate; }
  Tensor variance() const override { return rate; }
  Tensor rate;

 protected:
  Tensor draw(const Shape& shape, Generator* generator) const override;
};

}  // namespace tenrec::distributions
