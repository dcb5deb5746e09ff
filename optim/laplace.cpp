#include "tenrec/optim/laplace.h"

#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/nn/dropout.h"

namespace tenrec {
namespace {

// Welford's update, so that draws need not be kept.
class Moments {
 public:
  void add(const Tensor& x) {
    ++count_;
    if (count_ == 1) {
      mean_ = clone(x);
      squares_ = zeros_like(x);
      return;
    }
    const Tensor away = x - mean_;
    mean_ = mean_ + away / double(count_);
    squares_ = squares_ + away * (x - mean_);
  }
  PredictiveMoments result() const { return {mean_, squares_ / double(count_ - 1)}; }

 private:
  Tensor mean_, squares_;
  int64_t count_ = 0;
};

void check_samples(const char* what, int64_t samples) {
  if (samples < 2) fail<ValueError>(what, ": expected at least 2 samples, got ", samples);
}

class KeptParameters {
 public:
  explicit KeptParameters(const std::vector<Tensor>& params) : params_(params) {
    for (const Tensor& p : params) before_.push_back(clone(p.detach()));
  }
  ~KeptParameters() {
    const NoGrad off;
    for (size_t i = 0; i < params_.size(); ++i) copy_(params_[i], before_[i]);
  }
  KeptParameters(const KeptParameters&) = delete;
  KeptParameters& operator=(const KeptParameters&) = delete;

 private:
  const std::vector<Tensor>& params_;
  std::vector<Tensor> before_;
};

}  // namespace

LaplaceApproximation::LaplaceApproximation(const Closure& loss, const std::vector<Tensor>& params) : params_(params) {
  precision_ = hessian(loss, params).detach().to(f64);
  const NoGrad off;
  loss_ = loss().item<double>();
  mean_ = clone(parameters_to_vector(params)).to(f64);
  factor_ = cholesky(precision_);
}

Tensor LaplaceApproximation::covariance() const {
  const NoGrad off;
  const Tensor half = solve_triangular(factor_, eye(mean_.numel(), {.dtype = f64, .device = mean_.device()}));
  return matmul(transpose(half, 0, 1), half);
}

double LaplaceApproximation::log_evidence() const {
  constexpr double kLogTwoPi = 1.8378770664093453;
  const NoGrad off;
  return -loss_ + double(mean_.numel()) / 2 * kLogTwoPi - sum(log(tenrec::diagonal(factor_))).item<double>();
}

// With precision L L^T, L^-T times standard normal numbers.
Tensor LaplaceApproximation::sample(int64_t samples, Generator* generator) const {
  const NoGrad off;
  const Tensor noise = randn({mean_.numel(), samples}, {.dtype = f64, .device = mean_.device()}, generator);
  return transpose(solve_triangular(transpose(factor_, 0, 1), noise, {.upper = true}), 0, 1) + mean_;
}

PredictiveMoments LaplaceApproximation::predict(const Closure& f, int64_t samples, Generator* generator) const {
  check_samples("LaplaceApproximation", samples);
  const NoGrad off;
  const Tensor draws = sample(samples, generator);
  const KeptParameters kept(params_);
  Moments moments;
  for (int64_t i = 0; i < samples; ++i) {
    vector_to_parameters(draws[i], params_);
    moments.add(f());
  }
  return moments.result();
}

namespace {

class DropoutsAtWork : public Visitor {
 public:
  explicit DropoutsAtWork(Module& root) { start(root); }
  ~DropoutsAtWork() override {
    for (Dropout* layer : idle_) eval(*layer);
  }
  bool any() const { return any_; }

 private:
  void on_module(const std::string&, Module& module) override {
    auto* layer = dynamic_cast<Dropout*>(&module);
    if (!layer) return;
    any_ = true;
    if (layer->is_training()) return;
    train(*layer);
    idle_.push_back(layer);
  }
  bool any_ = false;
  std::vector<Dropout*> idle_;
};

}  // namespace

PredictiveMoments monte_carlo_dropout(Module& root, const Closure& f, int64_t samples) {
  check_samples("monte_carlo_dropout", samples);
  const NoGrad off;
  const DropoutsAtWork at_work(root);
  if (!at_work.any()) fail<ValueError>("monte_carlo_dropout: ", root.type_name(), " has no Dropout layer");
  Moments moments;
  for (int64_t i = 0; i < samples; ++i) moments.add(f());
  return moments.result();
}

}  // namespace tenrec
