// Averages of a model's weights over training, which generalise better than the last ones: EMA and SWA.
//
//   EMA ema(net, {.decay = 0.999});
//   ... optimizer.step(); ema.update();
//   {
//     const AverageScope scope(ema);  // net has the averages here
//     evaluate(net);
//   }
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/nn/module.h"
#include "tenrec/nn/norm.h"

namespace tenrec {

// What the two have in common. The model must live as long; it may be moved and cast. Averages of 16-bit weights are
// kept in f32, where small steps are not lost; integers are not averaged, the last ones are kept.
class WeightAverage {
 public:
  virtual ~WeightAverage() = default;
  WeightAverage(const WeightAverage&) = delete;
  WeightAverage& operator=(const WeightAverage&) = delete;

  // Takes the model's weights into the average; the first time they are the average. Call after the optimizer's step.
  // A captured step (autograd/capture.h) does it again for each replay. ValueError while the averages are applied.
  void update();
  int64_t updates() const { return updates_; }

  // The model gets the averages; its own weights are kept until `restore` brings them back, bit for bit. Before the
  // first update the averages are the weights at construction. ValueError if that was done before.
  void apply();
  void restore();
  bool applied() const { return !kept_.empty(); }

  // The averages under the model's names: load_state_dict(copy, average.values()).
  std::vector<NamedTensor> values() const;
  // values() as "average.NAME", and "updates".
  std::vector<NamedTensor> state_dict() const;
  // ValueError or ShapeError if the state belongs to another model; nothing is changed then.
  void load_state_dict(const std::vector<NamedTensor>& state);

 protected:
  WeightAverage(const char* name, Module& model, bool use_buffers);
  // Of the model's weights in the average, at the (updates + 1)-th update after the first.
  virtual double share(int64_t updates) const = 0;

 private:
  struct Entry {
    std::string name;
    Tensor live, average;
    bool averaged;  // else the last value is kept
  };
  void move();

  const char* name_;
  std::vector<Entry> entries_;
  std::vector<Tensor> kept_;
  int64_t updates_ = 0;
};

struct EMAOptions {
  double decay = 0.999;
  bool warmup = false;      // a decay of at most (1 + updates) / (10 + updates), so that the first weights fade
  bool use_buffers = true;  // else the last buffers are kept
};

// Exponential moving average: average = decay * average + (1 - decay) * weights. Polyak and Juditsky, "Acceleration of
// stochastic approximation by averaging", 1992; the warm-up is TensorFlow's. Without it and for parameters this is
// PyTorch's AveragedModel with get_ema_multi_avg_fn.
class EMA final : public WeightAverage {
 public:
  // ValueError unless 0 <= decay <= 1.
  explicit EMA(Module& model, const EMAOptions& options = {});

 private:
  double share(int64_t updates) const override;
  EMAOptions options_;
};

struct SWAOptions {
  bool use_buffers = false;  // else the last buffers are kept: see update_batch_norm
};

// Stochastic weight averaging: the mean of all weights that `update` was called for, at the end of late epochs say.
// Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018; PyTorch's AveragedModel.
class SWA final : public WeightAverage {
 public:
  explicit SWA(Module& model, const SWAOptions& options = {});

 private:
  double share(int64_t updates) const override { return 1 / double(updates + 1); }
};

// The model has the averages while this lives.
class AverageScope {
 public:
  explicit AverageScope(WeightAverage& average) : average_(average) { average_.apply(); }
  ~AverageScope() { average_.restore(); }
  AverageScope(const AverageScope&) = delete;
  AverageScope& operator=(const AverageScope&) = delete;

 private:
  WeightAverage& average_;
};

namespace detail {
// Batch norms of a model while their statistics are measured: in training, without the tape, averaging all batches
// alike. Everything but the statistics is put back at the end.
class BatchNormPass {
 public:
  explicit BatchNormPass(Module& model);
  ~BatchNormPass();
  BatchNormPass(const BatchNormPass&) = delete;
  BatchNormPass& operator=(const BatchNormPass&) = delete;
  bool empty() const { return layers_.empty(); }
  // Before each batch.
  void next();

 private:
  NoGrad off_;
  Module& model_;
  std::vector<std::pair<Module*, bool>> modes_;  // of all modules, parents first
  std::vector<BatchNorm*> layers_;
  std::vector<double> momenta_;
  int64_t batches_ = 0;
};
}  // namespace detail

// Averaged weights see other statistics than any of the averaged ones: this measures the running mean and variance of
// all batch norms anew, as the mean over `batches` (whatever a range-for goes over, a loader say), for each of which
// forward(batch) is to call the model. As PyTorch's update_bn.
//
//   update_batch_norm(net, loader, [&](const Example& batch) { net(batch.input()); });
template <class Batches, class Forward>
void update_batch_norm(Module& model, Batches&& batches, Forward&& forward) {
  detail::BatchNormPass pass(model);
  if (pass.empty()) return;
  for (auto&& batch : batches) {
    pass.next();
    forward(batch);
  }
}

}  // namespace tenrec
