// What takes the place of the CUDA runtime in a build with TENREC_CUDA=OFF.
#include "tenrec/core/cuda.h"
#include "tenrec/core/cuda_memory.h"
#include "tenrec/core/error.h"
#include "tenrec/core/step_graph.h"
#include "tenrec/core/tensor.h"

namespace tenrec::cuda {
namespace {
[[noreturn]] void refuse(const char* what) {
  fail<DeviceError>(what, ": there is no cuda device because Tenrec was built with TENREC_CUDA=OFF; ",
                    "configure with TENREC_CUDA=ON or use kCpu");
}
}  // namespace

int device_count() noexcept { return 0; }
std::string describe(Device) { refuse("cuda::describe"); }
int64_t l2_bytes(Device) { refuse("cuda::l2_bytes"); }
void synchronize(Device) { refuse("cuda::synchronize"); }
Stream current_stream(Device) { refuse("cuda::current_stream"); }
Stream new_stream(Device) { refuse("cuda::new_stream"); }
void synchronize(const Stream&) { refuse("cuda::synchronize"); }
void wait(const Stream&, const Stream&) { refuse("cuda::wait"); }
StreamScope::StreamScope(const Stream&) { refuse("cuda::StreamScope"); }
StreamScope::~StreamScope() {}  // not trivial, as with CUDA
Timer::Timer(Device) { refuse("cuda::Timer"); }
Timer::~Timer() {}
void Timer::start() {}
void Timer::stop() {}
double Timer::microseconds() const { return 0; }
MemoryStats memory_stats(Device) { refuse("cuda::memory_stats"); }
void set_memory_limit(int64_t, Device) { refuse("cuda::set_memory_limit"); }
void empty_cache(Device) { refuse("cuda::empty_cache"); }
Tensor pin_memory(const Tensor&) { refuse("cuda::pin_memory"); }
bool is_pinned(const Tensor&) { return false; }
void tune(const std::string&) { refuse("cuda::tune"); }
void load_tuning(const std::string&) { refuse("cuda::load_tuning"); }
void stop_tuning() {}
void set_profiling(bool on) {
  if (on) refuse("cuda::set_profiling");
}

namespace detail {
Block* allocate(size_t, Device) { refuse("empty"); }
void deallocate(Block*) noexcept {}
void* address(const Block*) { return nullptr; }
void use(Block*) {}
void copy_to_device(void*, const void*, size_t, Device, bool) { refuse("to"); }
void copy_to_host(void*, const void*, size_t, Device) { refuse("to"); }
struct StepGraph::Impl {};
StepGraph::StepGraph(Device) { refuse("cuda::capture"); }
StepGraph::~StepGraph() = default;
void StepGraph::run(const HostAction&) {}
bool StepGraph::record(const HostAction&) { return false; }
void StepGraph::replay(bool) {}
bool StepGraph::recorded() const { return false; }
void StepGraph::forget() {}
int64_t StepGraph::nodes() const { return 0; }
Device StepGraph::device() const { return DeviceType::cuda; }
std::unique_ptr<MemoryImage> StepGraph::image(const std::vector<const void*>&) { return nullptr; }
std::vector<HostAction> StepGraph::host_state() const { return {}; }

void enter(const char* op, Device) {
  fail<DeviceError>(op,
                    ": tensor is on cuda but Tenrec was built with TENREC_CUDA=OFF; "
                    "configure with TENREC_CUDA=ON or move the tensor with x.to(kCpu)");
}
}  // namespace detail
}  // namespace tenrec::cuda
