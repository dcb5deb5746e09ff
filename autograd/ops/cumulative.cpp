#include "tenrec/autograd/ops/cumulative.h"

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/scan.h"

namespace tenrec {

namespace {

Tensor empty_scan(const Tensor& x, DType dtype) { return empty(x.shape(), {.dtype = dtype, .device = x.device()}); }
DType summed(DType dtype) { return is_floating(dtype) ? dtype : i64; }

// The scan of an associative op in log2 n steps of whole tensors (W. D. Hillis and G. L. Steele, "Data parallel
// algorithms", 1986): how a scan is composed of ops when its gradient is to be differentiated.
template <class Op>
Tensor scan_by_doubling(Tensor y, int64_t dim, Op op) {
  if (y.ndim() == 0) return y;
  const int64_t n = y.shape()[dim];
  for (int64_t step = 1; step < n; step *= 2)
    y = cat({narrow(y, dim, 0, step), op(narrow(y, dim, 0, n - step), narrow(y, dim, step, n - step))}, dim);
  return y;
}

}  // namespace

Tensor cumsum(const Tensor& x, int64_t dim, bool reverse) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(cumsum, x, dim, reverse);
  dim = check_dim("cumsum", x.shape(), dim);
  Tensor y = empty_scan(x, summed(x.dtype()));
  dispatch("cumsum", x.device(), [&](auto device) { kernels::cumsum(device, view(x), view(y), dim, reverse); });
  return record("cumsum", {x}, std::move(y), save_none,
                [dim, reverse](const Saved&, const Tensor& dy, Needs) { return Grads{cumsum(dy, dim, !reverse)}; });
}

Tensor cumprod(const Tensor& x, int64_t dim) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(cumprod, x, dim);
  dim = check_dim("cumprod", x.shape(), dim);
  Tensor y = empty_scan(x, summed(x.dtype()));
  dispatch("cumprod", x.device(), [&](auto device) { kernels::cumprod(device, view(x), view(y), dim); });
  return record("cumprod", {x}, std::move(y), save_inputs,
                fused_rule(
                    [dim](const Saved& s, const Cotangents& dys, Needs) {
                      const Tensor input = s.input(), dy = dys[0];
                      Tensor dx = empty_scan(input, input.dtype());
                      dispatch("cumprod_grad", dx.device(), [&](auto device) {
                        kernels::cumprod_grad(device, view(input), view(dy), view(dx), dim);
                      });
                      return Grads{dx};
                    },
                    [dim](std::span<const Tensor> inputs) {
                      return scan_by_doubling(inputs[0], dim, [](const Tensor& a, const Tensor& b) { return a * b; });
                    }));
}

Tensor logcumsumexp(const Tensor& x, int64_t dim) {
  dim = check_dim("logcumsumexp", x.shape(), dim);
  detail::check_floating("logcumsumexp", x);
  Tensor y = empty_scan(x, x.dtype());
  dispatch("logcumsumexp", x.device(), [&](auto device) { kernels::logcumsumexp(device, view(x), view(y), dim); });
  return record("logcumsumexp", {x}, std::move(y), save_both,
                fused_rule(
                    [dim](const Saved& s, const Cotangents& dys, Needs) {
                      const Tensor input = s.input(), output = s.output(), dy = dys[0];
                      Tensor dx = empty_scan(input, input.dtype());
                      dispatch("logcumsumexp_grad", dx.device(), [&](auto device) {
                        kernels::logcumsumexp_grad(device, view(input), view(output), view(dy), view(dx), dim);
                      });
                      return Grads{dx};
                    },
                    [dim](std::span<const Tensor> inputs) { return scan_by_doubling(inputs[0], dim, logaddexp); }));
}

namespace {

ValuesAndIndices cumulative_extreme(const char* name, bool largest, const Tensor& x, int64_t dim) {
  dim = check_dim(name, x.shape(), dim);
  std::vector<Tensor> outputs{empty_scan(x, x.dtype()), empty_scan(x, i64)};
  dispatch(name, x.device(), [&](auto device) {
    kernels::cumextreme(device, largest, view(x), view(outputs[0]), view(outputs[1]), dim);
  });
  outputs =
      record(name, {x}, std::move(outputs), save_output_at(1), [dim](const Saved& s, const Cotangents& dys, Needs) {
        if (dys[0].ndim() == 0) return Grads{dys[0]};
        return Grads{scatter_add(zeros_like(dys[0]), dim, s.output(1), dys[0])};
      });
  return {outputs[0], outputs[1]};
}

}  // namespace

ValuesAndIndices cummax(const Tensor& x, int64_t dim) { return cumulative_extreme("cummax", true, x, dim); }
ValuesAndIndices cummin(const Tensor& x, int64_t dim) { return cumulative_extreme("cummin", false, x, dim); }

}  // namespace tenrec
