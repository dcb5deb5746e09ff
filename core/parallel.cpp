#include "tenrec/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tenrec/core/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tenrec {
namespace {

thread_local int this_thread_index = 0;
thread_local bool inside_loop = false;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

struct Loop {
  int64_t n = 0, grain = 1, chunks = 0;
  int64_t unit = 1;  // chunks that are handed out together
  const FunctionRef<void(int64_t, int64_t)>* body = nullptr;
};

// Workers wait for the next loop by spinning for a bounded time, then sleep: the gap between two kernels of a training
// step is a few microseconds, a wake-up through the kernel costs ten times that.
class Pool {
 public:
  static Pool& instance() {
    static Pool pool;
    return pool;
  }

  ~Pool() { stop(); }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int n) {
    std::lock_guard lock(run_mutex_);
    stop();
    threads_.store(n, std::memory_order_relaxed);
  }

  // False when another thread's loop holds the pool.
  bool try_run(const Loop& loop) {
    std::unique_lock lock(run_mutex_, std::try_to_lock);
    if (!lock) return false;
    start();
    loop_ = loop;
    loop_.unit = loop.chunks / (int64_t(1) << 30) + 1;
    deal();
    error_ = nullptr;
    gate_.fetch_sub(kClosed, std::memory_order_release);
    publish();
    work(0);
    gate_.fetch_add(kClosed, std::memory_order_acq_rel);
    wait_for_last();
    if (error_) std::rethrow_exception(error_);
    return true;
  }

 private:
  static constexpr int kSpins = 10000;  // a few hundred microseconds
  // The gate counts the workers inside the loop; the bit says that nobody may enter any more. So the caller never waits
  // for a worker that is still asleep, which matters for short loops and when threads outnumber cores.
  static constexpr int kClosed = 1 << 30;

  Pool() {
    int n = int(std::thread::hardware_concurrency());
    if (const char* text = std::getenv("TENREC_THREADS")) n = std::atoi(text);
    threads_.store(std::clamp(n, 1, 256));
  }

  void start() {
    if (int(hands_.size()) != threads()) hands_ = std::vector<Hand>(size_t(threads()));
    while (int(workers_.size()) < threads() - 1) {
      const int index = int(workers_.size()) + 1;
      workers_.emplace_back([this, index, seen = generation_.load()] { serve(index, seen); });
    }
  }

  void stop() {
    stopping_.store(true);
    publish();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_.store(false);
  }

  void publish() {
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
    { std::lock_guard lock(sleep_mutex_); }
    wake_.notify_all();
  }

  void serve(int index, uint64_t seen) {
    this_thread_index = index;
    while (true) {
      wait_for_change(seen);
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_acquire)) return;
      if (!(gate_.fetch_add(1, std::memory_order_acquire) & kClosed)) work(index);
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  void wait_for_last() {
    for (int spins = 0; gate_.load(std::memory_order_acquire) != kClosed; ++spins) {
      if (spins < kSpins)
        relax();
      else
        std::this_thread::yield();
    }
  }

  void wait_for_change(uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (generation_.load(std::memory_order_acquire) != seen) return;
      relax();
    }
    std::unique_lock lock(sleep_mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [&] { return generation_.load(std::memory_order_seq_cst) != seen; });
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

  // Each thread has a hand of neighbouring chunks, the same in every loop of as many, so that it finds in its cache
  // what it wrote in the loop before. It plays from the front; who has nothing left takes from the back of the next
  // hand.
  struct alignas(64) Hand {
    std::atomic<uint64_t> range{0};  // first and end, 32 bits each, in units of Loop::unit chunks

    void deal(uint64_t first, uint64_t end) { range.store(first << 32 | end, std::memory_order_relaxed); }
    int64_t take(bool from_front) {
      uint64_t now = range.load(std::memory_order_relaxed);
      while (now >> 32 < uint32_t(now)) {
        const uint64_t next = from_front ? now + (uint64_t(1) << 32) : now - 1;
        if (range.compare_exchange_weak(now, next, std::memory_order_relaxed))
          return int64_t(from_front ? now >> 32 : uint32_t(next));
      }
      return -1;
    }
  };

  void deal() {
    const auto hands = uint64_t(hands_.size()), units = uint64_t((loop_.chunks + loop_.unit - 1) / loop_.unit);
    for (uint64_t t = 0; t < hands; ++t) hands_[t].deal(units * t / hands, units * (t + 1) / hands);
  }

  void play(Hand& hand, bool own) {
    for (int64_t u; (u = hand.take(own)) >= 0;)
      for (int64_t i = u * loop_.unit; i < std::min(loop_.chunks, (u + 1) * loop_.unit); ++i)
        (*loop_.body)(i * loop_.grain, std::min(loop_.n, (i + 1) * loop_.grain));
  }

  void work(int index) {
    const int outer_index = this_thread_index;
    this_thread_index = index;
    inside_loop = true;
    const size_t hands = hands_.size();
    try {
      for (size_t k = 0; k < hands; ++k) play(hands_[(size_t(index) + k) % hands], k == 0);
    } catch (...) {
      for (Hand& hand : hands_) hand.deal(0, 0);  // the rest is not started
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_loop = false;
    this_thread_index = outer_index;
  }

  std::mutex run_mutex_, sleep_mutex_, error_mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  std::atomic<int> threads_{1}, gate_{kClosed}, sleepers_{0};
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<uint64_t> generation_{0};
  alignas(64) Loop loop_;
  std::vector<Hand> hands_;
  std::exception_ptr error_;
};

}  // namespace

int num_threads() { return Pool::instance().threads(); }

void set_num_threads(int n) {
  if (n < 1 || n > 256) fail<ValueError>("set_num_threads: expected 1 to 256 threads, got ", n);
  if (inside_loop) fail<ValueError>("set_num_threads: called from inside a parallel loop");
  Pool::instance().resize(n);
}

int thread_index() { return this_thread_index; }
bool in_parallel() { return inside_loop; }

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks > 1 && !inside_loop && num_threads() > 1 && Pool::instance().try_run({n, grain, chunks, 1, &body})) return;
  for (int64_t i = 0; i < chunks; ++i) body(i * grain, std::min(n, (i + 1) * grain));
}

}  // namespace tenrec
