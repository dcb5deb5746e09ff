// Dynamic loss scaling for f16, whose small gradients would vanish (bf16 has f32's range and needs none).
//
//   GradScaler scaler;
//   {
//     const Autocast scope(f16);
//     loss = cross_entropy(net(x), y);
//   }
//   optimizer.zero_grad();
//   backward(scaler.scale(loss));
//   scaler.step(optimizer);  // skipped if a gradient is not finite
//   scaler.update();
//
// The scale is halved after a skipped step and doubled after growth_interval steps without one. Names and defaults are
// torch.amp.GradScaler's. P. Micikevicius et al., "Mixed precision training" (2018), section 3.2.
#pragma once

#include <cstdint>
#include <vector>

#include "tenrec/optim/optimizer.h"

namespace tenrec {

struct GradScalerOptions {
  double init_scale = 65536;
  double growth_factor = 2;
  double backoff_factor = 0.5;
  int64_t growth_interval = 2000;
  bool enabled = true;  // false: scale and step do nothing beyond the loss and the step themselves, update nothing
};

class GradScaler {
 public:
  // ValueError unless init_scale > 0, growth_factor > 1, 0 < backoff_factor < 1 and growth_interval >= 1.
  explicit GradScaler(const GradScalerOptions& options = {});

  // The loss times the scale, in f32 if it is bf16 or f16.
  Tensor scale(const Tensor& loss) const;
  // Divides the gradients by the scale, for who wants to clip them before `step`. ValueError if it was done since the
  // last update, DTypeError for 16-bit gradients: the parameters must be f32 (or f64).
  void unscale_(Optimizer& optimizer);
  // Unscales if that was not done, then steps the optimizer if all its gradients are finite. True if it did. ValueError
  // if it was called since the last update.
  bool step(Optimizer& optimizer);
  // Sets the scale for the next iteration. ValueError if no optimizer was unscaled or stepped since the last time.
  void update();

  double get_scale() const { return options_.enabled ? scale_ : 1; }
  int64_t growth_tracker() const { return growth_tracker_; }  // steps since the scale last changed
  const GradScalerOptions& options() const { return options_; }
  bool is_enabled() const { return options_.enabled; }

  // "scale", "growth_factor", "backoff_factor", "growth_interval" and "_growth_tracker" as 0-d f64 tensors; nothing if
  // it is not enabled.
  std::vector<NamedTensor> state_dict() const;
  // ValueError if something is missing or no such number, or if either is not enabled; nothing is changed then.
  void load_state_dict(const std::vector<NamedTensor>& state);

 private:
  // What was done to an optimizer since the last update.
  struct Progress {
    const Optimizer* optimizer;
    bool stepped = false;
    bool found_inf = false;
  };
  Progress* find(const Optimizer& optimizer);
  Progress& unscale(Optimizer& optimizer);

  GradScalerOptions options_;
  double scale_;
  int64_t growth_tracker_ = 0;
  std::vector<Progress> progress_;
};

}  // namespace tenrec
