// Samples against the distributions they should come from. Seeds are fixed, so a test that passes always does.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "tenrec/tenrec.h"

namespace tenrec::testing {

using Cdf = std::function<double(double)>;
inline double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// Kolmogorov's statistic, sqrt(n) times the largest distance between the sample's distribution function and cdf.
inline double kolmogorov(std::vector<double> sample, const Cdf& cdf) {
  std::sort(sample.begin(), sample.end());
  const double n = double(sample.size());
  double worst = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    const double p = cdf(sample[i]);
    worst = std::max({worst, p - double(i) / n, double(i + 1) / n - p});
  }
  return std::sqrt(n) * worst;
}
inline constexpr double kKolmogorov = 1.95;  // passed by one sample in a thousand

inline void expect_moments(const std::vector<double>& sample, double mean, double variance) {
  const double n = double(sample.size());
  const double got = std::accumulate(sample.begin(), sample.end(), 0.0) / n;
  double square = 0, fourth = 0;
  for (const double x : sample) {
    square += (x - mean) * (x - mean) / n;
    fourth += std::pow(x - mean, 4) / n;
  }
  EXPECT_NEAR(got, mean, 4 * std::sqrt(variance / n));
  EXPECT_NEAR(square, variance, 5 * std::sqrt(std::max(fourth - variance * variance, 0.0) / n) + 1e-12);
}

// Pearson's statistic of counts, in standard deviations above its mean; small expectations are left out.
inline double chi_square_excess(const std::vector<double>& counts, const std::vector<double>& expected) {
  double sum = 0;
  int terms = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (expected[i] < 8) continue;
    sum += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
    ++terms;
  }
  return (sum - (terms - 1)) / std::sqrt(2.0 * std::max(1, terms - 1));
}

inline std::vector<double> counts_of(const Tensor& draws, int64_t classes) {
  return bincount(flatten(draws).to(i64), classes).to_vector<double>();
}

}  // namespace tenrec::testing
