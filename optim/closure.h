// Optimizers that ask for the loss themselves, as often as their method wants it.
//
//   LBFGS optimizer(parameters(net), {.line_search = LineSearch::strong_wolfe});
//   const StepResult result = optimizer.step([&] { return mse_loss(net(x), y); });
//   minimize(optimizer, closure, {.max_steps = 100});   // until it has converged or cannot go on
//
// The closure. It is called with recording on, computes the loss at the parameters as they are at that time and returns
// it: one element, on the tape (ShapeError, AutogradError). The optimizer clears nothing and needs no backward: it
// takes the gradient by `grad`, and `.grad` stays as it is. As in PyTorch a closure may clear the gradients and go
// backward itself, `optimizer.zero_grad(); backward(loss); return loss;`. Then LBFGS and ProjectedGradient read
// `.grad`, and what the closure did not clear is in it; methods with second derivatives, or those that add to the loss,
// need the graph that backward has freed: AutogradError. Least squares methods take a closure that returns the
// residuals, of any shape.
//
// Each call should compute the same function: no dropout, one batch. Between steps the batch may change.
//
// What is never done: a step to parameters, a loss or residuals that are not finite. It is refused, the parameters are
// those of the last point that was good, and the result says so. If the closure throws, the parameters and the state
// are those before the step.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tenrec/autograd/functional.h"
#include "tenrec/core/safetensors.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

enum class StepStatus {
  moved,        // the parameters are better; there may be more to gain
  converged,    // a tolerance is met
  no_progress,  // nothing the method tried is better
  nonfinite,    // what the method tried is not finite; see the message
};

struct StepResult {
  StepStatus status = StepStatus::moved;
  double loss = 0;           // at the parameters as they are now; half the sum of squares for residuals
  double first_loss = 0;     // where the step began
  double gradient_norm = 0;  // largest element of the last gradient that was taken
  int64_t iterations = 0;
  int64_t evaluations = 0;  // calls of the closure
  std::string message = {};
};

class ClosureOptimizer {
 public:
  virtual ~ClosureOptimizer() = default;
  ClosureOptimizer(const ClosureOptimizer&) = delete;
  ClosureOptimizer& operator=(const ClosureOptimizer&) = delete;

  StepResult step(const Closure& closure);
  void zero_grad();
  const std::vector<Tensor>& parameters() const { return params_; }

  // What the next step needs besides the parameters; numbers as 0-d f64 tensors. Loading: ValueError or ShapeError if
  // the state belongs to another optimizer or other parameters; nothing is changed then.
  virtual std::vector<NamedTensor> state_dict() const = 0;
  virtual void load_state_dict(const std::vector<NamedTensor>& state) = 0;

 protected:
  // Floating leaves on one device, contiguous, each once (ValueError, DeviceError).
  ClosureOptimizer(const char* name, const std::vector<Tensor>& params);
  // A step. May throw: `step` puts the parameters back. The state must be written at the end only.
  virtual StepResult advance(const Closure& closure) = 0;

  struct Evaluation {
    double value = 0;
    Tensor gradient = {};  // of all parameters, end to end
    double largest = 0;    // |element| of the gradient
    bool finite() const;
  };
  Evaluation evaluate(const Closure& closure);
  double value_of(const Closure& closure);
  // The closure, counted, and checked to return a loss or residuals whose graph is whole, to be differentiated on.
  enum class Returns { loss, residuals };
  Closure checked(const Closure& closure, Returns what = Returns::loss);

  // The parameters end to end, off the tape: f64 if one of them is, else f32; a copy.
  Tensor point() const;
  void move_to(const Tensor& point);
  int64_t size() const;
  Tensor flat(const std::vector<Tensor>& tensors) const;

  const char* name_;
  std::vector<Tensor> params_;
  int64_t evaluations_ = 0;  // of the step that runs
};

struct MinimizeOptions {
  int64_t max_steps = 1000;
};
// Steps until one does not end with `moved`. The result is that of the last step, but for first_loss, iterations and
// evaluations, which are those of all.
StepResult minimize(ClosureOptimizer& optimizer, const Closure& closure, const MinimizeOptions& options = {});

namespace detail {

// A state that is being loaded: every entry must be asked for once.
class SavedState {
 public:
  SavedState(const char* optimizer, const std::vector<NamedTensor>& entries)
      : optimizer_(optimizer), entries_(&entries), used_(entries.size()) {}
  double number(const std::string& name);
  bool has(const std::string& name) const;
  // A copy of `shape`; undefined if there is none.
  Tensor tensor(const std::string& name, const Shape& shape);
  // ValueError if an entry was not asked for.
  void finish() const;

 private:
  size_t find(const std::string& name) const;
  const char* optimizer_;
  const std::vector<NamedTensor>* entries_;
  std::vector<bool> used_;
};

NamedTensor saved_number(const char* name, double value);
double dot(const Tensor& a, const Tensor& b);
double max_abs(const Tensor& x);  // 0 of nothing; NaN if one is

}  // namespace detail

}  // namespace tenrec
