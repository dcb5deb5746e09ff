#include "tenrec/autograd/ops/index.h"

#include <algorithm>

#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/kernels/index.h"

namespace tenrec {

using Indices = std::vector<Index>;
using Kind = Index::Kind;

namespace {

// --- the basic part: integers, slices, None, Ellipsis ----------------------------------------------------------------

// Dimensions of x that one entry uses up.
int64_t used_dims(const Index& i) {
  if (i.kind == Kind::tensor) return i.tensor.dtype() == boolean ? i.tensor.ndim() : 1;
  return i.kind == Kind::integer || i.kind == Kind::slice;
}

// What an Ellipsis stands for; checks the number of entries.
int64_t ellipsis_dims(const Tensor& x, const Indices& indices) {
  int64_t used = 0, ellipses = 0;
  for (const Index& i : indices) {
    if (i.kind == Kind::tensor && !i.tensor.defined()) fail<ValueError>("index: an index tensor is undefined");
    used += used_dims(i);
    ellipses += i.kind == Kind::ellipsis;
  }
  if (ellipses > 1) fail<IndexError>("index: more than one Ellipsis");
  if (used > x.ndim())
    fail<IndexError>("index: ", used, " dimensions are indexed, the tensor of shape ", x.shape(), " has ", x.ndim());
  return x.ndim() - used;
}

// A tensor among the indices, and the dimensions of `base` that it replaces.
struct Picker {
  Tensor tensor;
  int64_t dim, dims;
};

struct Parts {
  Tensor base;  // x with the basic part applied: a view
  std::vector<Picker> pickers;
};

Tensor slice_dim(const Tensor& x, int64_t dim, const Slice& s) {
  if (s.step <= 0) fail<ValueError>("index: the step of a slice must be positive, got ", s.step);
  if (!s.start && !s.stop && s.step == 1) return x;
  return slice(x, dim, s.start.value_or(0), s.stop.value_or(INT64_MAX), s.step);
}

Tensor select_dim(const Tensor& x, int64_t dim, int64_t i, int64_t original) {
  const int64_t size = x.shape()[dim];
  if (i < -size || i >= size)
    fail<IndexError>("index: index ", i, " is out of range for dimension ", original, " of size ", size);
  return select(x, dim, i);
}

Parts apply_basic(const Tensor& x, const Indices& indices) {
  const int64_t hidden = ellipsis_dims(x, indices);
  Parts parts{x, {}};
  int64_t dim = 0, original = 0;  // in base, in x
  for (const Index& i : indices) {
    switch (i.kind) {
      case Kind::integer:
        parts.base = select_dim(parts.base, dim, i.integer, original);
        break;
      case Kind::slice:
        parts.base = slice_dim(parts.base, dim++, i.slice);
        break;
      case Kind::none:
        parts.base = unsqueeze(parts.base, dim++);
        break;
      case Kind::ellipsis:
        dim += hidden;
        original += hidden;
        break;
      case Kind::tensor: {
        int64_t dims = used_dims(i);
        if (dims == 0) {  // a 0-d mask keeps or drops a new dimension
          parts.base = unsqueeze(parts.base, dim);
          dims = 1;
        }
        parts.pickers.push_back({i.tensor, dim, dims});
        dim += dims;
        break;
      }
    }
    original += used_dims(i);
  }
  return parts;
}

// --- the tensors among the indices -----------------------------------------------------------------------------------

// Where the picked dimensions stand: base, permuted so that they are neighbours, is [before.., picked.., after..].
struct Plan {
  Shape order;          // of base's dimensions; empty if they are neighbours already
  Shape before, after;  // sizes
  int64_t n = 1;        // product of the picked sizes
  Shape picked;         // what replaces them
  Tensor rows;          // contiguous i64, flat, in [0, n)
};

void check_mask(const Tensor& base, const Picker& p) {
  for (int64_t d = 0; d < p.tensor.ndim(); ++d)
    if (p.tensor.shape()[d] != base.shape()[p.dim + d])
      fail<IndexError>("index: a mask of shape ", p.tensor.shape(), " does not fit dimensions ", p.dim, " on of shape ",
                       base.shape());
}

// The indices of one picker into its dimensions taken as one, checked: i64, maybe negative.
Tensor flat_index(const Tensor& base, const Picker& p) {
  detail::check_same_device("index", base, p.tensor);
  if (p.tensor.dtype() == boolean) {
    check_mask(base, p);
    return detail::true_positions(p.tensor);
  }
  const Tensor t = detail::as_index("index", p.tensor);
  const int64_t size = base.shape()[p.dim];
  detail::check_index("index", t, {.kind = detail::IndexRule::Kind::picker, .low = -size, .high = size, .dim = p.dim});
  return t;
}

Plan make_plan(const Parts& parts) {
  const Tensor& base = parts.base;
  Plan plan;
  std::vector<Tensor> flat;
  uint32_t used = 0;
  bool neighbours = true;
  for (size_t i = 0; i < parts.pickers.size(); ++i) {
    const Picker& p = parts.pickers[i];
    flat.push_back(flat_index(base, p));
    plan.picked = broadcast_shapes("index", plan.picked, flat.back().shape());
    if (i > 0) neighbours &= p.dim == parts.pickers[i - 1].dim + parts.pickers[i - 1].dims;
    for (int64_t d = p.dim; d < p.dim + p.dims; ++d) {
      used |= 1u << d;
      plan.order.push_back(d);
    }
  }
  const int64_t first = parts.pickers[0].dim;
  for (int64_t d = 0; d < base.ndim(); ++d) {
    if ((used >> d) & 1) continue;
    (neighbours && d < first ? plan.before : plan.after).push_back(base.shape()[d]);
    plan.order.push_back(d);
  }
  if (neighbours) plan.order = {};
  plan.rows = empty({checked_numel(plan.picked)}, {.dtype = i64, .device = base.device()});
  for (size_t i = 0; i < flat.size(); ++i) {
    int64_t size = 1;
    for (int64_t d = 0; d < parts.pickers[i].dims; ++d) size *= base.shape()[parts.pickers[i].dim + d];
    const Tensor all = contiguous(expand(flat[i], plan.picked));
    dispatch("index", base.device(),
             [&](auto device) { kernels::combine_rows(device, view(all), size, i == 0, view(plan.rows)); });
    plan.n *= size;
  }
  return plan;
}

// base as [outer, n, inner].
Tensor stacked(const Tensor& base, const Plan& plan) {
  const Tensor ordered = plan.order.empty() ? base : permute(base, plan.order);
  return reshape(ordered, {checked_numel(plan.before), plan.n, checked_numel(plan.after)});
}

Shape result_shape(const Plan& plan) {
  Shape shape = plan.before;
  for (const int64_t size : plan.picked) shape.push_back(size);
  for (const int64_t size : plan.after) shape.push_back(size);
  return shape;
}

// Back from [outer, n, inner] to base's own order.
Tensor unstacked(const Tensor& y, const Tensor& base, const Plan& plan) {
  if (plan.order.empty()) return reshape(y, base.shape());
  Shape ordered = plan.order, inverse = plan.order;
  for (int64_t i = 0; i < base.ndim(); ++i) {
    ordered[i] = base.shape()[plan.order[i]];
    inverse[plan.order[i]] = i;
  }
  return permute(reshape(y, ordered), inverse);
}

// --- putting --------------------------------------------------------------------------------------------------------

// x with the region that the basic indices name replaced.
Tensor put_region(const Tensor& x, const Indices& basic, const Tensor& value) {
  const Tensor y = clone(x.detach());
  copy_(apply_basic(y, basic).base, value.detach());
  return record("put_region", {x, value}, y, save_none, [basic](const Saved&, const Tensor& dy, Needs needs) {
    Tensor dx;
    if (needs[0]) dx = put_region(dy, basic, zeros({}, {.dtype = dy.dtype(), .device = dy.device()}));
    return Grads{dx, needs[1] ? apply_basic(dy, basic).base : Tensor()};
  });
}

// The basic entries, with what a tensor picks taken whole.
Indices basic_part(const Indices& indices) {
  Indices basic;
  for (const Index& i : indices) {
    if (i.kind != Kind::tensor)
      basic.push_back(i);
    else if (used_dims(i) == 0)
      basic.emplace_back(None);
    else
      basic.insert(basic.end(), size_t(used_dims(i)), Slice{});
  }
  return basic;
}

bool is_whole(const Indices& basic) {
  for (const Index& i : basic) {
    const bool trivial =
        i.kind == Kind::ellipsis || (i.kind == Kind::slice && !i.slice.start && !i.slice.stop && i.slice.step == 1);
    if (!trivial) return false;
  }
  return true;
}

void check_value(const Tensor& x, const Tensor& value, const Shape& place) {
  detail::check_same_device("index_put", x, value);
  if (!detail::broadcasts_to(value.shape(), place))
    fail<ShapeError>("index_put: a value of shape ", value.shape(), " does not broadcast to the place of shape ",
                     place);
}

// The part of x that is indexed, with the values put in or added.
Tensor put_picked(const Tensor& base, const Plan& plan, const Tensor& value, bool accumulate) {
  const Shape place = result_shape(plan);
  const Tensor rows3 =
      reshape(expand(value, place), {checked_numel(plan.before), plan.rows.numel(), checked_numel(plan.after)});
  const Tensor base3 = stacked(base, plan);
  return unstacked(accumulate ? base3 + detail::add_rows("add_rows", rows3, plan.rows, plan.n)
                              : detail::put_rows(base3, plan.rows, rows3),
                   base, plan);
}

}  // namespace

Tensor index(const Tensor& x, const Indices& indices) {
  const Parts parts = apply_basic(x, indices);
  if (parts.pickers.empty()) return parts.base;
  const Plan plan = make_plan(parts);
  return reshape(detail::take_rows("index", stacked(parts.base, plan), plan.rows), result_shape(plan));
}

Tensor index_put(const Tensor& x, const Indices& indices, const Tensor& value, bool accumulate) {
  const Tensor v = value.to(x.dtype());
  const Parts parts = apply_basic(x, indices);
  Tensor changed;
  if (parts.pickers.empty()) {
    check_value(x, v, parts.base.shape());
    changed = accumulate ? parts.base + v : expand(v, parts.base.shape());
  } else {
    const Plan plan = make_plan(parts);
    check_value(x, v, result_shape(plan));
    changed = put_picked(parts.base, plan, v, accumulate);
  }
  const Indices basic = basic_part(indices);
  if (is_whole(basic)) return changed.impl().storage == value.impl().storage ? clone(changed) : changed;
  return put_region(x, basic, changed);
}

Tensor index_put(const Tensor& x, const Indices& indices, Scalar value, bool accumulate) {
  return index_put(x, indices, full({}, value, {.dtype = x.dtype(), .device = x.device()}), accumulate);
}

const Tensor& index_put_(const Tensor& x, const Indices& indices, const Tensor& value, bool accumulate) {
  detail::check_mutation("index_put_", x, "x = index_put(x, indices, value)");
  const NoGrad off;
  const Tensor v = value.detach().to(x.dtype());
  const Parts parts = apply_basic(x.detach(), indices);
  if (parts.pickers.empty()) {
    check_value(x, v, parts.base.shape());
    copy_(parts.base, accumulate ? parts.base + v : v);
    return x;
  }
  const Plan plan = make_plan(parts);
  check_value(x, v, result_shape(plan));
  const Tensor place = stacked(parts.base, plan);
  // Rows that can be written where they lie are; `v` is copied first if it is a view of x.
  if (place.impl().storage == x.impl().storage && place.is_contiguous()) {
    const Shape shape{place.shape()[0], plan.rows.numel(), place.shape()[2]};
    const Tensor expanded = reshape(expand(v, result_shape(plan)), shape);
    const bool apart = expanded.impl().storage != x.impl().storage && expanded.is_contiguous();
    const Tensor from = apart ? expanded : clone(expanded);
    const bool narrow_sum = accumulate && (x.dtype() == bf16 || x.dtype() == f16);
    if (!narrow_sum) {
      dispatch("index_put_", x.device(), [&](auto device) {
        if (accumulate)
          kernels::add_rows(device, view(from), view(plan.rows), view(place), -1);
        else
          kernels::put_rows(device, view(from), view(plan.rows), view(place));
      });
      detail::bump_version(x);
      return x;
    }
  }
  copy_(parts.base, put_picked(parts.base, plan, v, accumulate));
  return x;
}

const Tensor& index_put_(const Tensor& x, const Indices& indices, Scalar value, bool accumulate) {
  return index_put_(x, indices, full({}, value, {.dtype = x.dtype(), .device = x.device()}), accumulate);
}

// --- masks ----------------------------------------------------------------------------------------------------------

namespace {

void check_bool(const char* op, const Tensor& x, const Tensor& mask) {
  detail::check_same_device(op, x, mask);
  if (mask.dtype() != boolean) fail<DTypeError>(op, ": the mask must be bool, got ", mask.dtype());
}

}  // namespace

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  check_bool("masked_select", x, mask);
  const Shape shape = broadcast_shapes("masked_select", x.shape(), mask.shape());
  const Tensor rows = detail::true_positions(expand(mask, shape));
  const Tensor flat = reshape(expand(x, shape), {1, checked_numel(shape), 1});
  return reshape(detail::take_rows("masked_select", flat, rows), {rows.numel()});
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value) {
  check_bool("masked_fill", x, mask);
  if (value.ndim() != 0) fail<ShapeError>("masked_fill: the value must be 0-d, got shape ", value.shape());
  return where(mask, value.to(x.dtype()), x);
}
Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value) {
  return masked_fill(x, mask, full({}, value, {.dtype = x.dtype(), .device = x.device()}));
}

Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source) {
  check_bool("masked_scatter", x, mask);
  if (source.dtype() != x.dtype())
    fail<DTypeError>("masked_scatter: source is ", source.dtype(), ", x is ", x.dtype(), "; they must agree");
  const Shape shape = broadcast_shapes("masked_scatter", x.shape(), mask.shape());
  const Tensor rows = detail::true_positions(expand(mask, shape));
  if (source.numel() < rows.numel())
    fail<ShapeError>("masked_scatter: the mask has ", rows.numel(), " true elements, source only ", source.numel());
  const Tensor values = narrow(reshape(source, {1, source.numel(), 1}), 1, 0, rows.numel());
  const Tensor flat = reshape(expand(x, shape), {1, checked_numel(shape), 1});
  return reshape(detail::put_rows(flat, rows, values), shape);
}

Tensor nonzero(const Tensor& x) {
  const Tensor positions = detail::true_positions(x);
  Tensor y = empty({positions.numel(), x.ndim()}, {.dtype = i64, .device = x.device()});
  dispatch("nonzero", x.device(), [&](auto device) { kernels::unravel(device, view(positions), x.shape(), view(y)); });
  return record("nonzero", {x}, std::move(y), not_differentiable);
}

std::vector<Tensor> where(const Tensor& condition) {
  const Tensor all = nonzero(condition.ndim() ? condition : reshape(condition, {1}));
  std::vector<Tensor> out;
  for (int64_t d = 0; d < all.shape()[1]; ++d) out.push_back(contiguous(select(all, 1, d)));
  return out;
}

Tensor one_hot(const Tensor& index, int64_t classes) {
  const Tensor labels = detail::as_index("one_hot", index);
  if (classes < -1 || classes == 0) fail<ValueError>("one_hot: expected at least one class, got ", classes);
  if (classes == -1) {
    if (labels.numel() == 0) fail<ValueError>("one_hot: an empty tensor does not say how many classes there are");
    classes = std::max<int64_t>(amax(labels).item<int64_t>(), 0) + 1;
  }
  detail::check_index("one_hot", labels, {.low = 0, .high = classes});
  Shape shape = index.shape();
  shape.push_back(classes);
  Tensor y = empty(shape, {.dtype = i64, .device = index.device()});
  dispatch("one_hot", index.device(), [&](auto device) { kernels::one_hot(device, view(labels), view(y)); });
  return record("one_hot", {index}, std::move(y), not_differentiable);
}

}  // namespace tenrec
