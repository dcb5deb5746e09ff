#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/ops/compare.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/elementwise_impl.h"
#include "tenrec/autograd/ops/index.h"
#include "tenrec/autograd/ops/loss.h"
#include "tenrec/autograd/ops/reduce_impl.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/autograd/ops/softmax.h"
#include "tenrec/autograd/tape.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/softmax.h"

namespace tenrec {

namespace {

// One call: what the kernels need, kept alive by the rule.
struct IndexLoss {
  const char* name;
  CrossEntropyOptions options;
  int64_t dim, classes;
  bool from_logits;
  Tensor target;       // contiguous i64
  Tensor weight;       // of the accumulator's dtype, or undefined
  Tensor row_weights;  // of each row's class, 0 where ignored
  Tensor stats;        // [rows, 2], of the kernel
  Tensor total;        // the sum of row_weights, of the mean alone

  kernels::CrossEntropy arguments() const {
    return {dim,
            from_logits,
            view(target).as<int64_t>(),
            weight.defined() ? view(weight).data : nullptr,
            options.ignore_index,
            options.label_smoothing,
            total.defined() ? view(total).data : nullptr};
  }
};

DType accumulator(const Tensor& x) { return x.dtype() == f64 ? f64 : f32; }

int64_t class_dim(const char* name, const Tensor& x) {
  detail::check_floating(name, x);
  if (x.ndim() == 0) fail<ShapeError>(name, ": needs [classes] or [rows, classes, ...], got a 0-d tensor");
  return x.ndim() == 1 ? 0 : 1;
}

Tensor class_weight(const char* name, const Tensor& x, const Tensor& weight, int64_t classes) {
  if (!weight.defined()) return weight;
  if (weight.shape() != Shape{classes})
    fail<ShapeError>(name, ": weight needs one element for each of ", classes, " classes, got shape ", weight.shape());
  detail::check_same_device(name, x, weight);
  return contiguous(weight.detach().to(accumulator(x)));
}

void check_targets(const IndexLoss& loss, const Tensor& x, const Tensor& target) {
  Shape rows = x.shape();
  rows.erase(loss.dim);
  if (target.shape() != rows)
    fail<ShapeError>(loss.name, ": input ", x.shape(), " needs targets of shape ", rows, ", got ", target.shape());
  detail::check_same_device(loss.name, x, target);
  detail::check_index(loss.name, loss.target,
                      {.kind = detail::IndexRule::Kind::target,
                       .low = 0,
                       .high = loss.classes,
                       .skips = true,
                       .skipped = loss.options.ignore_index});
}

// `over`: the gradient may take the place of x, which halves the memory of a large vocabulary.
Tensor gradient(const IndexLoss& loss, const Tensor& x, const Tensor& dy, bool over) {
  const Tensor from = detail::contiguous_data(x), dx = over && x.is_contiguous() ? x.detach() : empty_like(x);
  const Tensor scale = contiguous(dy.detach().to(loss.stats.dtype()));
  dispatch(loss.name, x.device(), [&](auto device) {
    kernels::cross_entropy_grad(device, loss.arguments(), view(from), view(loss.stats), view(scale), view(dx));
  });
  return dx;
}

// What a row's probabilities are multiplied by in the gradient: the weights of its targets, over the mean's divisor.
Tensor masses(const IndexLoss& loss, const Tensor& x) {
  Tensor mass = loss.row_weights;
  if (const double smoothing = loss.options.label_smoothing; smoothing != 0) {
    const Tensor all =
        loss.weight.defined() ? mean(loss.weight) : ones({}, {.dtype = mass.dtype(), .device = x.device()});
    mass = mass * (1 - smoothing) + where(eq(loss.target, loss.options.ignore_index), 0., all * smoothing);
  }
  if (loss.options.reduction == Reduction::mean) mass = mass / loss.total;
  return unsqueeze(mass.to(x.dtype()), loss.dim);
}

Tensor recorded_gradient(const IndexLoss& loss, const Tensor& x, const Tensor& dy);

// By x the gradient depends on softmax(x) alone, and it is linear in dy.
Grads second_gradients(const IndexLoss& loss, const Saved& s, const Tensor& u, Needs needs) {
  const Tensor dy = s.input(1), x = s.input(0).to(dy.dtype());
  Grads grads{Tensor(), Tensor()};
  if (needs[0] && loss.from_logits) {
    const Tensor p = softmax(x, loss.dim);
    const Tensor pu = p * (u * (masses(loss, x) * (dy.ndim() == 0 ? dy : unsqueeze(dy, loss.dim))));
    grads[0] = pu - p * sum(pu, {.dim = loss.dim, .keepdim = true});
  } else if (needs[0]) {
    grads[0] = zeros_like(x);
  }
  if (needs[1]) {
    const Tensor product = u * recorded_gradient(loss, x, ones_like(dy));
    grads[1] = loss.options.reduction == Reduction::none ? sum(product, {.dim = loss.dim}) : sum(product);
  }
  return grads;
}

Tensor recorded_gradient(const IndexLoss& loss, const Tensor& x, const Tensor& dy) {
  return record("cross_entropy_grad", {x, dy}, gradient(loss, x, dy, false), save_inputs,
                [loss](const Saved& s, const Tensor& u, Needs needs) { return second_gradients(loss, s, u, needs); });
}

// The loss has `dtype`.
Tensor index_loss(const char* name, bool from_logits, const Tensor& x, const Tensor& target, DType dtype,
                  const CrossEntropyOptions& options) {
  IndexLoss loss{name, options, class_dim(name, x), 0, from_logits, {}, {}, {}, {}, {}};
  loss.classes = x.shape()[loss.dim];
  loss.target = detail::as_index(name, target);
  loss.weight = class_weight(name, x, options.weight, loss.classes);
  loss.options.weight = {};
  check_targets(loss, x, target);

  Tensor y;
  {
    const NoGrad no_grad;
    const Tensor from = detail::contiguous_data(x);
    // Beside each other, so that one reduction sums both.
    const Tensor both = detail::empty_of({2, target.numel()}, accumulator(x), x.device());
    const Tensor losses = reshape(both[0], target.shape());
    loss.row_weights = reshape(both[1], target.shape());
    loss.stats = detail::empty_of({losses.numel(), 2}, losses.dtype(), x.device());
    dispatch(name, x.device(), [&](auto device) {
      kernels::cross_entropy(device, loss.arguments(), view(from), view(losses), view(loss.row_weights),
                             view(loss.stats));
    });
    if (options.reduction == Reduction::none) {
      y = losses;
    } else if (options.reduction == Reduction::sum) {
      y = sum(losses);
    } else {
      const Tensor sums = sum(both, {.dim = 1});
      loss.total = sums[1];
      y = sums[0] / loss.total;
    }
    y = y.to(dtype);
  }
  // The rule owns what it reads but for x; the target is saved too, so that a change to it is noticed.
  return record(name, {x, target}, std::move(y), save_inputs, [loss](const Saved& s, const Tensor& dy, Needs) {
    s.input(1);
    if (grad_enabled()) return Grads{recorded_gradient(loss, s.input(0), dy), Tensor()};
    const bool over = s.may_overwrite(0);  // before x is held here too
    return Grads{gradient(loss, s.input(0), dy, over), Tensor()};
  });
}

Tensor probability_loss(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const char* name = "cross_entropy";
  const int64_t dim = class_dim(name, logits), classes = logits.shape()[dim];
  if (target.shape() != logits.shape())
    fail<ShapeError>(name, ": logits ", logits.shape(), " and probabilities ", target.shape(), " must have one shape");
  Tensor wanted = target;
  if (options.label_smoothing != 0)
    wanted = target * (1 - options.label_smoothing) + options.label_smoothing / double(classes);
  if (options.weight.defined()) {
    Shape along = Shape::filled(logits.ndim(), 1);
    along[dim] = classes;
    wanted = wanted * reshape(class_weight(name, logits, options.weight, classes).to(logits.dtype()), along);
  }
  const Tensor losses = neg(sum(wanted * log_softmax(logits, dim), {.dim = dim}));
  if (options.reduction == Reduction::none) return losses;
  const Tensor added = sum(losses);
  return options.reduction == Reduction::sum ? added : added / double(losses.numel());
}

Tensor loss_of(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options, DType dtype) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    fail<ValueError>("cross_entropy: label_smoothing must be between 0 and 1, got ", options.label_smoothing);
  if (is_floating(target.dtype())) return probability_loss(logits, target, options);
  return index_loss("cross_entropy", true, logits, target, dtype, options);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  if (!is_autocast_enabled()) [[likely]]
    return loss_of(logits, target, options, logits.dtype());
  if (is_floating(target.dtype())) return detail::autocast_f32(cross_entropy, logits, target, options);
  // Its kernels compute in f32 and round once: a cast of the logits would give the same bits in more passes over them.
  return detail::without_autocast(loss_of, logits, target, options, detail::autocast_result(logits.dtype()));
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const NllOptions& options) {
  if (is_autocast_enabled()) [[unlikely]]
    return detail::autocast_f32(nll_loss, input, target, options);
  return index_loss("nll_loss", false, input, target, input.dtype(),
                    {.weight = options.weight, .ignore_index = options.ignore_index, .reduction = options.reduction});
}

}  // namespace tenrec
