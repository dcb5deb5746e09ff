#include "emulator/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "emulator/device_memory.h"
#include "emulator/graph.h"

namespace {

// What has happened to an event, kept as long as work refers to it.
struct Record {
  uint64_t asked = 0, done = 0;  // recordings: put into a stream, and reached
  std::chrono::steady_clock::time_point when;
};

struct Work {
  std::function<void()> run;
  std::function<bool()> ready;  // empty: always
};

}  // namespace

struct CUstream_st {
  std::deque<Work> queue;
  tenrec::simt::Capture* capture = nullptr;  // what records its work
  std::vector<size_t> last = {};             // nodes that its next one comes after
};
struct CUevent_st {
  std::shared_ptr<Record> record = std::make_shared<Record>();
  const tenrec::simt::Capture* capture = nullptr;  // recorded while this was captured,
  std::vector<size_t> nodes = {};                  // after these nodes
};

namespace tenrec::simt {
namespace {

class Runtime {
 public:
  static Runtime& instance() {
    static Runtime runtime;
    return runtime;
  }

  // Calls f with the runtime locked; what it throws, and an earlier fault, become an error code.
  template <class F>
  cudaError_t call(F&& f) {
    const std::lock_guard lock(mutex_);
    if (!fault_.empty()) return last_ = cudaErrorLaunchFailure;
    try {
      const cudaError_t result = f();
      if (result != cudaSuccess && result != cudaErrorNotReady) last_ = result;
      return result;
    } catch (const std::exception& e) {
      fault_ = e.what();
      return last_ = cudaErrorLaunchFailure;
    }
  }

  // As call, for what a capture of the calling thread does not allow: it ends the capture.
  template <class F>
  cudaError_t call_outside_capture(F&& f) {
    return call([&] {
      if (!capturing_) return f();
      capturing_->broken = true;
      return cudaErrorStreamCaptureUnsupported;
    });
  }

  cudaStream_t add_stream() {
    streams_.push_back(std::make_unique<CUstream_st>());
    return streams_.back().get();
  }
  void remove_stream(cudaStream_t stream) {
    drain([=] { return stream->queue.empty(); });
    std::erase_if(streams_, [=](const auto& s) { return s.get() == stream; });
  }
  void enqueue(cudaStream_t stream, Work work) {
    if (stream && stream->capture) {
      std::vector<CUgraph_st::Node>& nodes = stream->capture->graph->nodes;
      nodes.push_back({std::move(work.run), std::exchange(stream->last, {nodes.size()})});
      return;
    }
    if (!stream) {  // the stream 0
      drain_all();
      work.run();
      return;
    }
    stream->queue.push_back(std::move(work));
    if (options().order == Order::random && random_() % 2) step();  // a device does not wait to be asked
  }
  template <class Done>
  void drain(Done&& done) {
    while (!done())
      if (!step()) fail<KernelError>("emulator: streams wait for each other: no work can go on");
  }
  void drain_all() {
    drain(
        [&] { return std::all_of(streams_.begin(), streams_.end(), [](const auto& s) { return s->queue.empty(); }); });
  }

  std::string take_fault() {
    const std::lock_guard lock(mutex_);
    for (const auto& stream : streams_) stream->queue.clear();
    last_ = cudaSuccess;
    return std::exchange(fault_, {});
  }
  cudaError_t last_error(bool clear) {
    const std::lock_guard lock(mutex_);
    const cudaError_t last = last_;
    if (clear && fault_.empty()) last_ = cudaSuccess;
    return last;
  }
  std::recursive_mutex& mutex() { return mutex_; }

  // --- graphs

  cudaError_t begin_capture(cudaStream_t stream) {
    if (!stream || stream->capture || capturing_) return cudaErrorIllegalState;
    capturing_ = new Capture{stream, {stream}};
    stream->capture = capturing_;
    stream->last.clear();
    return cudaSuccess;
  }
  cudaError_t end_capture(cudaStream_t stream, cudaGraph_t* graph) {
    *graph = nullptr;
    if (!stream->capture || stream->capture->origin != stream) return cudaErrorIllegalState;
    const std::unique_ptr<Capture> capture(std::exchange(stream->capture, nullptr));
    capturing_ = nullptr;
    bool joined = true;
    for (cudaStream_t other : capture->streams) {
      other->capture = nullptr;
      joined = joined && comes_before(*capture->graph, other->last, stream->last);
    }
    if (capture->broken) return cudaErrorStreamCaptureInvalidated;
    if (!joined) return cudaErrorStreamCaptureUnjoined;
    *graph = capture->graph.release();
    return cudaSuccess;
  }
  void launch_graph(std::shared_ptr<const CUgraph_st> graph, cudaStream_t stream) {
    enqueue(stream, {[this, graph = std::move(graph)] { replay(*graph, random_); }, {}});
  }
  cudaError_t wait_captured(cudaStream_t stream, cudaEvent_t event) {
    if (!capturing_) return cudaErrorCapturedEvent;  // recorded in a capture that is over
    if (!stream || event->capture != capturing_) return cudaErrorStreamCaptureIsolation;
    if (!stream->capture) {  // it joins
      stream->capture = capturing_;
      stream->last.clear();
      capturing_->streams.push_back(stream);
    }
    stream->last.insert(stream->last.end(), event->nodes.begin(), event->nodes.end());
    return cudaSuccess;
  }

  std::map<const void*, size_t> pinned;  // host memory that copies may use later
  bool is_pinned(const void* pointer) const {
    auto at = pinned.upper_bound(pointer);
    if (at == pinned.begin()) return false;
    --at;
    return static_cast<const char*>(pointer) < static_cast<const char*>(at->first) + at->second;
  }

 private:
  // Runs one piece of work; false if none can go on.
  bool step() {
    std::vector<CUstream_st*> able;
    for (const auto& stream : streams_)
      if (!stream->queue.empty() && (!stream->queue.front().ready || stream->queue.front().ready()))
        able.push_back(stream.get());
    if (able.empty()) return false;
    CUstream_st* chosen = options().order == Order::forward   ? able.front()
                          : options().order == Order::reverse ? able.back()
                                                              : able[random_() % able.size()];
    const Work work = std::move(chosen->queue.front());
    chosen->queue.pop_front();
    work.run();
    return true;
  }

  std::recursive_mutex mutex_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;
  static inline thread_local Capture* capturing_ = nullptr;
  std::mt19937_64 random_{options().seed};
  std::string fault_;
  cudaError_t last_ = cudaSuccess;
};

bool on_device(const void* pointer) { return DeviceMemory::instance().contains(pointer); }

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device =
      kind == cudaMemcpyDefault ? on_device(to) : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device =
      kind == cudaMemcpyDefault ? on_device(from) : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  DeviceMemory& memory = DeviceMemory::instance();
  const auto move = [&] { std::memmove(to, from, bytes); };
  const auto read = [&] { from_device ? memory.access(from, bytes, move) : move(); };
  to_device ? memory.access(to, bytes, read) : read();
}

size_t memory_limit = size_t(4) << 30;

}  // namespace

void enqueue(cudaStream_t stream, std::function<void()> work) {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex());
  runtime.call([&] {
    runtime.enqueue(stream, {std::move(work), {}});
    return cudaSuccess;
  });
}
void drain() {
  Runtime& runtime = Runtime::instance();
  const std::lock_guard lock(runtime.mutex());
  runtime.drain_all();
}
void note_launch(const char* kernel) {
  static const char* const path = std::getenv("TENREC_EMULATOR_COVERAGE");
  if (!path) return;
  static std::mutex mutex;
  static std::set<std::string> noted;
  const std::lock_guard lock(mutex);
  if (noted.insert(kernel).second) std::ofstream(path, std::ios::app) << kernel << "\n";
}
namespace {
std::mutex allowed_mutex;
std::map<const void*, size_t> allowed;  // dynamic shared memory of kernels that were granted more than all may have
}  // namespace
void allow_shared(const void* kernel, size_t bytes) {
  const std::lock_guard lock(allowed_mutex);
  allowed[kernel] = bytes;
}
void check_shared(const Launch& launch, const void* kernel) {
  const std::lock_guard lock(allowed_mutex);
  const auto found = allowed.find(kernel);
  if (launch.shared_bytes > std::max(found == allowed.end() ? 0 : found->second, kSharedForAll))
    fail<KernelError>(launch.name, ": ", launch.shared_bytes,
                      " bytes of dynamic shared memory, more than every kernel may have: cudaFuncSetAttribute must "
                      "allow them first");
}
std::string take_fault() { return Runtime::instance().take_fault(); }
void set_memory_limit(size_t bytes) { memory_limit = bytes; }

}  // namespace tenrec::simt

using tenrec::simt::Runtime;

namespace {
template <class F>
cudaError_t call(F&& f) {
  return Runtime::instance().call(std::forward<F>(f));
}
// For functions without a result of their own.
template <class F>
cudaError_t perform(F&& f) {
  return call([&] {
    f();
    return cudaSuccess;
  });
}
template <class F>
cudaError_t perform_outside_capture(F&& f) {
  return Runtime::instance().call_outside_capture([&] {
    f();
    return cudaSuccess;
  });
}
Runtime& runtime() { return Runtime::instance(); }
}  // namespace

extern "C" {

cudaError_t CUDARTAPI cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaSetDevice(int device) {
  return call([=] { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}
cudaError_t CUDARTAPI cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 2;  // few, so that loops by the grid's stride do go round
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
}
cudaError_t CUDARTAPI cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > 227 * 1024)
    return call([] { return cudaErrorInvalidValue; });
  tenrec::simt::allow_shared(kernel, size_t(value));
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *properties = {};
  std::strcpy(properties->name, "Tenrec's CUDA emulator");
  properties->totalGlobalMem = tenrec::simt::memory_limit;
  properties->major = 9;
  properties->multiProcessorCount = 2;
  properties->l2CacheSize = 1 << 16;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGetLastError() { return runtime().last_error(true); }
cudaError_t CUDARTAPI cudaPeekAtLastError() { return runtime().last_error(false); }
const char* CUDARTAPI cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnjoined:
      return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorCapturedEvent:
      return "cudaErrorCapturedEvent";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
    default:
      return "an error that the emulator does not make";
  }
}
const char* CUDARTAPI cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t CUDARTAPI cudaMalloc(void** pointer, size_t bytes) {
  return runtime().call_outside_capture([=] {
    auto& memory = tenrec::simt::DeviceMemory::instance();
    if (memory.bytes() + bytes > tenrec::simt::memory_limit) return cudaErrorMemoryAllocation;
    *pointer = memory.allocate(bytes);
    return cudaSuccess;
  });
}
cudaError_t CUDARTAPI cudaFree(void* pointer) {
  return perform_outside_capture([=] {
    runtime().drain_all();
    tenrec::simt::deallocate(pointer);
  });
}
cudaError_t CUDARTAPI cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return cudaMalloc(pointer, bytes); }
cudaError_t CUDARTAPI cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return perform([=] { runtime().enqueue(stream, {[=] { tenrec::simt::deallocate(pointer); }, {}}); });
}
cudaError_t CUDARTAPI cudaMallocHost(void** pointer, size_t bytes) {
  return runtime().call_outside_capture([=] {
    *pointer = std::malloc(bytes ? bytes : 1);
    if (!*pointer) return cudaErrorMemoryAllocation;
    runtime().pinned[*pointer] = bytes;
    return cudaSuccess;
  });
}
cudaError_t CUDARTAPI cudaFreeHost(void* pointer) {
  return perform_outside_capture([=] {
    runtime().drain_all();
    runtime().pinned.erase(pointer);
    std::free(pointer);
  });
}
cudaError_t CUDARTAPI cudaMemGetInfo(size_t* free, size_t* total) {
  return perform([=] {
    *total = tenrec::simt::memory_limit;
    *free = *total - tenrec::simt::DeviceMemory::instance().bytes();
  });
}

cudaError_t CUDARTAPI cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return perform_outside_capture([=] {
    runtime().drain_all();
    tenrec::simt::copy(to, from, bytes, kind);
  });
}
cudaError_t CUDARTAPI cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                      cudaStream_t stream) {
  using tenrec::simt::copy;
  return perform([=] {
    if (stream && stream->capture)  // the host's bytes are those that are there when the graph runs
      return runtime().enqueue(stream, {[=] { copy(to, from, bytes, kind); }, {}});
    const bool reads_host = !tenrec::simt::on_device(from), writes_host = !tenrec::simt::on_device(to);
    if (reads_host && !runtime().is_pinned(from)) {  // staged: the host may write again at once
      const auto* bytes_now = static_cast<const char*>(from);
      const auto staged = std::make_shared<std::vector<char>>(bytes_now, bytes_now + bytes);
      runtime().enqueue(stream, {[=] { copy(to, staged->data(), bytes, kind); }, {}});
      return;
    }
    bool done = false;
    const bool waits = writes_host && !runtime().is_pinned(to);
    runtime().enqueue(stream, {[=, flag = waits ? &done : nullptr] {
                                 copy(to, from, bytes, kind);
                                 if (flag) *flag = true;
                               },
                               {}});
    if (waits) runtime().drain([&] { return done; });
  });
}
cudaError_t CUDARTAPI cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  return perform([=] {
    const auto fill = [=] {
      tenrec::simt::DeviceMemory::instance().access(pointer, bytes, [=] { std::memset(pointer, value, bytes); });
    };
    runtime().enqueue(stream, {fill, {}});
  });
}

cudaError_t CUDARTAPI cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return perform([=] { *stream = runtime().add_stream(); });
}
cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t stream) {
  return perform([=] { runtime().remove_stream(stream); });
}
cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t stream) {
  return perform_outside_capture(
      [=] { stream ? runtime().drain([=] { return stream->queue.empty(); }) : runtime().drain_all(); });
}
cudaError_t CUDARTAPI cudaStreamQuery(cudaStream_t stream) {
  return runtime().call_outside_capture(
      [=] { return !stream || stream->queue.empty() ? cudaSuccess : cudaErrorNotReady; });
}
cudaError_t CUDARTAPI cudaDeviceSynchronize() {
  return perform_outside_capture([] { runtime().drain_all(); });
}
cudaError_t CUDARTAPI cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return perform([=] { runtime().enqueue(stream, {[=] { function(data); }, {}}); });
}

cudaError_t CUDARTAPI cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return perform([=] { *event = new CUevent_st; });
}
cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return perform([=] {
    event->capture = stream ? stream->capture : nullptr;
    if (event->capture) {
      event->nodes = stream->last;
      return;
    }
    const std::shared_ptr<Record> record = event->record;
    const uint64_t number = ++record->asked;
    const auto reach = [=] {
      record->done = std::max(record->done, number);
      record->when = std::chrono::steady_clock::now();
    };
    runtime().enqueue(stream, {reach, {}});
  });
}
cudaError_t CUDARTAPI cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call([=] {
    if (event->capture || (stream && stream->capture)) return runtime().wait_captured(stream, event);
    const std::shared_ptr<Record> record = event->record;
    const auto reached = [record, number = record->asked] { return record->done >= number; };
    if (stream)
      runtime().enqueue(stream, {[] {}, reached});
    else
      runtime().drain(reached);
    return cudaSuccess;
  });
}
cudaError_t CUDARTAPI cudaEventSynchronize(cudaEvent_t event) {
  return perform_outside_capture([=] { runtime().drain([=] { return event->record->done >= event->record->asked; }); });
}
cudaError_t CUDARTAPI cudaEventQuery(cudaEvent_t event) {
  return runtime().call_outside_capture(
      [=] { return event->record->done >= event->record->asked ? cudaSuccess : cudaErrorNotReady; });
}
cudaError_t CUDARTAPI cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([=] {
    const Record &a = *start->record, &b = *end->record;
    if (a.asked == 0 || b.asked == 0) return cudaErrorInvalidValue;
    if (a.done < a.asked || b.done < b.asked) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(b.when - a.when).count();
    return cudaSuccess;
  });
}

cudaError_t CUDARTAPI cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return call([=] { return runtime().begin_capture(stream); });
}
cudaError_t CUDARTAPI cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call([=] { return runtime().end_capture(stream, graph); });
}
cudaError_t CUDARTAPI cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return perform([=] { *exec = new CUgraphExec_st{std::make_shared<const CUgraph_st>(*graph)}; });
}
cudaError_t CUDARTAPI cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;  // what was launched goes on
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return runtime().call_outside_capture([=] {
    runtime().launch_graph(exec->graph, stream);
    return cudaSuccess;
  });
}
cudaError_t CUDARTAPI cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes) return cudaErrorNotSupported;
  *count = graph->nodes.size();
  return cudaSuccess;
}

}  // extern "C"
