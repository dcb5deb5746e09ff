// What each optimizer does to one element, or to a pack of them: the same lines for both back ends, so that they round
// alike. Internal.
//
// An update is made from the step's numbers, T being the type of arithmetic, and is called with the parameter, the
// gradient and up to three state values, which it changes; it returns the new parameter.
#pragma once

#include "tenrec/kernels/optim.h"
#include "tenrec/kernels/pack.h"

namespace tenrec::kernels {

// What an update touches; it says so where it is not all.
struct Touches {
  static constexpr bool kReadsParam = true, kWritesParam = true, kWritesState = true;
};

template <class T>
struct SgdUpdate : Touches {
  static constexpr int kStates = 0;
  T lr, weight_decay;
  bool decay;
  explicit SgdUpdate(const SgdStep& s) : lr(T(s.lr)), weight_decay(T(s.weight_decay)), decay(s.weight_decay != 0) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P*) const {
    if (decay) g = g + P(weight_decay) * p;
    return p - P(lr) * g;
  }
};

template <class T>
struct SgdMomentumUpdate : Touches {
  static constexpr int kStates = 1;
  T lr, weight_decay, momentum, taken;
  bool decay, nesterov, first;
  explicit SgdMomentumUpdate(const SgdStep& s)
      : lr(T(s.lr)),
        weight_decay(T(s.weight_decay)),
        momentum(T(s.momentum)),
        taken(T(1 - s.dampening)),
        decay(s.weight_decay != 0),
        nesterov(s.nesterov),
        first(s.first) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    if (decay) g = g + P(weight_decay) * p;
    P& buffer = state[0];
    buffer = first ? g : P(momentum) * buffer + P(taken) * g;
    g = nesterov ? g + P(momentum) * buffer : buffer;
    return p - P(lr) * g;
  }
};

// Exponential averages of the gradient and of its square, as all of Adam's family keeps them. Weight decay goes into
// the gradient, or takes its part of the parameter where it is decoupled.
template <class T>
struct Moments {
  T keep, weight_decay, beta2, mean_share, square_share;
  bool decay;
  template <class Step>
  Moments(const Step& s, bool decoupled)
      : keep(T(decoupled ? 1 - s.lr * s.weight_decay : 1)),
        weight_decay(T(s.weight_decay)),
        beta2(T(s.beta2)),
        mean_share(T(1 - s.beta1)),
        square_share(T(1 - s.beta2)),
        decay(!decoupled && s.weight_decay != 0) {}
  // Returns the gradient with its decay.
  template <class P>
  TENREC_INLINE P add(P p, P g, P& mean, P& square) const {
    if (decay) g = g + P(weight_decay) * p;
    mean = fma(g - mean, P(mean_share), mean);
    square = fma(g * g, P(square_share), P(beta2) * square);
    return g;
  }
};

template <class T>
struct AdamUpdate : Touches {
  static constexpr int kStates = 2;
  Moments<T> moments;
  T step, root, eps;
  explicit AdamUpdate(const AdamStep& s)
      : moments(s, s.decoupled),
        step(T(s.lr / s.bias_correction1)),
        root(T(1 / sqrt(s.bias_correction2))),
        eps(T(s.eps)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    moments.add(p, g, state[0], state[1]);
    const P denominator = fma(sqrt(state[1]), P(root), P(eps));
    return p * P(moments.keep) - P(step) * (state[0] / denominator);
  }
};

// AMSGrad: Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.
template <class T>
struct AmsgradUpdate : Touches {
  static constexpr int kStates = 3;
  AdamUpdate<T> adam;
  explicit AmsgradUpdate(const AdamStep& s) : adam(s) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    adam.moments.add(p, g, state[0], state[1]);
    state[2] = max(state[2], state[1]);
    const P denominator = fma(sqrt(state[2]), P(adam.root), P(adam.eps));
    return p * P(adam.moments.keep) - P(adam.step) * (state[0] / denominator);
  }
};

template <class T>
struct RmspropUpdate : Touches {
  static constexpr int kStates = 3;
  T lr, weight_decay, alpha, share, eps, momentum;
  bool decay, centered, moving;
  explicit RmspropUpdate(const RmspropStep& s)
      : lr(T(s.lr)),
        weight_decay(T(s.weight_decay)),
        alpha(T(s.alpha)),
        share(T(1 - s.alpha)),
        eps(T(s.eps)),
        momentum(T(s.momentum)),
        decay(s.weight_decay != 0),
        centered(s.centered),
        moving(s.momentum > 0) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    if (decay) g = g + P(weight_decay) * p;
    P& square = state[0];
    square = P(alpha) * square + P(share) * (g * g);
    P variance = square;
    if (centered) {
      P& mean = state[2];
      mean = mean + P(share) * (g - mean);
      variance = square - mean * mean;
    }
    P update = g / (sqrt(variance) + P(eps));
    if (moving) {
      P& buffer = state[1];
      buffer = P(momentum) * buffer + update;
      update = buffer;
    }
    return p - P(lr) * update;
  }
};

template <class T>
struct AdagradUpdate : Touches {
  static constexpr int kStates = 1;
  T lr, weight_decay, eps;
  bool decay;
  explicit AdagradUpdate(const AdagradStep& s)
      : lr(T(s.lr)), weight_decay(T(s.weight_decay)), eps(T(s.eps)), decay(s.weight_decay != 0) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    if (decay) g = g + P(weight_decay) * p;
    P& sum = state[0];
    sum = sum + g * g;
    return p - P(lr) * (g / (sqrt(sum) + P(eps)));
  }
};

template <class T>
struct NadamUpdate : Touches {
  static constexpr int kStates = 2;
  Moments<T> moments;
  T grad_rate, mean_rate, root, eps;
  explicit NadamUpdate(const NadamStep& s)
      : moments(s, s.decoupled),
        grad_rate(T(s.grad_rate)),
        mean_rate(T(s.mean_rate)),
        root(T(1 / sqrt(s.bias_correction2))),
        eps(T(s.eps)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    g = moments.add(p, g, state[0], state[1]);
    const P denominator = fma(sqrt(state[1]), P(root), P(eps));
    return p * P(moments.keep) - fma(g, P(grad_rate), P(mean_rate) * state[0]) / denominator;
  }
};

template <class T>
struct RadamUpdate : Touches {
  static constexpr int kStates = 2;
  Moments<T> moments;
  T step, adaptive, eps;
  bool rectified;
  explicit RadamUpdate(const RadamStep& s)
      : moments(s, s.decoupled),
        step(T(s.lr / s.bias_correction1)),
        adaptive(T(sqrt(s.bias_correction2) * s.rectification)),
        eps(T(s.eps)),
        rectified(s.rectification > 0) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    moments.add(p, g, state[0], state[1]);
    P update = P(step) * state[0];
    if (rectified) update = update * (P(adaptive) / (sqrt(state[1]) + P(eps)));
    return p * P(moments.keep) - update;
  }
};

template <class T>
struct AdamaxUpdate : Touches {
  static constexpr int kStates = 2;
  T step, weight_decay, mean_share, beta2, eps;
  bool decay;
  explicit AdamaxUpdate(const AdamaxStep& s)
      : step(T(s.lr / s.bias_correction1)),
        weight_decay(T(s.weight_decay)),
        mean_share(T(1 - s.beta1)),
        beta2(T(s.beta2)),
        eps(T(s.eps)),
        decay(s.weight_decay != 0) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    if (decay) g = g + P(weight_decay) * p;
    P& mean = state[0];
    P& norm = state[1];
    mean = fma(g - mean, P(mean_share), mean);
    norm = max(P(beta2) * norm, abs(g) + P(eps));
    return p - P(step) * (mean / norm);
  }
};

template <class T>
struct AdadeltaUpdate : Touches {
  static constexpr int kStates = 2;
  T lr, weight_decay, rho, share, eps;
  bool decay;
  explicit AdadeltaUpdate(const AdadeltaStep& s)
      : lr(T(s.lr)),
        weight_decay(T(s.weight_decay)),
        rho(T(s.rho)),
        share(T(1 - s.rho)),
        eps(T(s.eps)),
        decay(s.weight_decay != 0) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    if (decay) g = g + P(weight_decay) * p;
    P& square = state[0];
    P& changes = state[1];
    square = fma(g * g, P(share), P(rho) * square);
    const P delta = sqrt(changes + P(eps)) / sqrt(square + P(eps)) * g;
    changes = fma(delta * delta, P(share), P(rho) * changes);
    return p - P(lr) * delta;
  }
};

// A product of gradients that is zero or NaN changes no step size; a NaN gradient moves nothing, as in PyTorch.
template <class T>
struct RpropUpdate : Touches {
  static constexpr int kStates = 2;
  T eta_minus, eta_plus, step_min, step_max;
  explicit RpropUpdate(const RpropStep& s)
      : eta_minus(T(s.eta_minus)), eta_plus(T(s.eta_plus)), step_min(T(s.step_min)), step_max(T(s.step_max)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    P& before = state[0];
    P& size = state[1];
    const P product = g * before, zero(T(0));
    const auto turned = product < zero;
    size = size * select(product > zero, P(eta_plus), select(turned, P(eta_minus), P(T(1))));
    size = min(max(size, P(step_min)), P(step_max));
    g = select(turned, zero, g);
    before = g;
    return p - select(g > zero, size, select(g < zero, -size, zero));
  }
};

// A NaN stays one: the sign of the paper's framework has it so, and it shows.
template <class T>
struct LionUpdate : Touches {
  static constexpr int kStates = 1;
  T lr, keep, update_share, share;
  explicit LionUpdate(const LionStep& s)
      : lr(T(s.lr)), keep(T(1 - s.lr * s.weight_decay)), update_share(T(1 - s.beta1)), share(T(1 - s.beta2)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P* state) const {
    P& mean = state[0];
    const P direction = fma(g - mean, P(update_share), mean), zero(T(0));
    mean = fma(g - mean, P(share), mean);
    return p * P(keep) - select(direction > zero, P(lr), select(direction < zero, P(-lr), direction));
  }
};

// The direction of LAMB, before its length is known. The second pass finds the moments as the first has left them.
template <class T>
struct LambDirection {
  Moments<T> moments;
  T scale, root, eps, weight_decay;
  explicit LambDirection(const LambStep& s)
      : moments(s, true),
        scale(T(1 / s.bias_correction1)),
        root(T(1 / sqrt(s.bias_correction2))),
        eps(T(s.eps)),
        weight_decay(T(s.weight_decay)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P mean, P square) const {
    return P(scale) * mean / fma(sqrt(square), P(root), P(eps)) + P(weight_decay) * p;
  }
};

// What a step of LAMB is multiplied by. You et al., "Large batch optimization for deep learning", 2020, algorithm 2;
// where either norm is zero the step is as it is, as in the authors' code.
struct LambRatio {
  double lr, phi_min, phi_max;
  explicit LambRatio(const LambStep& s) : lr(s.lr), phi_min(s.phi_min), phi_max(s.phi_max) {}
  TENREC_HD double operator()(double param_squares, double direction_squares) const {
    const double norm = sqrt(param_squares), length = sqrt(direction_squares);
    if (norm == 0 || length == 0) return lr;
    return lr * (min(max(norm, phi_min), phi_max) / length);
  }
};

// The second pass of LAMB.
template <class T>
struct LambUpdate : Touches {
  static constexpr int kStates = 2;
  static constexpr bool kWritesState = false;
  LambDirection<T> direction;
  T rate;
  TENREC_HD LambUpdate(const LambDirection<T>& d, double r) : direction(d), rate(T(r)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P, P* state) const {
    return p - P(rate) * direction(p, state[0], state[1]);
  }
};

template <class T>
struct MuonUpdate : Touches {
  static constexpr int kStates = 1;
  static constexpr bool kReadsParam = false;
  T momentum, share;
  bool nesterov;
  explicit MuonUpdate(const MuonStep& s) : momentum(T(s.momentum)), share(T(1 - s.momentum)), nesterov(s.nesterov) {}
  template <class P>
  TENREC_INLINE P operator()(P, P g, P* state) const {
    P& buffer = state[0];
    buffer = fma(g - buffer, P(share), buffer);
    return nesterov ? fma(buffer - g, P(momentum), g) : buffer;
  }
};

template <class T>
struct DescentUpdate : Touches {
  static constexpr int kStates = 0;
  T rate, keep;
  explicit DescentUpdate(const DescentStep& s) : rate(T(s.rate)), keep(T(s.keep)) {}
  template <class P>
  TENREC_INLINE P operator()(P p, P g, P*) const {
    return p * P(keep) - P(rate) * g;
  }
};

// A share of 1 takes the value over, bit for bit.
template <class T>
struct AverageUpdate : Touches {
  static constexpr int kStates = 1;
  static constexpr bool kReadsParam = false, kWritesParam = false;
  T share;
  explicit AverageUpdate(const AverageStep& s) : share(T(s.share)) {}
  template <class P>
  TENREC_INLINE P operator()(P, P g, P* state) const {
    state[0] = share == T(1) ? g : fma(g - state[0], P(share), state[0]);
    return g;
  }
};

}  // namespace tenrec::kernels
