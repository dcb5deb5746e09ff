#include "tenrec/autograd/ops/attention.h"

#include <cmath>
#include <limits>

#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/random.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/attention.h"

namespace tenrec {
namespace {

constexpr const char* kName = "scaled_dot_product_attention";

DType accumulator(DType dtype) { return dtype == f64 ? f64 : f32; }

// [batch, heads, rows, width] with a last stride of 1, for kernels: outside the tape, copied only if need be.
Tensor as_heads(const Tensor& x) {
  Tensor t = x.detach();
  if (t.ndim() > 4) {
    const Shape& s = t.shape();
    const int64_t n = t.ndim(), heads = s[n - 3], rows = s[n - 2], width = s[n - 1];
    int64_t batch = 1;
    for (int64_t d = 0; d < n - 3; ++d) batch *= s[d];
    t = reshape(contiguous(t), {batch, heads, rows, width});
  }
  while (t.ndim() < 4) t = unsqueeze(t, 0);
  return t.shape()[3] <= 1 || t.strides()[3] == 1 ? t : contiguous(t);
}

// Room for a result of `shape`: where the heads of `like` lie beside each other, so do its own.
Tensor empty_beside(const Tensor& like, Shape shape) {
  const int64_t n = shape.ndim();
  if (n < 3 || like.strides()[n - 3] >= like.strides()[n - 2])
    return detail::empty_of(shape, like.dtype(), like.device());
  std::swap(shape[n - 3], shape[n - 2]);
  return transpose(detail::empty_of(shape, like.dtype(), like.device()), n - 3, n - 2);
}

struct Attend {
  kernels::Attention what;
  Tensor mask;  // boolean or as it was given; undefined for none
  Tensor seen;  // the mask as the kernels read it: [batch, heads, queries, keys]
  Tensor lse;   // [batch, heads, queries]

  // Runs f(what), with the mask in place.
  template <class F>
  void run(const Tensor& q, const F& f) const {
    dispatch(kName, q.device(), [&](auto device) {
      kernels::Attention a = what;
      View view;
      if (seen.defined()) {
        view = tenrec::view(seen);
        a.mask = &view;
      }
      f(device, a);
    });
  }

  void forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y) const {
    run(q, [&](auto device, const kernels::Attention& a) {
      kernels::attention(device, a, view(q), view(k), view(v), view(y), view(lse));
    });
  }
  // All as_heads; the gradients that are undefined are not computed.
  void backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y, const Tensor& dy, const Tensor& dq,
                const Tensor& dk, const Tensor& dv) const {
    run(q, [&](auto device, const kernels::Attention& a) {
      View views[3];
      const View* given[3] = {};
      const Tensor* grads[3] = {&dq, &dk, &dv};
      for (int i = 0; i < 3; ++i)
        if (grads[i]->defined()) {
          views[i] = view(*grads[i]);
          given[i] = &views[i];
        }
      kernels::attention_grad(device, a, view(q), view(k), view(v), view(y), view(lse), view(dy),
                              {given[0], given[1], given[2]});
    });
  }

  // The same with the matrix, in ops. `added` is the floating mask, undefined if there is none.
  Tensor composed(Tensor q, Tensor k, Tensor v, const Tensor& added) const {
    const DType dtype = q.dtype(), wide = accumulator(dtype);
    q = q.to(wide), k = k.to(wide), v = v.to(wide);
    const int64_t heads = q.ndim() < 3 ? 1 : q.shape()[q.ndim() - 3];
    const int64_t key_heads = k.ndim() < 3 ? 1 : k.shape()[k.ndim() - 3];
    if (heads != key_heads) {
      k = repeat_interleave(k, heads / key_heads, -3);
      v = repeat_interleave(v, heads / key_heads, -3);
    }
    const int64_t queries = q.shape()[q.ndim() - 2], keys = k.shape()[k.ndim() - 2];
    Tensor scores = matmul(q, t(k)) * what.scale;
    if (keys == 0) return matmul(scores, v).to(dtype);
    if (added.defined()) scores = scores + added.to(wide);
    constexpr double none = -std::numeric_limits<double>::infinity();
    if (mask.defined() && mask.dtype() == boolean) scores = masked_fill(scores, logical_not(mask), none);
    if (what.causal) {
      const TensorOptions here{.dtype = i64, .device = q.device()};
      const Tensor last = unsqueeze(arange(queries, here), -1) + what.offset;
      scores = masked_fill(scores, arange(keys, here) > last, none);
    }
    // As softmax, but for rows of -inf alone, which become zeros.
    const Tensor most = amax(scores.detach(), {.dim = -1, .keepdim = true});
    const Tensor e = exp(scores - masked_fill(most, eq(most, none), 0.0));
    const Tensor total = sum(e, {.dim = -1, .keepdim = true});
    Tensor p = e / masked_fill(total, eq(total, 0.0), 1.0);
    if (what.dropout > 0) {
      Generator again;
      again.set_state(what.key);
      p = p * dropout(ones_like(p.detach()), what.dropout, true, &again);
    }
    return matmul(p, v).to(dtype);
  }
  Tensor composed(std::span<const Tensor> in) const {
    return composed(in[0], in[1], in[2], in.size() > 3 ? in[3] : Tensor());
  }

  // The gradients by way of the matrix, when nothing is recorded.
  Grads through_matrix(const Saved& s, const Tensor& dy, Needs needs) const {
    const EnableGrad on;
    std::vector<Tensor> inputs, wanted;
    for (int i = 0; i < int(s.node().inputs); ++i) {
      inputs.push_back(s.input(i).detach());
      if (!needs[size_t(i)]) continue;
      inputs.back().set_requires_grad(true);
      wanted.push_back(inputs.back());
    }
    std::vector<Tensor> found = grad(std::vector<Tensor>{composed(inputs)}, wanted, std::vector<Tensor>{dy}),
                        grads(inputs.size());
    for (size_t i = 0, next = 0; i < inputs.size(); ++i)
      if (needs[i]) grads[i] = found[next++];
    return Grads(std::move(grads));
  }
};

void check_mask(const Tensor& mask, const Shape& scores, const Tensor& q) {
  if (!mask.defined()) return;
  detail::check_same_device(kName, q, mask);
  if (mask.dtype() != boolean && !is_floating(mask.dtype()))
    fail<DTypeError>(kName, ": the mask must be boolean or floating, got ", mask.dtype());
  bool fits = mask.ndim() <= scores.ndim();
  for (int64_t d = 1; fits && d <= mask.ndim(); ++d) {
    const int64_t size = mask.shape()[mask.ndim() - d];
    fits = size == 1 || size == scores[scores.ndim() - d];
  }
  if (!fits)
    fail<ShapeError>(kName, ": a mask of shape ", mask.shape(), " does not broadcast to the scores' shape ", scores);
}

// What the options say for q, k and v of these sizes.
Attend make_attend(const Tensor& q, int64_t keys, const AttentionOptions& options) {
  if (!(options.dropout >= 0 && options.dropout < 1))
    fail<ValueError>(kName, ": dropout must lie in [0, 1), got ", options.dropout);
  const int64_t n = q.ndim(), width = q.shape()[n - 1];
  Shape scores = q.shape();
  scores[n - 1] = keys;
  check_mask(options.mask, scores, q);
  Attend attend;
  attend.what.scale = options.scale ? *options.scale : 1 / std::sqrt(double(std::max<int64_t>(1, width)));
  attend.what.causal = options.causal;
  attend.what.offset = options.causal_offset;
  attend.what.dropout = options.dropout;
  if (options.dropout > 0) attend.what.key = (options.generator ? *options.generator : default_generator()).next();
  attend.mask = options.mask;
  if (options.mask.defined()) {
    const NoGrad off;
    Tensor mask = options.mask.detach();
    if (mask.dtype() != boolean) mask = mask.to(accumulator(q.dtype()));
    mask = expand(mask, scores);
    if (n > 4) mask = contiguous(mask);
    while (mask.ndim() < 4) mask = unsqueeze(mask, 0);
    attend.seen = n > 4 ? reshape(mask, {-1, scores[n - 3], scores[n - 2], keys}) : mask;
  }
  return attend;
}

void check_operands(const Tensor& q, const Tensor& k, const Tensor& v) {
  detail::check_floating(kName, q);
  detail::check_same_device(kName, q, k);
  detail::check_same_device(kName, q, v);
  if (k.dtype() != q.dtype() || v.dtype() != q.dtype())
    fail<DTypeError>(kName, ": queries, keys and values must have one dtype, got ", q.dtype(), ", ", k.dtype(), " and ",
                     v.dtype());
  const int64_t n = q.ndim();
  bool fits = n >= 2 && k.ndim() == n && v.ndim() == n;
  for (int64_t d = 0; fits && d < n - 1; ++d) {
    fits = k.shape()[d] == v.shape()[d];
    if (d < n - 3) fits = fits && q.shape()[d] == k.shape()[d];
    if (d == n - 3) fits = fits && k.shape()[d] > 0 && q.shape()[d] % k.shape()[d] == 0;
  }
  if (!fits || q.shape()[n - 1] != k.shape()[n - 1])
    fail<ShapeError>(kName,
                     ": needs q [..., heads, queries, width], k [..., key heads, keys, width] and v [..., key "
                     "heads, keys, out] with heads a multiple of key heads, got ",
                     q.shape(), ", ", k.shape(), " and ", v.shape());
}

template <class Device>
bool too_wide(Device device, int64_t width) {
  return width > kernels::attention_most_width(device);
}
// Whether the device's kernels leave these widths to the composition.
bool needs_matrix(const Tensor& q, int64_t out) {
  const int64_t width = std::max(q.shape()[q.ndim() - 1], out);
  return q.device().is_cuda() ? too_wide(Cuda{}, width) : too_wide(Cpu{}, width);
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(scaled_dot_product_attention, q, k, v, options);
  check_operands(q, k, v);
  const int64_t n = q.ndim();
  Attend attend = make_attend(q, k.shape()[n - 2], options);
  const Tensor added = options.mask.defined() && options.mask.dtype() != boolean ? options.mask : Tensor();
  if (needs_matrix(q, v.shape()[n - 1])) return attend.composed(q, k, v, added);
  Shape shape = q.shape();
  shape[n - 1] = v.shape()[n - 1];
  Tensor y;
  {
    const NoGrad off;
    const Tensor qs = as_heads(q), ks = as_heads(k), vs = as_heads(v);
    y = empty_beside(q, shape);
    attend.lse = detail::empty_of({qs.shape()[0], qs.shape()[1], qs.shape()[2]}, accumulator(q.dtype()), q.device());
    // as_heads of an output is a view of it unless there are more dimensions, whose result is contiguous.
    if (n > 4) y = detail::empty_of(shape, q.dtype(), q.device());
    attend.forward(qs, ks, vs, as_heads(y));
  }
  std::vector<TensorRef> inputs{q, k, v};
  if (added.defined()) inputs.push_back(added);
  return record(kName, std::span<const TensorRef>(inputs), std::move(y), save_both,
                fused_rule(
                    [attend](const Saved& s, const Cotangents& dys, Needs needs) {
                      const Tensor dy = dys[0];
                      if (s.node().inputs > 3 && needs[3]) return attend.through_matrix(s, dy, needs);
                      std::vector<Tensor> grads(s.node().inputs);
                      Tensor heads[3];
                      for (int i = 0; i < 3; ++i) {
                        if (!needs[size_t(i)]) continue;
                        const Tensor x = s.input(i);
                        grads[size_t(i)] = x.ndim() > 4 ? detail::empty_of(x.shape(), x.dtype(), x.device())
                                                        : empty_beside(x, x.shape());
                        heads[i] = as_heads(grads[size_t(i)]);
                      }
                      attend.backward(as_heads(s.input(0)), as_heads(s.input(1)), as_heads(s.input(2)),
                                      as_heads(s.output()), as_heads(dy), heads[0], heads[1], heads[2]);
                      return Grads(std::move(grads));
                    },
                    [attend](std::span<const Tensor> in) { return attend.composed(in); }));
}

namespace {

// The parts of qkv, and of its gradient, as [batch, heads, positions, width].
struct Parts {
  int64_t heads, key_heads, width;

  Tensor part(const Tensor& qkv, int64_t first, int64_t count) const {
    Tensor x = narrow(qkv, -1, first * width, count * width);
    if (x.ndim() == 2) x = unsqueeze(x, 0);
    return transpose(reshape(x, {x.shape()[0], x.shape()[1], count, width}), 1, 2);
  }
  Tensor q(const Tensor& qkv) const { return part(qkv, 0, heads); }
  Tensor k(const Tensor& qkv) const { return part(qkv, heads, key_heads); }
  Tensor v(const Tensor& qkv) const { return part(qkv, heads + key_heads, key_heads); }
  // [..., positions, heads width] as [batch, heads, positions, width].
  Tensor split(const Tensor& y) const { return part(y, 0, heads); }
};

}  // namespace

Tensor self_attention(const Tensor& qkv, int64_t heads, const AttentionOptions& options, int64_t key_heads) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_low(self_attention, qkv, heads, options, key_heads);
  const char* op = "self_attention";
  if (key_heads == 0) key_heads = heads;
  detail::check_floating(op, qkv);
  const int64_t n = qkv.ndim();
  if (heads < 1 || key_heads < 1 || heads % key_heads)
    fail<ValueError>(op, ": heads must be a multiple of key_heads, got ", heads, " and ", key_heads);
  if (n < 2 || n > 3 || qkv.shape()[n - 1] % (heads + 2 * key_heads))
    fail<ShapeError>(op, ": needs qkv [positions, (heads + 2 key_heads) width] or [batch, ...] for ", heads, " and ",
                     key_heads, " heads, got ", qkv.shape());
  const Parts parts{heads, key_heads, qkv.shape()[n - 1] / (heads + 2 * key_heads)};
  Tensor y;
  Attend attend;
  {
    const NoGrad off;
    const Tensor from = detail::contiguous_data(qkv.detach()), q = parts.q(from);
    const bool differentiable_mask = options.mask.defined() && options.mask.requires_grad();
    if (!differentiable_mask && !needs_matrix(q, parts.width)) {
      attend = make_attend(q, q.shape()[2], options);
      Shape shape = qkv.shape();
      shape[n - 1] = heads * parts.width;
      y = detail::empty_of(shape, qkv.dtype(), qkv.device());
      attend.lse = detail::empty_of({q.shape()[0], heads, q.shape()[2]}, accumulator(q.dtype()), q.device());
      attend.forward(q, parts.k(from), parts.v(from), parts.split(y));
    }
  }
  if (!y.defined()) {
    y = scaled_dot_product_attention(parts.q(qkv), parts.k(qkv), parts.v(qkv), options);
    Shape shape = qkv.shape();
    shape[n - 1] = heads * parts.width;
    return reshape(transpose(y, 1, 2), shape);
  }
  return record(op, {qkv}, std::move(y), save_both,
                fused_rule(
                    [attend, parts](const Saved& s, const Cotangents& dys, Needs) {
                      const Tensor from = detail::contiguous_data(s.input()), dy = detail::contiguous_data(dys[0]);
                      const Tensor d = empty_like(from);
                      attend.backward(parts.q(from), parts.k(from), parts.v(from), parts.split(s.output()),
                                      parts.split(dy), parts.q(d), parts.k(d), parts.v(d));
                      return Grads{d};
                    },
                    [attend, parts](std::span<const Tensor> in) {
                      const Tensor& x = in[0];
                      const Tensor added =
                          attend.mask.defined() && attend.mask.dtype() != boolean ? attend.mask : Tensor();
                      const Tensor made = attend.composed(parts.q(x), parts.k(x), parts.v(x), added);
                      Shape shape = x.shape();
                      shape[x.ndim() - 1] = parts.heads * parts.width;
                      return reshape(transpose(made, 1, 2), shape);
                    }));
}

}  // namespace tenrec
