#include "tenrec/core/step_graph.h"

#include <cstring>
#include <utility>

#include "tenrec/core/cuda/allocator.h"
#include "tenrec/core/cuda/runtime.h"
#include "tenrec/core/cuda/step_state.h"

namespace tenrec::cuda {
namespace detail {
namespace {

using Phase = StepState::Phase;

constexpr size_t kMostNumbers = 64 << 10;  // bytes; an optimizer takes some 40 for 64 tensors

// The calling thread is within a step until the end of the scope.
class PhaseScope {
 public:
  PhaseScope(StepState& state, Phase phase) {
    if (current_step) fail<CaptureError>("a captured step cannot be called within another one");
    state.phase = phase;
    current_step = &state;
  }
  ~PhaseScope() { current_step = nullptr; }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;
};

void undo(std::vector<HostAction>& actions) {
  for (; !actions.empty(); actions.pop_back()) actions.back()();
}

class Image final : public MemoryImage {
 public:
  Image(Allocator& allocator, const std::vector<const void*>& except)
      : allocator_(allocator), blocks_(allocator.hold_all(except)), saved_(read()) {}
  ~Image() override { allocator_.let_go(blocks_); }
  void restore() const override {
    TENREC_CUDA_CHECK(cudaDeviceSynchronize());
    for (size_t i = 0; i < blocks_.size(); ++i)
      TENREC_CUDA_CHECK(cudaMemcpy(blocks_[i]->data, saved_[i].data(), saved_[i].size(), cudaMemcpyHostToDevice));
  }
  std::vector<std::vector<char>> read() const override {
    TENREC_CUDA_CHECK(cudaDeviceSynchronize());
    std::vector<std::vector<char>> out;
    for (const Block* block : blocks_) {
      std::vector<char>& bytes = out.emplace_back(block->asked);
      TENREC_CUDA_CHECK(cudaMemcpy(bytes.data(), block->data, bytes.size(), cudaMemcpyDeviceToHost));
    }
    return out;
  }
  std::string describe(size_t i) const override {
    if (blocks_[i]->orphan) return {};
    return concat("a tensor of ", blocks_[i]->asked, " bytes", blocks_[i]->owner.empty() ? "" : " of ",
                  blocks_[i]->owner);
  }

 private:
  Allocator& allocator_;
  std::vector<Block*> blocks_;
  std::vector<std::vector<char>> saved_;
};

}  // namespace

// --- what the rest of the runtime asks ------------------------------------------------------------------------------

void refuse_while_recording(const char* what) {
  if (recording()) [[unlikely]]
    fail<CaptureError>(what,
                       ": a captured step cannot do this, because nothing runs while it is recorded; do it before ",
                       "or after the step");
}

void fail_recording_on_cpu(const char* op) {
  fail<CaptureError>(op, ": a captured step works on a device; on the CPU this would not be done again when it is ",
                     "replayed: make the tensor on the device, or before the step");
}

void check_launch() {
  if (current_step->changing > 0) return;
  if (current_step->phase == Phase::repeating || current_step->in_action)
    fail<CaptureError>("a captured step cannot replay this optimizer: its step computes with ops, whose numbers would ",
                       "stay as they were recorded");
}

Place place_number(const void* value, size_t bytes, size_t align) {
  StepState& step = *current_step;
  if (step.phase == Phase::running) return {};
  const size_t at = (step.staged.size() + align - 1) / align * align;
  if (at + bytes > kMostNumbers) fail<CaptureError>("a captured step has more changing numbers than it has room for");
  step.staged.resize(at + bytes);
  std::memcpy(step.staged.data() + at, value, bytes);
  return {step.numbers + at, step.phase == Phase::recording};
}

void repeat_on_replay(const HostAction& action, const std::function<HostAction()>& state) {
  if (!recording()) return action();
  StepState& step = *current_step;
  step.undo.push_back(state());
  step.actions.push_back({action, state});
  step.in_action = true;
  try {
    action();
  } catch (...) {
    step.in_action = false;
    throw;
  }
  step.in_action = false;
}

void fixed_on_replay(const HostAction& work) {
  if (!current_step) return work();
  if (current_step->phase == Phase::repeating) return;
  ++current_step->changing;  // launches are not refused: a replay's are right
  try {
    work();
  } catch (...) {
    --current_step->changing;
    throw;
  }
  --current_step->changing;
}

void undo_if_refused(const HostAction& undo) {
  if (recording()) current_step->undo.push_back(undo);
}

// --- the graph ------------------------------------------------------------------------------------------------------

struct StepGraph::Impl {
  Device device;
  cudaStream_t stream = nullptr;
  Allocator* allocator = nullptr;
  Block* numbers = nullptr;
  StepState state = {};
  cudaGraphExec_t exec = nullptr;
  size_t staged = 0;   // bytes of numbers that were recorded
  uint64_t draws = 0;  // random numbers that were asked for, in calls
  int64_t nodes = 0;

  void check_stream() const {
    if (current_stream(device).handle != stream)
      fail<CaptureError>("a captured step was called on another stream than it was made on");
  }
  void begin_numbers(GeneratorState random) {
    state.random = random;
    state.staged.assign(sizeof random, 0);
    std::memcpy(state.staged.data(), &random, sizeof random);
  }
  void record(const HostAction& f);
  void forget();
};

StepGraph::StepGraph(Device device) : impl_(std::make_unique<Impl>()) {
  enter("cuda::capture", device);
  impl_->device = device;
  impl_->stream = static_cast<cudaStream_t>(current_stream(device).handle);
  impl_->allocator = &Allocator::of(device.index);
  impl_->state.pool = impl_->allocator->new_pool();
  impl_->numbers = impl_->allocator->allocate(kMostNumbers, impl_->stream, impl_->state.pool);
  impl_->state.numbers = impl_->numbers->data;
}

StepGraph::~StepGraph() {
  impl_->forget();
  impl_->allocator->deallocate(impl_->numbers);
  impl_->allocator->retire_pool(impl_->state.pool);
}

void StepGraph::run(const HostAction& f) {
  enter("cuda::capture", impl_->device);
  impl_->check_stream();
  const PhaseScope scope(impl_->state, Phase::running);
  f();
}

bool StepGraph::record(const HostAction& f) {
  enter("cuda::capture", impl_->device);
  impl_->check_stream();
  impl_->forget();
  const GeneratorState random = default_generator().state();
  const auto undo_all = [&] {
    undo(impl_->state.undo);
    default_generator().set_state(random);
    impl_->forget();
  };
  try {
    impl_->begin_numbers(random);
    impl_->record(f);
  } catch (const PoolTooSmall&) {
    undo_all();
    return false;
  } catch (...) {
    undo_all();
    throw;
  }
  impl_->state.undo.clear();
  impl_->staged = impl_->state.staged.size();
  impl_->draws = default_generator().state().offset - random.offset;
  return true;
}

void StepGraph::Impl::record(const HostAction& f) {
  const PhaseScope scope(state, Phase::recording);
  cudaGraph_t graph = nullptr;
  TENREC_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  recording_on_thread = true;
  try {
    f();
  } catch (...) {
    recording_on_thread = false;
    cudaStreamEndCapture(stream, &graph);
    cudaGetLastError();
    if (graph) cudaGraphDestroy(graph);
    throw;
  }
  recording_on_thread = false;
  TENREC_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  size_t count = 0;
  cudaGraphGetNodes(graph, nullptr, &count);
  nodes = int64_t(count);
  const cudaError_t made = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  TENREC_CUDA_CHECK(made);
  allocator->settle_deferred();
}

void StepGraph::Impl::forget() {
  if (exec) cudaGraphExecDestroy(std::exchange(exec, nullptr));  // what was launched goes on
  state.actions.clear();
  state.undo.clear();
  nodes = 0;
  allocator->let_go(std::exchange(state.held, {}));
  allocator->settle_deferred();
}

void StepGraph::replay(bool fresh) {
  Impl& s = *impl_;
  enter("cuda::capture", s.device);
  s.check_stream();
  if (!fresh) {
    const PhaseScope scope(s.state, Phase::repeating);
    GeneratorState random = default_generator().state();
    s.begin_numbers(random);
    try {
      for (const StepState::Repeated& repeated : s.state.actions) repeated.action();
      if (s.state.staged.size() != s.staged)
        fail<CaptureError>("a captured step's optimizer no longer does what was recorded: were gradients cleared or ",
                           "parameters added outside the step?");
    } catch (...) {
      s.forget();
      throw;
    }
    random.offset += s.draws;
    default_generator().set_state(random);
  }
  // From memory that the host may write again at once: so few bytes are copied before the call returns.
  TENREC_CUDA_CHECK(
      cudaMemcpyAsync(s.state.numbers, s.state.staged.data(), s.staged, cudaMemcpyHostToDevice, s.stream));
  TENREC_CUDA_CHECK(cudaGraphLaunch(s.exec, s.stream));
}

bool StepGraph::recorded() const { return impl_->exec != nullptr; }
void StepGraph::forget() { impl_->forget(); }
int64_t StepGraph::nodes() const { return impl_->nodes; }
Device StepGraph::device() const { return impl_->device; }

std::unique_ptr<MemoryImage> StepGraph::image(const std::vector<const void*>& except) {
  enter("cuda::capture", impl_->device);
  std::vector<const void*> without = except;
  without.push_back(impl_->numbers->data);
  return std::make_unique<Image>(*impl_->allocator, without);
}

std::vector<HostAction> StepGraph::host_state() const {
  std::vector<HostAction> out;
  for (const StepState::Repeated& repeated : impl_->state.actions) out.push_back(repeated.state());
  return out;
}

}  // namespace detail

RandomKey random_key(GeneratorState state) {
  const detail::StepState* step = detail::current_step;
  if (!step || step->phase == detail::StepState::Phase::running) return {state};
  if (state.seed != step->random.seed || state.offset < step->random.offset)
    fail<CaptureError>("random numbers: a captured step draws from the thread's default generator alone");
  return {{state.seed, state.offset - step->random.offset}, reinterpret_cast<const GeneratorState*>(step->numbers)};
}

}  // namespace tenrec::cuda
