#include "tenrec/core/cuda/runtime.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "tenrec/core/cuda/allocator.h"
#include "tenrec/core/cuda/index_record.h"
#include "tenrec/core/cuda/pinned.h"
#include "tenrec/core/cuda/step_state.h"
#include "tenrec/core/dispatch.h"
#if defined(TENREC_CUDA_EMULATED)
#include "emulator/runtime.h"
#endif

namespace tenrec::cuda {
namespace {

constexpr int kMaxDevices = 16;

constinit thread_local int current_device = 0;
constinit thread_local std::array<cudaStream_t, kMaxDevices> current_streams{};

// A stream that does not wait for the legacy stream 0.
cudaStream_t make_stream() {
  cudaStream_t stream = nullptr;
  TENREC_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  detail::add_index_record(stream);
  return stream;
}

cudaStream_t default_stream(int device) {
  static std::array<std::once_flag, kMaxDevices> made;
  static std::array<cudaStream_t, kMaxDevices> streams;
  std::call_once(made[size_t(device)], [&] { streams[size_t(device)] = make_stream(); });
  return streams[size_t(device)];
}

void enter(const char* op, int device) {
  if (device == current_device && device < device_count()) [[likely]]
    return;
  if (device < 0 || device >= device_count())
    fail<DeviceError>(op, ": there is no device cuda:", device, "; this machine has ", device_count());
  TENREC_CUDA_CHECK(cudaSetDevice(device));
  current_device = device;
}

// What the device's fault was, where somebody knows more than the error's name.
std::string fault_text() {
#if defined(TENREC_CUDA_EMULATED)
  return simt::take_fault();
#else
  return {};
#endif
}

cudaStream_t handle(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle); }

cudaStream_t thread_stream() {
  cudaStream_t& current = current_streams[size_t(current_device)];
  if (!current) current = default_stream(current_device);
  return current;
}

}  // namespace

namespace detail {

void fail_call(cudaError_t error, const char* call, const char* file, int line) {
  cudaGetLastError();
  const char* name = std::strrchr(file, '/');
  const std::string where = concat(call, " (", name ? name + 1 : file, ":", line, ")");
  if (error == cudaErrorMemoryAllocation) fail<OutOfMemoryError>("out of memory on cuda:", current_device, ": ", where);
  const std::string fault = fault_text();
  fail<DeviceError>("cuda: ", cudaGetErrorName(error), ": ", fault.empty() ? cudaGetErrorString(error) : fault, " in ",
                    where);
}

void enter(const char* op, Device device) { cuda::enter(op, device.index); }

Block* allocate(size_t bytes, Device device) {
  cuda::enter("empty", device.index);
  return Allocator::of(device.index).allocate(bytes, thread_stream(), current_step ? current_step->pool : 0);
}
void deallocate(Block* block) noexcept { Allocator::of(block->device).deallocate(block); }
void* address(const Block* block) { return block->data; }
void use(Block* block) {
  if (block->stream != thread_stream()) [[unlikely]]
    Allocator::of(block->device).used_on(block, thread_stream());
  if (!recording() || block->pool == current_step->pool) [[likely]]
    return;
  std::vector<Block*>& held = current_step->held;
  if (std::ranges::count(held, block)) return;
  held.push_back(block);
  Allocator::of(block->device).hold(block);
}

// What the thread is doing, for a message.
const char* current_op(const char* otherwise) {
  return tenrec::detail::dispatching.op ? tenrec::detail::dispatching.op : otherwise;
}

void copy_to_device(void* to, const void* from, size_t bytes, Device device, bool non_blocking) {
  cuda::enter("to", device.index);
  refuse_while_recording(current_op("copying from the host to a device"));
  if (!bytes) return;
  TENREC_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, thread_stream()));
  // Of pageable memory the driver has taken a copy by now.
  if (!PinnedMemory::instance().contains(from)) return;
  if (non_blocking) return PinnedMemory::instance().used_on(from, thread_stream());
  TENREC_CUDA_CHECK(cudaStreamSynchronize(thread_stream()));
  look_at_index_record(thread_stream());
}
void copy_to_host(void* to, const void* from, size_t bytes, Device device) {
  cuda::enter("to", device.index);
  refuse_while_recording(current_op("reading a value on the host"));
  if (bytes) TENREC_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, thread_stream()));
  TENREC_CUDA_CHECK(cudaStreamSynchronize(thread_stream()));
  look_at_index_record(thread_stream());
}

}  // namespace detail

cudaStream_t stream() {
  if (detail::current_step) [[unlikely]]
    detail::check_launch();
  return thread_stream();
}
int device() { return current_device; }

// An attribute of the current device that is never 0, asked for once.
template <cudaDeviceAttr attribute>
int attribute_of_device() {
  static thread_local std::array<int, kMaxDevices> values{};
  int& value = values[size_t(current_device)];
  if (!value) TENREC_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, current_device));
  return value;
}
int multiprocessors() { return attribute_of_device<cudaDevAttrMultiProcessorCount>(); }
bool has_tensor_cores() { return attribute_of_device<cudaDevAttrComputeCapabilityMajor>() >= 8; }

int device_count() noexcept {
  static const int count = [] {
    int n = 0;
    if (cudaGetDeviceCount(&n) == cudaSuccess) return std::min(n, kMaxDevices);
    cudaGetLastError();  // no driver, or none that fits: there is no device
    return 0;
  }();
  return count;
}

std::string describe(Device device) {
  enter("cuda::describe", device.index);
  cudaDeviceProp properties;
  TENREC_CUDA_CHECK(cudaGetDeviceProperties(&properties, device.index));
  return concat(properties.name, ", compute capability ", properties.major, ".", properties.minor, ", ",
                properties.totalGlobalMem >> 20, " MiB");
}

int64_t l2_bytes(Device device) {
  enter("cuda::l2_bytes", device.index);
  cudaDeviceProp properties;
  TENREC_CUDA_CHECK(cudaGetDeviceProperties(&properties, device.index));
  return properties.l2CacheSize;
}

void synchronize(Device device) {
  enter("cuda::synchronize", device.index);
  detail::refuse_while_recording("cuda::synchronize");
  TENREC_CUDA_CHECK(cudaDeviceSynchronize());
  detail::look_at_index_records(device.index);
}

Stream current_stream(Device device) {
  enter("cuda::current_stream", device.index);
  return {device, thread_stream()};
}

Stream new_stream(Device device) {
  enter("cuda::new_stream", device.index);
  return {device, make_stream()};
}

void synchronize(const Stream& stream) {
  enter("cuda::synchronize", stream.device.index);
  detail::refuse_while_recording("cuda::synchronize");
  TENREC_CUDA_CHECK(cudaStreamSynchronize(handle(stream)));
  detail::look_at_index_record(handle(stream));
}

void wait(const Stream& waiting, const Stream& other) {
  enter("cuda::wait", other.device.index);
  cudaEvent_t event = nullptr;
  TENREC_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const cudaError_t recorded = cudaEventRecord(event, handle(other));
  const cudaError_t waited = recorded == cudaSuccess ? cudaStreamWaitEvent(handle(waiting), event, 0) : recorded;
  cudaEventDestroy(event);  // lives on until the streams are done with it
  TENREC_CUDA_CHECK(waited);
}

StreamScope::StreamScope(const Stream& stream) : before_(current_stream(stream.device)) {
  current_streams[size_t(stream.device.index)] = handle(stream);
}
StreamScope::~StreamScope() { current_streams[size_t(before_.device.index)] = handle(before_); }

Timer::Timer(Device device) : device_(device) {
  enter("cuda::Timer", device.index);
  for (void** event : {&start_, &stop_}) {
    cudaEvent_t made = nullptr;
    TENREC_CUDA_CHECK(cudaEventCreateWithFlags(&made, cudaEventDefault));
    *event = made;
  }
}
Timer::~Timer() {
  for (void* event : {start_, stop_}) cudaEventDestroy(static_cast<cudaEvent_t>(event));
}
void Timer::start() {
  enter("cuda::Timer", device_.index);
  TENREC_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(start_), stream()));
}
void Timer::stop() {
  enter("cuda::Timer", device_.index);
  TENREC_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(stop_), stream()));
}
double Timer::microseconds() const {
  float milliseconds = 0;
  TENREC_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(stop_)));
  TENREC_CUDA_CHECK(
      cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start_), static_cast<cudaEvent_t>(stop_)));
  return 1e3 * double(milliseconds);
}

MemoryStats memory_stats(Device device) { return detail::Allocator::of(device.index).stats(); }
void set_memory_limit(int64_t bytes, Device device) { detail::Allocator::of(device.index).set_limit(bytes); }
void empty_cache(Device device) {
  enter("cuda::empty_cache", device.index);
  detail::refuse_while_recording("cuda::empty_cache");
  detail::Allocator::of(device.index).empty_cache();
}

}  // namespace tenrec::cuda
