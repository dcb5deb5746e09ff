#include "tenrec/autograd/ops/softmax.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/softmax.h"

namespace tenrec {

namespace {

Tensor run(const char* name, const Tensor& x, int64_t dim, bool log) {
  detail::check_floating(name, x);
  Tensor y = empty_like(x);
  const Tensor rows = detail::contiguous_data(x);
  dispatch(name, x.device(), [&](auto device) { kernels::softmax(device, view(rows), view(y), dim, log); });
  return y;
}

// One pass while nothing is recorded; no rule is needed for it then.
Tensor grad_kernel(const Tensor& y, const Tensor& dy, int64_t dim, bool log) {
  Tensor dx = empty_like(y);
  const Tensor rows = detail::contiguous_data(dy);
  dispatch("softmax_grad", y.device(),
           [&](auto device) { kernels::softmax_grad(device, view(y), view(rows), view(dx), dim, log); });
  return dx;
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(softmax, x, dim);
  dim = check_dim("softmax", x.shape(), dim);
  return record("softmax", {x}, run("softmax", x, dim, false), save_output,
                [dim](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor y = s.output();
                  if (!grad_enabled()) return Grads{grad_kernel(y, dy, dim, false)};
                  return Grads{y * (dy - sum(dy * y, {.dim = dim, .keepdim = true}))};
                });
}

Tensor log_softmax(const Tensor& x, int64_t dim) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(log_softmax, x, dim);
  dim = check_dim("log_softmax", x.shape(), dim);
  return record("log_softmax", {x}, run("log_softmax", x, dim, true), save_output,
                [dim](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor y = s.output();
                  if (!grad_enabled()) return Grads{grad_kernel(y, dy, dim, true)};
                  return Grads{dy - exp(y) * sum(dy, {.dim = dim, .keepdim = true})};
                });
}

Tensor softmin(const Tensor& x, int64_t dim) { return softmax(neg(x), check_dim("softmin", x.shape(), dim)); }

}  // namespace tenrec
