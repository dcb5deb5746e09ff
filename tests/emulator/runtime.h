// The emulated CUDA runtime (runtime.cpp defines the functions of cuda_runtime_api.h that Tenrec calls): streams,
// events, copies, memory.
//
// Nothing that goes to a stream runs at once. Work waits in its stream's queue until the host synchronises; then the
// emulator takes, again and again, the first piece of any stream that may go on: of the oldest stream, the youngest, or
// a random one (Options::order). So every legal order of streams can be seen, and an event that was not waited for
// shows as a result that differs. The stream 0 waits for all others and runs at once.
#pragma once

#include <functional>
#include <string>

#include "emulator/simt.h"

namespace tenrec::simt {

// Puts work at the end of a stream.
void enqueue(cudaStream_t stream, std::function<void()> work);
// Runs all that is waiting in all streams.
void drain();
// A fault in a stream makes every later call of the runtime fail, as on a device. Takes its message, and ends that.
std::string take_fault();
// Adds a kernel's name to the file that TENREC_EMULATOR_COVERAGE names, once a process.
void note_launch(const char* kernel);
// Dynamic shared memory beyond what every kernel may have is allowed kernel by kernel (cudaFuncSetAttribute).
constexpr size_t kSharedForAll = 48 << 10;
void allow_shared(const void* kernel, size_t bytes);
void check_shared(const Launch& launch, const void* kernel);
// Device memory that cudaMalloc gives out at most.
void set_memory_limit(size_t bytes);

// With a stream: later; without one: after all streams, now.
template <class... P, class... A>
void launch(const Launch& config, cudaStream_t stream, void (*kernel)(P...), A&&... args) {
  check_configuration(config);
  if (config.shared_bytes > kSharedForAll) check_shared(config, reinterpret_cast<const void*>(kernel));
  note_launch(config.name);
  std::tuple<std::decay_t<P>...> values(std::forward<A>(args)...);  // converted and copied, as a real launch does
  const auto body = [config, kernel, values] { run(config, [&] { std::apply(kernel, values); }); };
  if (stream) return enqueue(stream, body);
  drain();
  body();
}

}  // namespace tenrec::simt
