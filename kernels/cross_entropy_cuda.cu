// Cross-entropy of logits or log-probabilities and class indices: the loss of each row, and the gradient.
//
// Floor: forwards each logit is read once and nothing of their size is written; backwards each is read and written
// once, since the row's maximum and sum are kept. Smoothing wants the sum of maximum - x too, for which a row that is
// longer than its team's registers is read again, from the cache.
#include "tenrec/kernels/cuda/exp_sum.cuh"
#include "tenrec/kernels/softmax.h"
#include "tenrec/kernels/visit.h"

namespace tenrec::cuda {
namespace {

template <class C>
__global__ void add_weights(const C* weight, int64_t n, double* sum) {
  double part = 0;
  for (int64_t k = threadIdx.x; k < n; k += blockDim.x) part += double(weight[k]);
  part = block_reduce(part, 0.0, Add());
  if (threadIdx.x == 0) *sum = part;
}

// What a loss is made of: `picked` for the class of a row, `spread` (times the weight) for every class.
template <class C>
struct Loss {
  const int64_t* targets;
  const C* weight;
  const double* weight_sum;  // null: as many as there are classes
  int64_t classes, ignore_index;
  double picked, spread;
  bool from_logits;
  // No row may read what is not there.
  __device__ bool ignores(int64_t target) const { return target == ignore_index || target < 0 || target >= classes; }
  __device__ double weight_of(int64_t k) const { return weight ? double(weight[k]) : 1; }
  __device__ double all_weights() const { return weight_sum ? *weight_sum : double(classes); }
};

// Sum of weight (m - x) over the row, whose last batch is held in v.
template <class Team, class T, class C = Real<T>>
__device__ double spread_sum(const Team& team, const Row<Team, T>& row, const T* x, const C* weight, C m, bool held,
                             typename Row<Team, T>::Values& v) {
  using R = Row<Team, T>;
  double sum = 0;
  for (int64_t b = row.batches - 1; b >= 0; --b) {
    if (!held || b != row.batches - 1) row.load(x, b, C(0), v);
    TENREC_UNROLL
    for (int k = 0; k < R::kPacks; ++k) {
      C w[R::kVector], part = 0;
      if (weight) load_run(weight, 1, row.place(b, k), row.n, C(0), w);
      TENREC_UNROLL
      for (int j = 0; j < R::kVector; ++j)
        if (row.inside(b, k, j)) part += weight ? (m - v[k][j]) * w[j] : m - v[k][j];
      sum += double(part);
    }
  }
  return team.reduce(sum, 0.0, Add());
}

// stats: maximum and sum of each row.
template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    loss_rows(RowShape s, int width, Loss<Real<T>> c, const T* x, Real<T>* losses, Real<T>* weights, Real<T>* stats) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    const R row = row_at(team, s, x, r);
    const T* from = x + row.start;
    typename R::Values v;
    C max = 0;
    double total = 1, spread = 0;
    if (c.from_logits) {
      ExpSum<C> sum;
      for (int64_t b = 0; b < row.batches; ++b) {
        row.load(from, b, -std::numeric_limits<C>::infinity(), v);
        sum.add(v, false);
      }
      sum.join(team);
      max = sum.max;
      // Infinity leaves no probabilities.
      total = std::isinf(max) ? std::numeric_limits<double>::quiet_NaN() : sum.sum;
    }
    if (c.spread != 0) spread = spread_sum(team, row, from, c.weight, max, c.from_logits, v);
    if (team.rank != 0 || r >= s.rows) return;
    stats[2 * r] = max;
    stats[2 * r + 1] = C(total);
    const int64_t target = c.targets[r];
    const bool ignored = c.ignores(target);
    double w = 0, loss = 0;
    if (!ignored) {
      const double log_sum = c.from_logits ? std::log(total) : 0;
      w = c.weight_of(target);
      loss = c.picked * w * ((double(max) - double(convert_to<C>(from[target * row.stride()]))) + log_sum);
      if (c.spread != 0) loss += c.spread * (spread + c.all_weights() * log_sum);
    }
    losses[r] = C(loss);
    weights[r] = C(w);
  });
}

// What the gradients of a row are made of: e^(x - max) * factor - spread * weight, but for its class.
template <class C>
struct RowGrad {
  int64_t target;
  bool ignored, from_logits;
  C max, factor, spread;
  double scale, total, share, taken;
  __device__ RowGrad(const Loss<C>& c, const C* stats, int64_t r, double s)
      : target(c.targets[r]),
        ignored(c.ignores(target)),
        from_logits(c.from_logits),
        max(0),
        factor(0),
        spread(0),
        scale(s),
        total(0),
        share(0),
        taken(0) {
    if (ignored) return;
    const double weight = c.weight_of(target), picked = c.picked * weight;
    taken = from_logits ? picked + c.spread * weight : picked;
    if (!from_logits) return;
    share = picked + (c.spread != 0 ? c.spread * c.all_weights() : 0);
    total = double(stats[2 * r + 1]);
    max = stats[2 * r];
    factor = C(scale * share / total);
    spread = C(scale * c.spread);
  }
  // Of the target's own logit. Near probability one, the difference must not be formed from a rounded product.
  __device__ C at_target(C logit) const {
    if (!from_logits) return C(-scale * taken);
    return C(scale * (double(exp_of(C(logit - max))) / total * share - taken));
  }
};

template <class Team, class T>
__global__ void __launch_bounds__(kMostThreads)
    loss_grad_rows(RowShape s, int width, Loss<Real<T>> c, const T* x, const Real<T>* stats, const Real<T>* scale,
                   bool one_scale, const Real<T>* total, T* dx) {
  using C = Real<T>;
  using R = Row<Team, T>;
  for_teams<Team>(s.rows, width, [&](const Team& team, int64_t r) {
    if (r >= s.rows) return;
    const R row = row_at(team, s, x, r);
    const C divisor = total ? *total : C(1);
    const RowGrad<C> g(c, stats, r, double(scale[one_scale ? 0 : r] / divisor));
    const bool zero = g.ignored || !c.from_logits, weighted = !zero && c.weight && c.spread != 0;
    row.for_packs([&](int64_t first) {
      C v[R::kVector] = {}, w[R::kVector];
      if (!zero) load_run(x + row.start, row.stride(), first, row.n, C(0), v);
      if (weighted) load_run(c.weight, 1, first, row.n, C(0), w);
      TENREC_UNROLL
      for (int j = 0; j < R::kVector; ++j) {
        const C p = zero ? C(0) : exp_of(v[j] - g.max) * g.factor - (weighted ? g.spread * w[j] : g.spread);
        v[j] = first + j == g.target && !g.ignored ? g.at_target(v[j]) : p;
      }
      store_run(dx + row.start, row.stride(), first, row.n, v);
    });
  });
}

template <class C>
Loss<C> loss_of(const kernels::CrossEntropy& c, int64_t classes, const Buffer<double>& weight_sum) {
  const auto* weight = static_cast<const C*>(c.weight);
  Loss<C> loss{c.targets,    weight, nullptr, classes, c.ignore_index, 1 - c.smoothing, c.smoothing / double(classes),
               c.from_logits};
  if (weight && loss.spread != 0) {
    TENREC_LAUNCH(add_weights<C>, 1, kThreads, 0, stream(), weight, classes, weight_sum.data());
    loss.weight_sum = weight_sum.data();
  }
  return loss;
}

}  // namespace
}  // namespace tenrec::cuda

namespace tenrec::kernels {

using namespace cuda;

void cross_entropy(Cuda, const CrossEntropy& c, const View& x, const View& losses, const View& weights,
                   const View& stats) {
  if (x.numel == 0) return;
  const RowShape s = row_shape(x, c.dim);
  const Buffer<double> weight_sum(1);
  visit_floating("cross_entropy", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    const Loss<C> loss = loss_of<C>(c, s.n, weight_sum);
    const auto run = [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((loss_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, loss, x.as<T>(), losses.as<C>(),
                    weights.as<C>(), stats.as<C>());
    };
    if (c.from_logits || loss.spread != 0)
      choose_teams<T>(s, run);
    else  // of each row only the target's element is wanted
      run(TeamTag<ColumnTeam>(), Teams(s.rows, 1, std::min<int64_t>(s.rows, kThreads)));
  });
  TENREC_LAUNCH_CHECK();
}

void cross_entropy_grad(Cuda, const CrossEntropy& c, const View& x, const View& stats, const View& scale,
                        const View& dx) {
  if (x.numel == 0) return;
  const RowShape s = row_shape(x, c.dim);
  const Buffer<double> weight_sum(1);
  visit_floating("cross_entropy", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Real<T>;
    const Loss<C> loss = loss_of<C>(c, s.n, weight_sum);
    choose_teams<T>(s, [&](auto tag, const Teams& t) {
      using Team = typename decltype(tag)::type;
      TENREC_LAUNCH((loss_grad_rows<Team, T>), t.grid, t.threads, 0, stream(), s, t.width, loss, x.as<T>(),
                    stats.as<C>(), scale.as<C>(), scale.numel == 1, static_cast<const C*>(c.total), dx.as<T>());
    });
  });
  TENREC_LAUNCH_CHECK();
}

}  // namespace tenrec::kernels
