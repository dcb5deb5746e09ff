// Elements become unsigned keys whose order is the order wanted, packed with their index, so that sorting is stable by
// itself and compares no floats. Long rows are sorted by digits (D. E. Knuth, The Art of Computer Programming, vol. 3,
// 5.2.5), short ones by comparison.
#include "tenrec/kernels/sort.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "tenrec/core/parallel.h"
#include "tenrec/kernels/scratch.h"

namespace tenrec::kernels {
namespace {

constexpr int64_t kGrain = 8192;      // elements of a parallel chunk
constexpr int64_t kDigitSort = 1024;  // rows from here on are sorted by digits

template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

template <class U, class T>
U float_key(T value, bool nan) {
  if (nan) return U(~U(0));
  const U sign = U(U(1) << (sizeof(U) * 8 - 1));
  U bits = std::bit_cast<U>(value);
  if (bits == sign) bits = 0;  // -0
  return bits & sign ? U(~bits) : U(bits | sign);
}

// Rising with the element.
inline uint64_t key_of(double x) { return float_key<uint64_t>(x, std::isnan(x)); }
inline uint32_t key_of(float x) { return float_key<uint32_t>(x, std::isnan(x)); }
inline uint32_t key_of(bfloat16 x) { return float_key<uint16_t>(x, std::isnan(float(x))); }
inline uint32_t key_of(float16 x) { return float_key<uint16_t>(x, std::isnan(float(x))); }
inline uint64_t key_of(int64_t x) { return uint64_t(x) ^ (uint64_t(1) << 63); }
inline uint32_t key_of(int32_t x) { return uint32_t(x) ^ (uint32_t(1) << 31); }
inline uint32_t key_of(uint8_t x) { return x; }

// A key of 32 bits above the index, in one word.
struct Narrow {
  uint64_t word;
  Narrow() = default;
  Narrow(uint32_t key, int64_t index) : word(uint64_t(key) << 32 | uint64_t(index)) {}
  int64_t index() const { return int64_t(word & 0xffffffffu); }
  static constexpr int kDigits = 4;
  uint32_t digit(int i) const { return uint32_t(word >> (32 + 8 * i)) & 255; }
  friend bool operator<(Narrow a, Narrow b) { return a.word < b.word; }
};
// A key of any size beside the index, for 64-bit elements and rows of 2^32 elements and more.
struct Wide {
  uint64_t key;
  int64_t position;
  Wide() = default;
  Wide(uint64_t k, int64_t index) : key(k), position(index) {}
  int64_t index() const { return position; }
  static constexpr int kDigits = 8;
  uint32_t digit(int i) const { return uint32_t(key >> (8 * i)) & 255; }
  friend bool operator<(const Wide& a, const Wide& b) {
    return a.key != b.key ? a.key < b.key : a.position < b.position;
  }
};

// Least digit first; digits that all entries share are passed over. The result is in `a`.
template <class Entry>
void digit_sort(Entry* a, Entry* spare, int64_t n) {
  uint32_t counts[Entry::kDigits][256] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int d = 0; d < Entry::kDigits; ++d) ++counts[d][a[i].digit(d)];
  Entry *from = a, *to = spare;
  for (int d = 0; d < Entry::kDigits; ++d) {
    if (counts[d][from[0].digit(d)] == uint32_t(n)) continue;
    int64_t start[256], at = 0;
    for (int v = 0; v < 256; ++v) {
      start[v] = at;
      at += counts[d][v];
    }
    for (int64_t i = 0; i < n; ++i) to[start[from[i].digit(d)]++] = from[i];
    std::swap(from, to);
  }
  if (from != a) std::memcpy(static_cast<void*>(a), from, size_t(n) * sizeof(Entry));
}

template <class Entry>
void sort_entries(Entry* a, int64_t n) {  // entries in the order of their index
  if (n < kDigitSort || n > int64_t(UINT32_MAX)) return std::sort(a, a + n);
  Scratch scratch;
  digit_sort(a, scratch.get<Entry>(n), n);
}

// The first `count` of n entries in order, at the front of `a`.
template <class Entry>
void select_entries(Entry* a, int64_t n, int64_t count) {
  if (count == n) return sort_entries(a, n);
  if (count * 16 <= n) {  // a heap of the best so far, whose worst is mostly better than what comes
    std::make_heap(a, a + count);
    for (int64_t i = count; i < n; ++i) {
      if (!(a[i] < a[0])) continue;
      std::pop_heap(a, a + count);
      a[count - 1] = a[i];
      std::push_heap(a, a + count);
    }
    std::sort_heap(a, a + count);
    return;
  }
  std::nth_element(a, a + count, a + n);  // leaves no order behind that a sort by digits could keep
  std::sort(a, a + count);
}

// Calls body(entries of row r, row r of x, r).
template <class Entry, class T, class Body>
void for_rows(const View& x, int64_t n, bool descending, int64_t rows, Body body) {
  const auto* data = x.as<T>();
  parallel_for(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    auto* entries = scratch.get<Entry>(n);
    for (int64_t r = begin; r < end; ++r) {
      const T* row = data + r * n;
      for (int64_t i = 0; i < n; ++i) {
        const auto key = key_of(row[i]);
        entries[i] = Entry(descending ? decltype(key)(~key) : key, i);
      }
      body(entries, row, r);
    }
  });
}

template <class F>
void visit_entry(const View& x, int64_t n, F&& f) {
  visit_dtype(x.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    if (sizeof(T) == 8 || n > int64_t(UINT32_MAX))
      f(Wide(), T());
    else
      f(Narrow(), T());
  });
}

}  // namespace

void sort_rows(Cpu, const View& x, int64_t n, bool descending, const View& values, const View& indices) {
  if (values.numel == 0) return;
  const int64_t count = values.size(values.ndim() - 1);
  visit_entry(x, n, [&](auto entry, auto zero) {
    using Entry = decltype(entry);
    using T = decltype(zero);
    for_rows<Entry, T>(x, n, descending, values.numel / count, [&](Entry* entries, const T* row, int64_t r) {
      select_entries(entries, n, count);
      T* v = values.as<T>() + r * count;
      auto* at = indices.as<int64_t>() + r * count;
      for (int64_t i = 0; i < count; ++i) {
        at[i] = entries[i].index();
        v[i] = row[at[i]];
      }
    });
  });
}

void kth_of_rows(Cpu, const View& x, int64_t n, int64_t k, const View& values, const View& indices) {
  if (values.numel == 0) return;
  visit_entry(x, n, [&](auto entry, auto zero) {
    using Entry = decltype(entry);
    using T = decltype(zero);
    for_rows<Entry, T>(x, n, false, values.numel, [&](Entry* entries, const T* row, int64_t r) {
      std::nth_element(entries, entries + k, entries + n);
      indices.as<int64_t>()[r] = entries[k].index();
      values.as<T>()[r] = row[entries[k].index()];
    });
  });
}

int64_t number_runs(Cpu, const View& x, const View& group) {
  if (x.numel == 0) return 0;
  auto* g = group.as<int64_t>();
  int64_t run = 0;
  visit_dtype(x.dtype, [&](auto zero) {
    using T = Stored<decltype(zero)>;
    const auto differ = [](T a, T b) {
      if constexpr (std::is_class_v<T>)
        return float(a) != float(b);
      else
        return a != b;
    };
    const auto* p = x.as<T>();
    for (int64_t i = 0; i < x.numel; ++i) {
      if (i > 0 && differ(p[i], p[i - 1])) ++run;
      g[i] = run;
    }
  });
  return run + 1;
}

void describe_runs(Cpu, const View& x, const View& group, const View& values, const View& counts) {
  const auto* g = group.as<int64_t>();
  auto* c = counts.as<int64_t>();
  const int64_t width = size_of(x.dtype);
  std::fill(c, c + counts.numel, int64_t(0));
  for (int64_t i = 0; i < x.numel; ++i) {
    if (c[g[i]]++ > 0) continue;
    std::memcpy(static_cast<char*>(values.data) + g[i] * width, static_cast<const char*>(x.data) + i * width,
                size_t(width));
  }
}

}  // namespace tenrec::kernels
