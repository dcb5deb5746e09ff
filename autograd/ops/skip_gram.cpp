#include "tenrec/autograd/ops/skip_gram.h"

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/activation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/join.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/unary.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/skip_gram.h"

namespace tenrec {
namespace {

struct Checked {
  Tensor centers;  // [B] i64
  Tensor targets;  // [B, 1 + K] i64, the contexts in front
};

Checked check(const char* name, const Tensor& input, const Tensor& output, const Tensor& centers,
              const Tensor& contexts, const Tensor& negatives) {
  if (input.ndim() != 2 || output.ndim() != 2 || input.size(1) != output.size(1))
    fail<ShapeError>(name, ": the tables must be [words, d] with one d, got ", input.shape(), " and ", output.shape());
  if ((input.dtype() != f32 && input.dtype() != f64) || input.dtype() != output.dtype())
    fail<DTypeError>(name, ": the tables must both be f32 or f64, got ", input.dtype(), " and ", output.dtype());
  if (centers.ndim() != 1 || centers.numel() == 0 || contexts.shape() != centers.shape() || negatives.ndim() != 2 ||
      negatives.size(0) != centers.size(0))
    fail<ShapeError>(name, ": expected centers [B], contexts [B] and negatives [B, K] with B > 0, got ",
                     centers.shape(), ", ", contexts.shape(), " and ", negatives.shape());
  for (const Tensor* t : {&output, &centers, &contexts, &negatives}) detail::check_same_device(name, input, *t);
  const NoGrad guard;
  const Tensor row = detail::as_index(name, centers);
  const Tensor targets =
      contiguous(cat({unsqueeze(detail::as_index(name, contexts), 1), detail::as_index(name, negatives)}, 1));
  detail::check_index(name, row, detail::into_dim(0, input.size(0)));
  detail::check_index(name, targets, detail::into_dim(0, output.size(0)));
  return {row, targets};
}

// The same with ops that have derivatives of their own.
Tensor composed_loss(const Tensor& input, const Tensor& output, const Tensor& centers, const Tensor& targets) {
  const Tensor v = embedding(input, centers), u = embedding(output, targets);
  const Tensor scores = sum(u * unsqueeze(v, 1), {.dim = -1});
  const int64_t count = targets.size(1);
  const Tensor losses = sum(-logsigmoid(slice(scores, 1, 0, 1))) - sum(logsigmoid(-slice(scores, 1, 1, count)));
  return losses * (1 / double(targets.size(0)));
}

kernels::SkipGram pairs_of(const Tensor& input, const Tensor& output, const Tensor& centers, const Tensor& targets) {
  return {view(input), view(output), view(centers), view(targets)};
}

// The sums of gradient rows, in the order of the pairs.
Tensor table_grad(const Tensor& picked, const Tensor& rows, int64_t words) {
  const int64_t n = rows.numel(), d = picked.size(-1);
  return reshape(detail::add_rows("add_rows", reshape(picked, {1, n, d}), flatten(rows), words), {words, d});
}

}  // namespace

Tensor skip_gram_loss(const Tensor& input, const Tensor& output, const Tensor& centers, const Tensor& contexts,
                      const Tensor& negatives) {
  const char* name = "skip_gram_loss";
  const Checked ids = check(name, input, output, centers, contexts, negatives);
  const int64_t pairs = ids.centers.numel();
  const double scale = 1 / double(pairs);
  const auto fused = [name, pairs, scale](const Saved& s, const Cotangents& dys, Needs needs) {
    const Tensor v = detail::contiguous_data(s.input(0)), u = detail::contiguous_data(s.input(1));
    const Tensor rows = s.input(2), targets = s.input(3), dy = dys[0];
    const int64_t d = v.size(1);
    const Tensor d_center = detail::empty_of({pairs, d}, v.dtype(), v.device());
    const Tensor d_target = detail::empty_of({pairs, targets.size(1), d}, v.dtype(), v.device());
    dispatch(name, v.device(), [&](auto device) {
      kernels::skip_gram_grad(device, pairs_of(v, u, rows, targets), view(dy), scale, view(d_center), view(d_target));
    });
    return Grads{needs[0] ? table_grad(d_center, rows, v.size(0)) : Tensor(),
                 needs[1] ? table_grad(d_target, targets, u.size(0)) : Tensor(), Tensor(), Tensor()};
  };
  const auto composed = [](std::span<const Tensor> in) { return composed_loss(in[0], in[1], in[2], in[3]); };
  const Tensor v = detail::contiguous_data(input), u = detail::contiguous_data(output);
  const Tensor losses = detail::empty_of({pairs}, v.dtype(), v.device());
  dispatch(name, v.device(), [&](auto device) {
    kernels::skip_gram_loss(device, pairs_of(v, u, ids.centers, ids.targets), view(losses));
  });
  Tensor y;
  {
    const NoGrad guard;
    y = mean(losses);
  }
  return record(name, {input, output, ids.centers, ids.targets}, std::move(y), save_inputs,
                fused_rule(fused, composed));
}

Tensor skip_gram_step_(const Tensor& input, const Tensor& output, const Tensor& centers, const Tensor& contexts,
                       const Tensor& negatives, double lr) {
  const char* name = "skip_gram_step_";
  const Checked ids = check(name, input, output, centers, contexts, negatives);
  for (const Tensor* table : {&input, &output}) {
    if (!table->is_contiguous()) fail<ValueError>(name, ": the tables must be contiguous");
    detail::check_mutation(name, *table, "skip_gram_loss and an optimizer");
  }
  if (input.impl().storage == output.impl().storage) fail<ValueError>(name, ": the tables must not share memory");
  const Tensor losses = detail::empty_of({ids.centers.numel()}, input.dtype(), input.device());
  dispatch(name, input.device(), [&](auto device) {
    kernels::skip_gram_step(device, pairs_of(input, output, ids.centers, ids.targets), lr, view(losses));
  });
  detail::bump_version(input);
  detail::bump_version(output);
  const NoGrad guard;
  return mean(losses);
}

}  // namespace tenrec
