// One pool of threads, and loops whose partition depends on the shape alone.
//
// parallel_for cuts [0, n) into ceil(n / grain) chunks; which thread runs a chunk is left open, what a chunk holds is
// not. So a result does not depend on the number of threads as long as a chunk writes only its own outputs and partial
// results are combined in chunk order. Called from a worker, or while the pool is busy with another thread's loop, it
// runs its chunks inline: the same chunks, so the same bits.
//
// An exception thrown by a chunk is thrown again on the caller's thread, after all running chunks have ended.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace tenrec {

// A reference to a callable, without the allocation of std::function. It must not outlive the callable.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT(google-explicit-constructor)
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Number of threads that share a loop, the caller's included. Default: the hardware's, or TENREC_THREADS.
int num_threads();
// Sets it for the whole process, 1 to 256. Must not be called from inside a parallel loop.
void set_num_threads(int n);

// Runs body(begin, end) for the chunks [i * grain, min(n, (i + 1) * grain)). `grain` must depend on shapes only.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body);

// Index of the current thread within the running loop, 0 for the caller; for scratch memory, never for results.
int thread_index();
// True inside a chunk of a parallel loop.
bool in_parallel();

}  // namespace tenrec
