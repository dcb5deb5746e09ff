#include "tenrec/kernels/attention.h"

#include <algorithm>
#include <limits>

#include "tenrec/kernels/gemm_micro.h"
#include "tenrec/kernels/random_words_impl.h"
#include "tenrec/kernels/rows.h"
#include "tenrec/kernels/tiles.h"
#include "tenrec/kernels/transpose.h"

namespace tenrec::kernels {
namespace {

using namespace detail;
using micro::kRows;
using micro::kWidth;

constexpr int64_t kKeys = 128;        // of a tile
constexpr int64_t kQueries = 64;      // that one chunk of the forward loop takes
constexpr int64_t kRowBlock = 16;     // queries whose scores are held at once
constexpr int64_t kGradBlock = 32;    // the same in backward, whose products sum over them
constexpr int64_t kWork = 1 << 18;    // multiply-adds of a chunk at least
constexpr int64_t kEnoughItems = 16;  // heads that keep the threads busy by themselves
constexpr int64_t kMostKeyParts = 8;

// Tiles lie in scratch with rows of whole vectors, and a vector more against the same sets of the cache.
template <class T>
constexpr int64_t kTileStride = kKeys + kWidth<T>;
template <class T>
int64_t padded(int64_t width) {
  return round_up(width, kWidth<T>);
}

// C[m, n] = A B, or added to it; element (i, p) of A lies at a[i * row + p * step], rows of B and C as vectors.
template <class T>
struct Left {
  const T* data;
  int64_t row, step;
};
template <class T>
void multiply(int64_t m, int64_t n, int64_t k, const Left<T>& a, const T* b, int64_t b_step, T* c, int64_t ldc,
              bool accumulate) {
  constexpr int kW = kWidth<T>;
  if (m < 1 || n < 1) return;
  const Parts rows(m, kRows);
  for (int64_t r = 0; r < rows.count(); ++r) {
    const int64_t i = rows.begin(r);
    const int count = int(rows.size(r));
    for (int64_t j = 0, cols = 0; j < n; j += cols) {
      const int64_t left = ceil_div(n - j, kW);
      // Two and two vectors are better than three and one.
      const int vecs = left == 4 && micro::tile_vecs(count, left) == 3 ? 2 : micro::tile_vecs(count, left);
      cols = std::min<int64_t>(vecs * kW, n - j);
      micro::outer_function<T>(count, vecs)({.k = k,
                                             .a = a.data + i * a.row,
                                             .a_row = a.row,
                                             .a_step = a.step,
                                             .b = b + j,
                                             .b_step = b_step,
                                             .c = c + i * ldc + j,
                                             .ldc = ldc,
                                             .last = int(cols - (vecs - 1) * kW),
                                             .finish = {nullptr, false, accumulate}});
    }
  }
}

template <class T>
struct Rows {
  const T* data;
  int64_t stride;
  Left<T> left() const { return {data, stride, 1}; }
};

char* address(const View& x, int64_t b, int64_t h, int64_t r) {
  return x.as<char>() + (b * x.stride(0) + h * x.stride(1) + r * x.stride(2)) * int64_t(size_of(x.dtype));
}
// Rows [r, r + n) of a head, in place or converted to `buffer`.
template <class T>
Rows<T> rows_of(const View& x, int64_t b, int64_t h, int64_t r, int64_t n, T* buffer) {
  if (x.dtype == dtype_of<T>) return {reinterpret_cast<const T*>(address(x, b, h, r)), x.stride(2)};
  const int64_t width = x.size(3);
  for (int64_t i = 0; i < n; ++i)
    convert_strided(address(x, b, h, r + i), x.dtype, 1, buffer + i * width, dtype_of<T>, 1, width);
  return {buffer, width};
}
template <class T>
void put_row(const View& x, int64_t b, int64_t h, int64_t r, const T* from) {
  convert_strided(from, dtype_of<T>, 1, address(x, b, h, r), x.dtype, 1, x.size(3));
}
template <class T>
T* buffer_for(Scratch& scratch, const View& x, int64_t rows) {
  return x.dtype == dtype_of<T> ? nullptr : scratch.get<T>(rows * x.size(3));
}

// Masks, causality and dropout: what happens to single scores.
template <class T>
class Scores {
 public:
  Scores(const Attention& a, const View& q, const View& k)
      : a_(a), heads_(q.size(1)), queries_(q.size(2)), keys_(k.size(2)), below_(a.dropout > 0 ? a.threshold() : 0) {}

  // How many of the first keys query i may look at.
  int64_t limit(int64_t i) const { return a_.causal ? std::clamp<int64_t>(i + a_.offset + 1, 0, keys_) : keys_; }
  // s = s scale + mask for query i and keys [j, j + n).
  void finish(T* s, int64_t b, int64_t h, int64_t i, int64_t j, int64_t n) const {
    const auto scale = T(a_.scale);
    if (!a_.mask) {
      for (int64_t c = 0; c < n; ++c) s[c] *= scale;
      return;
    }
    const View& m = *a_.mask;
    const int64_t at = b * m.stride(0) + h * m.stride(1) + i * m.stride(2) + j * m.stride(3), by = m.stride(3);
    if (m.dtype == boolean) {
      const auto* may = m.as<uint8_t>() + at;
      for (int64_t c = 0; c < n; ++c) s[c] = may[c * by] ? s[c] * scale : -std::numeric_limits<T>::infinity();
    } else {
      const T* add = m.as<T>() + at;
      for (int64_t c = 0; c < n; ++c) s[c] = s[c] * scale + add[c * by];
    }
  }
  // What dropout multiplies the probabilities of query i and keys [j, j + n) with.
  void keep(int64_t b, int64_t h, int64_t i, int64_t j, int64_t n, T* factors) const {
    constexpr int64_t kStep = 4 * kBlocks * kSide;
    alignas(64) uint32_t words[kKeys + kStep + 4];
    const uint64_t first = uint64_t(((b * heads_ + h) * queries_ + i) * keys_ + j);
    const auto skip = int64_t(first % 4);
    for (int64_t w = 0; w < n + skip; w += kStep) philox_blocks(a_.key, (first + uint64_t(w)) / 4, words + w);
    const auto kept = T(1 / (1 - a_.dropout));
    for (int64_t c = 0; c < n; ++c) factors[c] = words[c + skip] < below_ ? T(0) : kept;
  }
  bool drops() const { return a_.dropout > 0; }

 private:
  const Attention& a_;
  int64_t heads_, queries_, keys_;
  uint32_t below_;
};

// s = e^(s - shift) over n elements; their sum.
template <class T>
T exponentials(T* s, int64_t n, T shift) {
  using P = NativePack<T>;
  constexpr int kW = kWidth<T>;
  const P by(shift);
  P sum(T(0));
  int64_t c = 0;
  for (; c + kW <= n; c += kW) {
    const P e = exp_below(P::load(s + c) - by);
    e.store(s + c);
    sum += e;
  }
  if (c < n) {
    const int rest = int(n - c);
    const P e = exp_below(P::load_partial(s + c, rest, -std::numeric_limits<T>::infinity()) - by);
    e.store_partial(s + c, rest);
    sum += P::load_partial(s + c, rest);
  }
  return reduce_lanes(sum, [](auto x, auto y) { return x + y; });
}

// A tile of keys or values turned round: [width, kTileStride].
template <class T>
void turn(const Rows<T>& rows, int64_t n, int64_t width, T* to) {
  transpose_matrix<T, true>(rows.data, rows.stride, n, width, to, kTileStride<T>);
}

// --- forward --------------------------------------------------------------------------------------------------------

template <class T>
class Forward {
 public:
  Forward(const Attention& a, const View& q, const View& k, const View& v, const View& y, const View& lse)
      : q_(q), k_(k), v_(v), y_(y), lse_(lse), scores_(a, q, k) {}

  // Queries [first, first + n) of a head, n <= kQueries.
  void run(int64_t b, int64_t h, int64_t first, int64_t n, Scratch& scratch) const {
    const int64_t width = q_.size(3), out = v_.size(3), stride = padded<T>(out), shared = h / (q_.size(1) / k_.size(1));
    T* q_buffer = buffer_for<T>(scratch, q_, n);
    T* k_buffer = buffer_for<T>(scratch, k_, kKeys);
    T* v_buffer = buffer_for<T>(scratch, v_, kKeys);
    T* turned = scratch.get<T>(width * kTileStride<T>);
    T* sums = scratch.get<T>(n * stride);
    T* s = scratch.get<T>(kRowBlock * kTileStride<T>);
    T* row = scratch.get<T>(out);
    State state[kQueries];
    std::fill_n(sums, n * stride, T(0));
    const Rows<T> queries = rows_of(q_, b, h, first, n, q_buffer);
    const int64_t limit = scores_.limit(first + n - 1);
    for (int64_t j = 0; j < limit; j += kKeys) {
      const int64_t tile = std::min(kKeys, limit - j);
      turn(rows_of(k_, b, shared, j, tile, k_buffer), tile, width, turned);
      const Rows<T> values = rows_of(v_, b, shared, j, tile, v_buffer);
      for (int64_t r = 0; r < n; r += kRowBlock) {
        const int64_t rows = std::min(kRowBlock, n - r);
        const int64_t cols = std::min(tile, scores_.limit(first + r + rows - 1) - j);
        if (cols < 1) continue;
        multiply(rows, cols, width, Left<T>{queries.data + r * queries.stride, queries.stride, 1}, turned,
                 kTileStride<T>, s, kTileStride<T>, false);
        for (int64_t i = 0; i < rows; ++i)
          to_probabilities(b, h, first + r + i, j, cols, s + i * kTileStride<T>, state[r + i], sums + (r + i) * stride,
                           out);
        multiply(rows, out, cols, Left<T>{s, kTileStride<T>, 1}, values.data, values.stride, sums + r * stride, stride,
                 true);
      }
    }
    T* lse = lse_.as<T>() + (b * q_.size(1) + h) * q_.size(2) + first;
    for (int64_t i = 0; i < n; ++i) {
      const State& end = state[i];
      const T by = end.sum == 0 ? T(0) : T(1 / end.sum);
      for (int64_t c = 0; c < out; ++c) row[c] = sums[i * stride + c] * by;
      put_row(y_, b, h, first + i, row);
      lse[i] = end.sum == 0 ? -std::numeric_limits<T>::infinity() : T(double(end.most) + std::log(end.sum));
    }
  }

 private:
  struct State {
    T most = -std::numeric_limits<T>::infinity();
    double sum = 0;
  };

  // A query's scores over keys [j, j + cols) become e^(score - most), dropped out, and zero where it may not look.
  void to_probabilities(int64_t b, int64_t h, int64_t i, int64_t j, int64_t cols, T* s, State& state, T* sums,
                        int64_t out) const {
    const int64_t n = std::clamp<int64_t>(scores_.limit(i) - j, 0, cols);
    std::fill(s + n, s + cols, T(0));
    if (n == 0) return;
    scores_.finish(s, b, h, i, j, n);
    const T most = std::max(state.most, row_max(s, n));
    constexpr T none = -std::numeric_limits<T>::infinity();
    if (most > state.most && state.most > none) {
      const T shrink = exp(state.most - most);
      state.sum *= double(shrink);
      for (int64_t c = 0; c < out; ++c) sums[c] *= shrink;
    }
    state.most = most;
    state.sum += double(exponentials(s, n, most > none ? most : T(0)));
    if (!scores_.drops()) return;
    T factors[kKeys];
    scores_.keep(b, h, i, j, n, factors);
    for (int64_t c = 0; c < n; ++c) s[c] *= factors[c];
  }

  const View &q_, &k_, &v_, &y_, &lse_;
  Scores<T> scores_;
};

// --- backward -------------------------------------------------------------------------------------------------------
// With P the probabilities, D dropout's factors and delta = sum(dy y) of a query:
// dv = (D P)^T dy; ds = P (D (dy v^T) - delta) scale; dq = ds k; dk = ds^T q.

template <class T>
class Backward {
 public:
  Backward(const Attention& a, const View& q, const View& k, const View& v, const View& y, const View& lse,
           const View& dy, const AttentionGrads& grads)
      : scale_(T(a.scale)), q_(q), k_(k), v_(v), y_(y), lse_(lse), dy_(dy), grads_(grads), scores_(a, q, k) {}

  int64_t group() const { return q_.size(1) / k_.size(1); }

  // Keys [begin, end) of key head `shared`; what they add to dq goes to `dq`, [group, queries, padded width].
  void run(int64_t b, int64_t shared, int64_t begin, int64_t end, T* dq, Scratch& scratch) const {
    const int64_t width = q_.size(3), out = v_.size(3), queries = q_.size(2);
    const int64_t k_stride = padded<T>(width), v_stride = padded<T>(out), heads = group();
    T* k_buffer = buffer_for<T>(scratch, k_, kKeys);
    T* v_buffer = buffer_for<T>(scratch, v_, kKeys);
    Buffers w;
    w.q = buffer_for<T>(scratch, q_, kGradBlock);
    w.dy = buffer_for<T>(scratch, dy_, kGradBlock);
    w.k_turned = scratch.get<T>(width * kTileStride<T>);
    w.v_turned = scratch.get<T>(out * kTileStride<T>);
    w.dk = scratch.get<T>(kKeys * k_stride);
    w.dv = scratch.get<T>(kKeys * v_stride);
    w.p = scratch.get<T>(kGradBlock * kTileStride<T>);
    w.ds = scratch.get<T>(kGradBlock * kTileStride<T>);
    T* delta = scratch.get<T>(heads * queries);
    for (int64_t g = 0; g < heads; ++g) find_delta(b, shared * heads + g, delta + g * queries);
    for (int64_t j = begin; j < end; j += kKeys) {
      const int64_t tile = std::min(kKeys, end - j);
      const Rows<T> keys = rows_of(k_, b, shared, j, tile, k_buffer);
      turn(keys, tile, width, w.k_turned);
      turn(rows_of(v_, b, shared, j, tile, v_buffer), tile, out, w.v_turned);
      std::fill_n(w.dk, tile * k_stride, T(0));
      std::fill_n(w.dv, tile * v_stride, T(0));
      for (int64_t g = 0; g < heads; ++g)
        for (int64_t r = 0; r < queries; r += kGradBlock) {
          const int64_t rows = std::min(kGradBlock, queries - r);
          const int64_t cols = std::min(tile, scores_.limit(r + rows - 1) - j);
          if (cols > 0)
            block(b, shared * heads + g, j, cols, r, rows, keys, delta + g * queries,
                  dq ? dq + (g * queries + r) * k_stride : nullptr, w);
        }
      for (int64_t c = 0; grads_.k && c < tile; ++c) put_row(*grads_.k, b, shared, j + c, w.dk + c * k_stride);
      for (int64_t c = 0; grads_.v && c < tile; ++c) put_row(*grads_.v, b, shared, j + c, w.dv + c * v_stride);
    }
  }

 private:
  struct Buffers {
    T *q, *dy, *k_turned, *v_turned, *dk, *dv, *p, *ds;
  };

  void find_delta(int64_t b, int64_t h, T* delta) const {
    const int64_t out = v_.size(3);
    Scratch scratch;
    T *y_buffer = buffer_for<T>(scratch, y_, 1), *dy_buffer = buffer_for<T>(scratch, dy_, 1);
    for (int64_t i = 0; i < q_.size(2); ++i)
      delta[i] = T(sum_row<T>(
          out, [](auto x, auto g) { return x * g; }, rows_of(y_, b, h, i, 1, y_buffer).data,
          rows_of(dy_, b, h, i, 1, dy_buffer).data));
  }

  // Queries [r, r + rows) of head h by keys [j, j + cols).
  void block(int64_t b, int64_t h, int64_t j, int64_t cols, int64_t r, int64_t rows, const Rows<T>& keys,
             const T* delta, T* dq, const Buffers& w) const {
    constexpr int64_t ld = kTileStride<T>;
    const int64_t width = q_.size(3), out = v_.size(3);
    const Rows<T> q = rows_of(q_, b, h, r, rows, w.q), dy = rows_of(dy_, b, h, r, rows, w.dy);
    multiply(rows, cols, width, q.left(), w.k_turned, ld, w.p, ld, false);
    if (grads_.q || grads_.k) multiply(rows, cols, out, dy.left(), w.v_turned, ld, w.ds, ld, false);
    for (int64_t i = 0; i < rows; ++i) row(b, h, r + i, j, cols, w.p + i * ld, w.ds + i * ld, delta[r + i]);
    if (grads_.v) multiply(cols, out, rows, Left<T>{w.p, 1, ld}, dy.data, dy.stride, w.dv, padded<T>(out), true);
    if (grads_.k) multiply(cols, width, rows, Left<T>{w.ds, 1, ld}, q.data, q.stride, w.dk, padded<T>(width), true);
    if (dq) multiply(rows, width, cols, Left<T>{w.ds, ld, 1}, keys.data, keys.stride, dq, padded<T>(width), true);
  }

  // Of one query: scores become D P, dy v^T becomes ds.
  void row(int64_t b, int64_t h, int64_t i, int64_t j, int64_t cols, T* p, T* ds, T delta) const {
    const int64_t n = std::clamp<int64_t>(scores_.limit(i) - j, 0, cols);
    const T lse = lse_.as<T>()[(b * q_.size(1) + h) * q_.size(2) + i];
    std::fill(p + n, p + cols, T(0));
    std::fill(ds + n, ds + cols, T(0));
    if (lse == -std::numeric_limits<T>::infinity()) {
      std::fill_n(p, n, T(0));
      std::fill_n(ds, n, T(0));
      return;
    }
    scores_.finish(p, b, h, i, j, n);
    using P = TreePack<T>;
    const P shift(lse), less(delta), by(scale_);
    map_row(
        n, p, [=](P s) { return exp_below(s - shift); }, p);
    if (!scores_.drops()) {
      map_row(
          n, ds, [=](P prob, P d) { return prob * (d - less) * by; }, p, ds);
      return;
    }
    alignas(64) T factors[kKeys];
    scores_.keep(b, h, i, j, n, factors);
    map_row(
        n, ds, [=](P prob, P d, P f) { return prob * fma(d, f, -less) * by; }, p, ds, factors);
    map_row(
        n, p, [](P prob, P f) { return prob * f; }, p, factors);
  }

  T scale_;
  const View &q_, &k_, &v_, &y_, &lse_, &dy_;
  const AttentionGrads& grads_;
  Scores<T> scores_;
};

// dq of heads [first, first + count): the sums of its parts, in order.
template <class T>
void store_queries(const View& dq, int64_t b, int64_t first, int64_t count, T* sums, int64_t parts, int64_t size) {
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[part * size + i];
  const int64_t queries = dq.size(2), stride = padded<T>(dq.size(3));
  for (int64_t i = 0; i < count * queries; ++i) put_row(dq, b, first + i / queries, i % queries, sums + i * stride);
}

}  // namespace

void attention(Cpu, const Attention& a, const View& q, const View& k, const View& v, const View& y, const View& lse) {
  visit_real(q.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Forward<T> forward(a, q, k, v, y, lse);
    const int64_t queries = q.size(2), blocks = ceil_div(queries, kQueries), heads = q.size(1);
    const int64_t work = std::min(queries, kQueries) * k.size(2) * (q.size(3) + v.size(3));
    parallel_for(q.size(0) * heads * blocks, std::max<int64_t>(1, kWork / std::max<int64_t>(1, work)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     Scratch scratch;
                     const int64_t first = i % blocks * kQueries, head = i / blocks;
                     forward.run(head / heads, head % heads, first, std::min(kQueries, queries - first), scratch);
                   }
                 });
  });
}

void attention_grad(Cpu, const Attention& a, const View& q, const View& k, const View& v, const View& y,
                    const View& lse, const View& dy, const AttentionGrads& grads) {
  visit_real(q.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Backward<T> backward(a, q, k, v, y, lse, dy, grads);
    const int64_t batch = q.size(0), shared = k.size(1), group = backward.group(), queries = q.size(2);
    const int64_t keys = k.size(2), width = q.size(3), stride = padded<T>(width), heads = batch * shared;
    // Few heads: their keys are cut as well, and each part has its own sums for dq.
    const int64_t wanted =
        heads >= kEnoughItems ? 1 : std::min(kMostKeyParts, ceil_div(kEnoughItems, std::max<int64_t>(1, heads)));
    const int64_t each = round_up(std::max<int64_t>(1, ceil_div(keys, wanted)), kKeys);
    const int64_t parts = std::max<int64_t>(1, ceil_div(keys, each)), size = group * queries * stride;
    Scratch scratch;
    T* sums = grads.q ? scratch.get<T>(heads * parts * size) : nullptr;
    const int64_t work = group * queries * std::min(keys, each) * 2 * (width + v.size(3));
    parallel_for(heads * parts, std::max<int64_t>(1, kWork / std::max<int64_t>(1, work)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     Scratch local;
                     T* dq = sums ? sums + i * size : nullptr;
                     if (dq) std::fill_n(dq, size, T(0));
                     const int64_t head = i / parts, first = i % parts * each;
                     backward.run(head / shared, head % shared, first, std::min(keys, first + each), dq, local);
                     if (dq && parts == 1)
                       store_queries<T>(*grads.q, head / shared, head % shared * group, group, dq, 1, size);
                   }
                 });
    if (!sums || parts == 1) return;
    parallel_for(heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        store_queries<T>(*grads.q, i / shared, i % shared * group, group, sums + i * parts * size, parts, size);
    });
  });
}

}  // namespace tenrec::kernels
