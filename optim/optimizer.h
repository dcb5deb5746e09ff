// What all optimizers share: parameter groups, state, saving and loading.
//
//   Adam optimizer(parameters(net), {.lr = 1e-3});
//   optimizer.zero_grad(); backward(loss); optimizer.step();
//
// State belongs to the optimizer and is found by the parameter's position; parameters are handles, so a model that
// moves to another device takes its parameters' headers along and nothing goes stale.
//
// A step takes gradients as they are, as PyTorch's does: it does not look whether they are finite, which on a device
// would mean to wait. A NaN shows in the parameters that it belongs to (Rprop alone moves nothing by it). GradScaler
// skips such a step, and clip_grad_norm_ with error_if_nonfinite refuses it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tenrec/core/tensor.h"
#include "tenrec/kernels/optim.h"
#include "tenrec/nn/module.h"

namespace tenrec {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Updates every parameter that has a gradient, under no-grad. A captured step (autograd/capture.h) does it again for
  // each replay, with the learning rates of that time.
  void step();
  // Calls closure (which clears gradients, computes the loss and goes backward), then updates. Returns the loss.
  Tensor step(const std::function<Tensor()>& closure);
  void zero_grad();

  // Of all groups, in the order in which they were added.
  std::vector<Tensor> parameters() const;
  virtual size_t group_count() const = 0;
  virtual double lr(size_t group = 0) const = 0;
  virtual void set_lr(double lr, size_t group = 0) = 0;

  // State tensors and counters by name ("3.momentum", "3.step", "group0.lr"); numbers as 0-d f64 tensors.
  virtual std::vector<NamedTensor> state_dict() const;
  // ValueError or ShapeError if the state belongs to other parameters; nothing is changed then.
  virtual void load_state_dict(const std::vector<NamedTensor>& state);

 protected:
  struct Slot {
    Tensor param;
    size_t group = 0;
    int64_t steps = 0;
    Tensor state[3] = {};
    double number = 1;  // state of a method that keeps one for each parameter, on the host
  };

  // What step does. In a captured step all that it launches must be launched by kernels of kernels/optim.h.
  virtual void update() = 0;
  // number_name: of each slot's number in the state, if the method has one.
  explicit Optimizer(std::vector<const char*> state_names, const char* number_name = nullptr)
      : state_names_(std::move(state_names)), number_name_(number_name) {}
  void add_parameters(const std::vector<Tensor>& params, size_t group);
  // Makes state `k` of a slot on first use, filled with `value`: of the parameter's shape, f32 for 16-bit parameters.
  void ensure_state(Slot& slot, int k, double value = 0);
  // Tensors that are stepped in one call: on one device, of one dtype, with this step their `steps`-th and equal
  // numbers.
  struct Batch {
    Device device;
    DType dtype = f32;
    int64_t steps = 0;
    double number = 1;
    std::span<const kernels::OptimTensor> tensors;
    std::span<Slot* const> slots;
  };
  // Counts a step for each slot of `group` with a gradient and calls update for each batch of them, in order. `states`
  // are made first.
  void for_each_batch(size_t group, std::initializer_list<int> states, double initial,
                      const std::function<void(const Batch&)>& update);

  // The slots of a group whose parameters have a gradient.
  std::vector<Slot*> slots_with_gradient(size_t group);

  std::vector<Slot> slots_;

 private:
  std::vector<const char*> state_names_;
  const char* number_name_;
};

// Groups with options of their own.
template <class Options>
class GroupedOptimizer : public Optimizer {
 public:
  using Group = std::pair<std::vector<Tensor>, Options>;
  size_t group_count() const override { return options_.size(); }
  double lr(size_t group = 0) const override { return options_.at(group).lr; }
  void set_lr(double lr, size_t group = 0) override { options_.at(group).lr = lr; }
  const Options& options(size_t group = 0) const { return options_.at(group); }
  Options& options(size_t group = 0) { return options_.at(group); }
  // Adds a group later; its state starts fresh.
  void add_group(const std::vector<Tensor>& params, const Options& options) {
    check_options(options);
    check_parameters(params);
    add_parameters(params, options_.size());
    options_.push_back(options);
  }

 protected:
  using Optimizer::Optimizer;
  virtual void check_options(const Options& options) const = 0;
  // For methods that do not take every shape.
  virtual void check_parameters(const std::vector<Tensor>&) const {}
  std::vector<Options> options_;
};

namespace detail {
// Throws ValueError "SGD: lr must not be negative, got -1" unless `ok`.
void check_option(bool ok, const char* optimizer, const char* rule, double value);
}  // namespace detail

}  // namespace tenrec
