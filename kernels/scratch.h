// Scratch memory for kernels: a stack per thread that keeps its memory, so that the steady state takes no page faults.
//
//   Scratch scratch;                              // remembers where the thread's stack stands, goes back there at its
//   end float* columns = scratch.get<float>(rows * cols);  // 64-byte aligned, uninitialised
//
// A Scratch belongs to the thread that made it; scopes nest. What a chunk of a parallel loop needs, it takes itself.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tenrec::kernels {

class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Room for `count` values of T, valid until this Scratch ends. Throws OutOfMemoryError.
  template <class T>
  T* get(int64_t count) {
    return static_cast<T*>(bytes(size_t(count) * sizeof(T)));
  }
  void* bytes(size_t size);

 private:
  size_t block_, used_;
};

}  // namespace tenrec::kernels
