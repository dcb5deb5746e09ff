// Solving with a matrix, and its inverse.
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/linalg_impl.h"
#include "tenrec/autograd/ops/matmul.h"

namespace tenrec {
namespace {

using namespace detail;

constexpr const char* kZeroPivot = "is singular: a pivot is 0";

// x at the given batch, or as it is if it stands for the whole batch alone.
Tensor to_batch(const Tensor& x, const Shape& batch, int64_t dims) {
  const Shape own = batch_of(x, dims);
  if (own == batch || checked_numel(own) == 1) return contiguous(x);
  Shape shape = batch;
  for (int64_t d = x.ndim() - dims; d < x.ndim(); ++d) shape.push_back(x.shape()[d]);
  return contiguous(expand(x, shape));
}

void check_fit(const char* op, const Tensor& a, const Tensor& b, int64_t size, const char* which) {
  check_same_dtype(op, a, b);
  check_same_device(op, a, b);
  if (b.ndim() < 2) fail<ShapeError>(op, ": the right-hand side must be a matrix, got a tensor of shape ", b.shape());
  if (size != rows_of(a))
    fail<ShapeError>(op, ": a right-hand side of shape ", b.shape(), " does not fit matrices of shape ", a.shape(),
                     ": its ", which, " must be ", rows_of(a));
}

// In place: x is b by columns (a row-major transpose), or, from the right, b row by row, for x a = b is a^T x^T = b^T.
void solve_triangular_in_place(const Tensor& a, const Tensor& x, const TriangularOptions& o) {
  // Row-major a is a^T by columns, which has its triangle on the other side.
  const kernels::Triangle triangle{.upper = !o.upper, .transposed = o.left, .unit = o.unitriangular};
  const kernels::Matrices s{x.dtype(), x.numel() / (rows_of(x) * cols_of(x)), cols_of(x), rows_of(x)};
  const bool shared = a.numel() == s.rows * s.rows;
  dispatch("solve_triangular", a.device(),
           [&](auto device) { kernels::solve_triangular(device, s, triangle, shared, view(a).data, view(x).data); });
}

Tensor solve_triangular_forward(const Tensor& a, const Tensor& b, const TriangularOptions& o) {
  const NoGrad off;
  const Shape batch = broadcast_shapes("solve_triangular", batch_of(a), batch_of(b));
  const Tensor wide = expand(b.detach(), with_dims(batch, {rows_of(b), cols_of(b)}));
  const Tensor x = o.left ? clone(t(wide)) : clone(wide);
  if (x.numel() > 0) solve_triangular_in_place(to_batch(a.detach(), batch, 2), x, o);
  return o.left ? clone(t(x)) : x;
}

Tensor triangle_of(const Tensor& x, const TriangularOptions& o) {
  return o.upper ? triu(x, o.unitriangular ? 1 : 0) : tril(x, o.unitriangular ? -1 : 0);
}

}  // namespace

namespace detail {

Factored factor(const Tensor& a) {
  const NoGrad off;
  const int64_t least = std::min(rows_of(a), cols_of(a));
  const Factored f{copy_columns(a), empty(with_dims(batch_of(a), {least}), {.dtype = i32, .device = a.device()})};
  if (a.numel() == 0) return f;
  dispatch("lu_factor", a.device(), [&](auto device) {
    kernels::lu_factor(device, matrices(a), view(f.lu).data, view(f.pivots).template as<int32_t>());
  });
  return f;
}

Factored factor_regular(const char* op, const Tensor& a) {
  const Factored f = factor(a);
  if (a.numel() > 0) check_diagonal(op, f.lu, kZeroPivot);
  return f;
}

Tensor solve_factored(const char* op, const Tensor& lu, const Tensor& pivots, const Tensor& b, bool transposed) {
  const NoGrad off;
  const Shape batch = broadcast_shapes(op, batch_of(lu), batch_of(b));
  const Tensor wide = expand(b.detach(), with_dims(batch, {rows_of(b), cols_of(b)}));
  if (wide.numel() == 0) return clone(wide);
  const Tensor x = clone(t(wide)), factors = to_batch(lu.detach(), batch, 2),
               exchanges = to_batch(pivots.detach(), batch, 1);
  const int64_t n = rows_of(b), k = cols_of(b);
  const kernels::Matrices s{b.dtype(), x.numel() / (n * k), n, k};
  dispatch(op, b.device(), [&](auto device) {
    kernels::lu_solve(device, s, transposed, factors.numel() == n * n, view(factors).data,
                      view(exchanges).template as<int32_t>(), view(x).data);
  });
  return clone(t(x));
}

// The factors are kept for the first derivative; where that is recorded, a is factored again on the tape.
Tensor solve_matrix(const char* op, const Tensor& a, const Tensor& b) {
  check_right_hand_side(op, a, b);
  broadcast_shapes(op, batch_of(a), batch_of(b));
  const Factored f = factor_regular(op, a);
  std::vector<Tensor> out{solve_factored(op, f.lu, f.pivots, b, false), f.lu, f.pivots};
  const auto rule = [op](const Saved& s, const Cotangents& dys, Needs needs) {
    const Tensor gb = grad_enabled() ? solve_matrix(op, t(s.input(0)), dys[0])
                                     : solve_factored(op, s.output(1), s.output(2), dys[0], true);
    return Grads{needs[0] ? -matmul(gb, t(s.output(0))) : Tensor(), needs[1] ? gb : Tensor()};
  };
  return record("solve", {a, b}, std::move(out), save_input(0) | save_output, rule)[0];
}

Tensor inverse(const char* op, const Tensor& a) {
  const Factored f = factor_regular(op, a);
  const Tensor one = eye(rows_of(a), {.dtype = a.dtype(), .device = a.device()});
  return record("inv", {a}, solve_factored(op, f.lu, f.pivots, one, false), save_output,
                [](const Saved& s, const Tensor& dy, Needs) {
                  const Tensor turned = t(s.output());
                  return Grads{-matmul(matmul(turned, dy), turned)};
                });
}

void check_right_hand_side(const char* op, const Tensor& a, const Tensor& b) {
  check_fit(op, a, b, b.ndim() < 2 ? 0 : rows_of(b), "rows");
}

bool is_vector(const Tensor& a, const Tensor& b) {
  if (b.ndim() == 1) return true;
  return b.ndim() + 1 == a.ndim() && b.shape() == with_dims(batch_of(a), {rows_of(a)});
}

Tensor solve_triangular_unchecked(const Tensor& a, const Tensor& b, const TriangularOptions& options) {
  return record("solve_triangular", {a, b}, solve_triangular_forward(a, b, options), save_input(0) | save_output,
                [o = options](const Saved& s, const Tensor& dy, Needs needs) {
                  TriangularOptions turned = o;
                  turned.upper = !o.upper;
                  const Tensor gb = solve_triangular_unchecked(t(s.input(0)), dy, turned);
                  if (!needs[0]) return Grads{Tensor(), gb};
                  const Tensor x = s.output();
                  const Tensor ga = -triangle_of(o.left ? matmul(gb, t(x)) : matmul(t(x), gb), o);
                  return Grads{ga, needs[1] ? gb : Tensor()};
                });
}

}  // namespace detail

Tensor solve(const Tensor& a, const Tensor& b) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(solve, a, b);
  check_square("solve", a);
  if (is_vector(a, b)) return squeeze(solve_matrix("solve", a, unsqueeze(b, -1)), -1);
  return solve_matrix("solve", a, b);
}

Tensor solve_triangular(const Tensor& a, const Tensor& b, const TriangularOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(solve_triangular, a, b, options);
  check_square("solve_triangular", a);
  check_fit("solve_triangular", a, b,
            b.ndim() < 2   ? 0
            : options.left ? rows_of(b)
                           : cols_of(b),
            options.left ? "rows" : "columns");
  if (!options.unitriangular && a.numel() > 0)
    check_diagonal("solve_triangular", a, "is singular: its diagonal has a 0");
  return solve_triangular_unchecked(a, b, options);
}

Tensor inv(const Tensor& a) {
  if (is_autocast_enabled()) [[unlikely]]
    return autocast_f32(inv, a);
  check_square("inv", a);
  return inverse("inv", a);
}

}  // namespace tenrec
