// What this machine can do at most: multiply-adds per second from registers, and bytes per second from each level of
// memory, by as many threads as asked for. Small loops, measured in tens of milliseconds, best of several.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace tenrec::bench {

namespace detail {

#if defined(__AVX512F__)
using Packet = __m512;
inline Packet multiply_add(Packet a, Packet b, Packet c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__) && defined(__FMA__)
using Packet = __m256;
inline Packet multiply_add(Packet a, Packet b, Packet c) { return _mm256_fmadd_ps(a, b, c); }
#else
typedef float Packet __attribute__((vector_size(16)));
inline Packet multiply_add(Packet a, Packet b, Packet c) { return a * b + c; }
#endif
inline constexpr int kLanes = sizeof(Packet) / sizeof(float);

// Runs body(thread) on `threads` threads that start together, `tries` times; the shortest time in seconds.
template <class F>
double best_time(int threads, int tries, F body) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  for (int t = 0; t < tries; ++t) {
    std::atomic<int> waiting{threads};
    const auto enter = [&](int id) {
      waiting.fetch_sub(1);
      while (waiting.load() > 0) {
      }
      body(id);
    };
    std::vector<std::thread> others;
    for (int id = 1; id < threads; ++id) others.emplace_back(enter, id);
    waiting.fetch_sub(1);
    while (waiting.load() > 0) {
    }
    const auto start = Clock::now();
    body(0);
    for (std::thread& o : others) o.join();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace detail

// f32 GFLOP/s of fused multiply-adds on `threads` threads.
inline double peak_gflops(int threads) {
  constexpr int kChains = 12;  // independent, to cover the latency
  constexpr int64_t kRounds = 2'000'000;
  const double seconds = detail::best_time(threads, 5, [](int) {
    const detail::Packet zero = {}, scale = zero + 0.999999f, shift = zero + 1e-6f;
    detail::Packet acc[kChains];  // all different, or the compiler would see that one is enough
    for (int i = 0; i < kChains; ++i) acc[i] = zero + float(i);
    for (int64_t r = 0; r < kRounds; ++r)
      for (detail::Packet& a : acc) a = detail::multiply_add(a, scale, shift);
    for (int i = 1; i < kChains; ++i) acc[0] += acc[i];
    const float sink = acc[0][0];
    asm volatile("" : : "m"(sink));
  });
  return 2. * kChains * detail::kLanes * double(kRounds) * threads / seconds * 1e-9;
}

// GB/s of p += s * g over arrays of `footprint` bytes in all, cut between the threads: two reads and a write, none of
// them to a line that is not read anyway.
inline double bandwidth_gbs(int threads, int64_t footprint) {
  const int64_t n = footprint / 8 / threads;
  const int64_t passes = std::max<int64_t>(1, 128'000'000 / footprint);
  std::vector<std::vector<float>> p, g;
  for (int t = 0; t < threads; ++t) {
    p.emplace_back(size_t(n), 1.f);
    g.emplace_back(size_t(n), 1e-6f);
  }
  const double seconds = detail::best_time(threads, 7, [&](int id) {
    float* __restrict x = p[size_t(id)].data();
    const float* __restrict y = g[size_t(id)].data();
    for (int64_t pass = 0; pass < passes; ++pass) {
      for (int64_t i = 0; i < n; ++i) x[i] += 0.5f * y[i];
      asm volatile("" : : "r"(x) : "memory");
    }
  });
  return 12. * double(n * passes) * threads / seconds * 1e-9;
}

}  // namespace tenrec::bench
