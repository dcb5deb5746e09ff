#include "tenrec/autograd/ops/loss.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/activation.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/loss.h"

namespace tenrec {

using kernels::PairLoss;

namespace {

Tensor reduced(const Tensor& losses, Reduction reduction) {
  return reduction == Reduction::none ? losses : reduction == Reduction::sum ? sum(losses) : mean(losses);
}

// d loss / d target where the kernel knows only the input's derivative: that of the composed form.
template <class Composed>
Tensor target_grad(const Composed& composed, const Saved& s, const Cotangents& dys) {
  const EnableGrad enable;
  return composed_vjp([&](std::span<const Tensor> inputs) { return std::vector<Tensor>{composed(inputs)}; }, s, dys,
                      Needs(uint64_t(2)))[1]
      .detach();
}

// Records a loss of two operands of one shape and dtype. `mirrored`: the target's gradient is the input's with the
// other sign.
template <class Composed>
Tensor fused(const char* name, PairLoss loss, double parameter, const Tensor& input, const Tensor& target,
             Reduction reduction, bool mirrored, const Composed& each) {
  const double scale = reduction == Reduction::mean ? 1 / double(input.numel()) : 1;
  Tensor y = detail::empty_of(reduction == Reduction::none ? input.shape() : Shape{}, input.dtype(), input.device());
  const Tensor a = detail::contiguous_data(input), b = detail::contiguous_data(target);
  dispatch(name, a.device(), [&](auto device) {
    if (reduction == Reduction::none)
      kernels::loss_each(device, loss, parameter, view(a), view(b), view(y));
    else
      kernels::loss_sum(device, loss, parameter, view(a), view(b), scale, view(y));
  });
  const auto composed = [each, reduction](std::span<const Tensor> inputs) {
    return reduced(each(inputs[0], inputs[1]), reduction);
  };
  const auto gradient = [=](const Saved& s, const Cotangents& dys, Needs needs) {
    Tensor da, db;
    if (needs[0] || mirrored) {
      const Tensor v = detail::contiguous_data(s.input(0)), w = detail::contiguous_data(s.input(1));
      const Tensor dy = detail::contiguous_data(dys[0]);
      da = empty_like(v);
      dispatch(name, da.device(), [&](auto device) {
        kernels::loss_grad(device, loss, parameter, view(v), view(w), view(dy), scale, view(da));
      });
    }
    if (needs[1]) db = mirrored ? neg(da) : target_grad(composed, s, dys);
    return Grads{needs[0] ? da : Tensor(), db};
  };
  return record(name, {input, target}, std::move(y), save_inputs, fused_rule(gradient, composed));
}

void check_operands(const char* name, const Tensor& input, const Tensor& target) {
  detail::check_floating(name, input);
  detail::check_floating(name, target);
  detail::check_same_device(name, input, target);
}
void check_same_shape(const char* name, const Tensor& input, const Tensor& target) {
  check_operands(name, input, target);
  if (input.shape() != target.shape())
    fail<ShapeError>(name, ": input ", input.shape(), " and target ", target.shape(), " must have one shape");
}

// Fused where both operands are alike, else composed: `each` gives the losses.
template <class Each>
Tensor pair_loss(const char* name, PairLoss loss, double parameter, const Tensor& input, const Tensor& target,
                 Reduction reduction, bool mirrored, const Each& each) {
  check_operands(name, input, target);
  if (input.shape() == target.shape() && input.dtype() == target.dtype())
    return fused(name, loss, parameter, input, target, reduction, mirrored, each);
  broadcast_shapes(name, input.shape(), target.shape());
  return reduced(each(input, target), reduction);
}

// |d| made of d with the derivative of the loss at 0 left to `abs`.
Tensor smooth(const Tensor& d, double bound, double factor, double slope) {
  const Tensor magnitude = abs(d);
  return where(lt(magnitude, bound), square(d) * factor, (magnitude - bound / 2) * slope);
}

}  // namespace

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(mse_loss, input, target, reduction);
  return pair_loss("mse_loss", PairLoss::squared, 0, input, target, reduction, true,
                   [](const Tensor& a, const Tensor& b) { return square(a - b); });
}

Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(l1_loss, input, target, reduction);
  return pair_loss("l1_loss", PairLoss::absolute, 0, input, target, reduction, true,
                   [](const Tensor& a, const Tensor& b) { return abs(a - b); });
}

Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, Reduction reduction, double beta) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(smooth_l1_loss, input, target, reduction, beta);
  if (!(beta >= 0)) fail<ValueError>("smooth_l1_loss: beta must not be negative, got ", beta);
  if (beta == 0) return l1_loss(input, target, reduction);
  return pair_loss("smooth_l1_loss", PairLoss::smooth_l1, beta, input, target, reduction, true,
                   [beta](const Tensor& a, const Tensor& b) { return smooth(a - b, beta, 0.5 / beta, 1); });
}

Tensor huber_loss(const Tensor& input, const Tensor& target, Reduction reduction, double delta) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(huber_loss, input, target, reduction, delta);
  if (!(delta > 0)) fail<ValueError>("huber_loss: delta must be positive, got ", delta);
  return pair_loss("huber_loss", PairLoss::huber, delta, input, target, reduction, true,
                   [delta](const Tensor& a, const Tensor& b) { return smooth(a - b, delta, 0.5, delta); });
}

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const BceOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(binary_cross_entropy, input, target, options);
  check_same_shape("binary_cross_entropy", input, target);
  const auto each = [](const Tensor& p, const Tensor& t) {
    return (t - 1) * clamp_min(log1p(-p), -100) - t * clamp_min(log(p), -100);
  };
  if (!options.weight.defined())
    return pair_loss("binary_cross_entropy", PairLoss::bce, 0, input, target, options.reduction, false, each);
  const Tensor losses =
      pair_loss("binary_cross_entropy", PairLoss::bce, 0, input, target, Reduction::none, false, each);
  return reduced(losses * options.weight, options.reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                        const BceWithLogitsOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(binary_cross_entropy_with_logits, input, target, options);
  const char* name = "binary_cross_entropy_with_logits";
  check_same_shape(name, input, target);
  const auto each = [](const Tensor& x, const Tensor& t) { return (1 - t) * x - logsigmoid(x); };
  if (!options.weight.defined() && !options.pos_weight.defined())
    return pair_loss(name, PairLoss::bce_logits, 0, input, target, options.reduction, false, each);
  Tensor losses;
  if (options.pos_weight.defined()) {
    const Tensor share = (options.pos_weight - 1) * target + 1;
    losses = (1 - target) * input - share * logsigmoid(input);
  } else {
    losses = pair_loss(name, PairLoss::bce_logits, 0, input, target, Reduction::none, false, each);
  }
  return reduced(options.weight.defined() ? losses * options.weight : losses, options.reduction);
}

Tensor kl_div(const Tensor& input, const Tensor& target, const KlDivOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(kl_div, input, target, options);
  const bool log_target = options.log_target;
  return pair_loss(
      "kl_div", log_target ? PairLoss::kl_log : PairLoss::kl, 0, input, target, options.reduction, false,
      [log_target](const Tensor& x, const Tensor& t) { return log_target ? exp(t) * (t - x) : xlogy(t, t) - t * x; });
}

}  // namespace tenrec
