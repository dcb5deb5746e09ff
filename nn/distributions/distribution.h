// Probability distributions, with the names and conventions of torch.distributions.
//
//   const distributions::Normal posterior(mean, scale);
//   const Tensor z = posterior.rsample();                                 // on the tape: gradients reach mean and
//   scale const Tensor kl = sum(kl_divergence(posterior, distributions::Normal(0, 1)), {.dim = -1});
//
// Parameters are tensors or numbers; they broadcast to the batch shape, and each of its elements is a distribution of
// its own. A draw has the shape sample_shape + batch_shape + event_shape; log_prob takes values that broadcast to that
// and sums over the event. Outside the support log_prob is -inf. Draws are functions of the generator's state alone.
//
// ValueError for parameters out of range. This is checked where the parameters lie on the CPU: on a device a check
// would wait for it, and there only shapes and dtypes are looked at.
#pragma once

#include <initializer_list>
#include <type_traits>
#include <vector>

#include "tenrec/core/random.h"
#include "tenrec/core/tensor.h"

namespace tenrec::distributions {

class Distribution {
 public:
  virtual ~Distribution() = default;

  const Shape& batch_shape() const { return batch_shape_; }
  // The last dimensions that are drawn together: one of MultivariateNormal, none of the others.
  const Shape& event_shape() const { return event_shape_; }
  const char* name() const { return name_; }
  bool has_rsample() const { return has_rsample_; }

  // Off the tape.
  Tensor sample(const Shape& sample_shape = {}, Generator* generator = nullptr) const;
  // A differentiable function of the parameters and of noise that does not depend on them. ValueError if there is none.
  Tensor rsample(const Shape& sample_shape = {}, Generator* generator = nullptr) const;

  virtual Tensor log_prob(const Tensor& value) const = 0;
  // ValueError where it has no closed form (Poisson).
  virtual Tensor entropy() const;
  // NaN where they do not exist.
  virtual Tensor mean() const = 0;
  virtual Tensor variance() const = 0;

 protected:
  Distribution(const char* name, bool has_rsample) : name_(name), has_rsample_(has_rsample) {}
  Distribution(const Distribution&) = default;
  Distribution(Distribution&&) = default;
  Distribution& operator=(const Distribution&) = default;
  Distribution& operator=(Distribution&&) = default;
  void set_shapes(const Shape& batch, const Shape& event = {});
  // A draw of this shape, of which the last dimensions are batch and event.
  virtual Tensor draw(const Shape& shape, Generator* generator) const = 0;

 private:
  Tensor draw_for(const Shape& sample_shape, Generator* generator) const;

  const char* name_;
  bool has_rsample_;
  Shape batch_shape_, event_shape_;
};

// A tensor, or a number that takes the dtype and device of the tensors beside it (f32 and the default device if there
// are none).
struct Parameter {
  Parameter(const Tensor& t) : tensor(t) {}  // NOLINT(google-explicit-constructor)
  template <class T>
  requires std::is_arithmetic_v<T> Parameter(T v) : number(double(v)) {}  // NOLINT(google-explicit-constructor)

  Tensor tensor = {};
  double number = 0;
};

// Probabilities in [0, 1] or their logits; one of the two.
struct Odds {
  Tensor probs = {}, logits = {};
};

namespace detail {

// All as tensors at the shape they broadcast to together, in one floating dtype. DTypeError, DeviceError, ShapeError.
std::vector<Tensor> broadcast_parameters(const char* name, std::initializer_list<Parameter> parameters);
// ValueError "NAME: RULE" unless every element holds; only on the CPU. NaN does not hold.
using Holds = Tensor (*)(const Tensor&);
void check_parameter(const char* name, const char* rule, const Tensor& x, Holds holds);
Tensor is_positive(const Tensor& x);
Tensor is_number(const Tensor& x);  // not NaN
// New noise of a draw in x's dtype and on its device.
Tensor uniform_noise(const Tensor& x, const Shape& shape, Generator* generator);
Tensor normal_noise(const Tensor& x, const Shape& shape, Generator* generator);
Tensor exponential_noise(const Tensor& x, const Shape& shape, Generator* generator);
// value where `inside`, -inf elsewhere.
Tensor inside_or_never(const Tensor& inside, const Tensor& log_prob);

}  // namespace detail
}  // namespace tenrec::distributions
