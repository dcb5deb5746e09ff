// CUDA devices as a program sees them: what there is, streams, memory.
//
// A build with TENREC_CUDA=OFF, and a machine without a driver, have no device: is_available() is false, everything
// else that names one throws DeviceError.
//
// Work on a device is queued on a stream and the host does not wait for it. Where a value is read (item, to_vector,
// printing, to(kCpu)) the host waits by itself. An index or class out of range is found while the work runs: it reads
// and writes nothing, and the IndexError, the first one of the stream, is thrown where the host waits for the stream
// next. After that the stream can be used as before.
#pragma once

#include <cstdint>
#include <string>

#include "tenrec/core/allocator.h"
#include "tenrec/core/device.h"

namespace tenrec {
class Tensor;
}

namespace tenrec::cuda {

int device_count() noexcept;
inline bool is_available() noexcept { return device_count() > 0; }
// Name, compute capability and memory, in one line.
std::string describe(Device device);
// Bytes of the device's second cache.
int64_t l2_bytes(Device device = DeviceType::cuda);
// Waits until all work on the device is done. A fault of a kernel or an IndexError is thrown here, or wherever else the
// host waits.
void synchronize(Device device = DeviceType::cuda);

// The stream that the calling thread's ops go to: the device's default one until a StreamScope says otherwise.
Stream current_stream(Device device = DeviceType::cuda);
// A stream of its own. It is kept until the process ends, because blocks of memory remember theirs.
Stream new_stream(Device device = DeviceType::cuda);
void synchronize(const Stream& stream);
// The later work of `waiting` begins after what `other` holds now.
void wait(const Stream& waiting, const Stream& other);

class StreamScope {
 public:
  explicit StreamScope(const Stream& stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Stream before_;
};

// The device's own clock between two points of the calling thread's stream.
class Timer {
 public:
  explicit Timer(Device device = DeviceType::cuda);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start();
  void stop();
  // From start to stop; waits for the latter.
  double microseconds() const;

 private:
  Device device_;
  void *start_ = nullptr, *stop_ = nullptr;
};

// The device's caching allocator: freed blocks are kept and reused in the order of the stream that had them.
MemoryStats memory_stats(Device device = DeviceType::cuda);
// As tenrec::set_memory_limit. The OutOfMemoryError names the largest blocks in use.
void set_memory_limit(int64_t bytes, Device device = DeviceType::cuda);
void empty_cache(Device device = DeviceType::cuda);

// A copy of a contiguous CPU tensor in page-locked memory, from which x.to(device, true) copies while the host goes on.
// Such memory is scarce and slow to get: it is kept and reused. DeviceError if there is no device.
Tensor pin_memory(const Tensor& x);
bool is_pinned(const Tensor& x);

// Which of cuBLASLt's and cuDNN's kernels run. By default the first that the library proposes (for convolutions: the
// first deterministic one), so that two runs are bit-equal. tune(file): from now on, for the whole process, the
// candidates for each new shape are timed when it first comes, which waits for the device, and the choice is written to
// the file; what the file already says holds. With load_tuning(file) its choices hold and nothing is timed: such runs
// are bit-equal again. stop_tuning() returns to the default.
// ValueError for a file that was made on another device or with other versions of the libraries, IOError for one that
// is broken or cannot be written; nothing changes then.
void tune(const std::string& file);
void load_tuning(const std::string& file);
void stop_tuning();

// Ranges for NVIDIA's profilers (Nsight), on the host's time line: one for each op and one for each module's call.
// Off at first, unless the environment has TENREC_NVTX=1.
void set_profiling(bool on);

}  // namespace tenrec::cuda
