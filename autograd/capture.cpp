#include "tenrec/autograd/capture.h"

#include <algorithm>
#include <utility>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/mutate.h"
#include "tenrec/core/random.h"
#include "tenrec/core/step_graph.h"

namespace tenrec::cuda::detail {
namespace {

constexpr int kFirstSteps = 2;  // that run as usual: the second finds what the first has made, an optimizer's state say
constexpr int kMostAttempts = 4;  // to record, each after a step that made the pool larger

Device device_for(const std::vector<Tensor>& examples) {
  for (const Tensor& x : examples)
    if (x.device().is_cuda()) return x.device();
  return default_device().is_cuda() ? default_device() : Device(DeviceType::cuda);
}

std::vector<Tensor> detached(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> out;
  for (const Tensor& x : tensors) out.push_back(x.detach());
  return out;
}

std::vector<double> on_host(const Tensor& x) { return x.to_vector<double>(); }

// Where two lists of results differ; empty if nowhere. NaN equals NaN.
std::string compare_results(const std::vector<std::vector<double>>& replayed,
                            const std::vector<std::vector<double>>& usual, size_t outputs) {
  for (size_t i = 0; i < std::min(replayed.size(), usual.size()); ++i) {
    const auto same = [](double a, double b) { return a == b || (a != a && b != b); };
    const auto at = std::ranges::mismatch(replayed[i], usual[i], same).in1 - replayed[i].begin();
    if (size_t(at) < replayed[i].size())
      return concat("step ", i / outputs + 1, ", result ", i % outputs, ", element ", int64_t(at), ": replayed ",
                    replayed[i][size_t(at)], ", else ", usual[i][size_t(at)]);
  }
  return {};
}

std::string compare_memory(const MemoryImage& image, const std::vector<std::vector<char>>& replayed,
                           const std::vector<std::vector<char>>& usual) {
  for (size_t i = 0; i < replayed.size(); ++i) {
    if (replayed[i] == usual[i]) continue;
    if (std::string what = image.describe(i); !what.empty()) return what + " differs after the last step";
  }
  return {};
}

}  // namespace

struct Step::Impl {
  Function function;
  std::vector<Tensor> inputs, outputs = {};  // where the recorded work reads and writes
  StepGraph graph;
  int done = 0, attempts = 0;

  Impl(Function f, const std::vector<Tensor>& examples) : function(std::move(f)), graph(device_for(examples)) {
    const Device device = graph.device();
    graph.run([&] {
      for (const Tensor& x : examples) inputs.push_back(empty(x.shape(), {.dtype = x.dtype(), .device = device}));
    });
  }

  void take(std::span<const TensorRef> given);
  std::vector<Tensor> usual();
  bool record();
  std::vector<Tensor> next();
};

void Step::Impl::take(std::span<const TensorRef> given) {
  if (given.size() != inputs.size())
    fail<ValueError>("a captured step of ", inputs.size(), " inputs was given ", given.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (given[i]->shape() != inputs[i].shape())
      fail<ShapeError>("a captured step was made for input ", i, " of shape ", inputs[i].shape(), ", got ",
                       given[i]->shape(), "; make another step for it");
    if (given[i]->dtype() != inputs[i].dtype())
      fail<DTypeError>("a captured step was made for input ", i, " of dtype ", inputs[i].dtype(), ", got ",
                       given[i]->dtype());
  }
  const NoGrad off;
  for (size_t i = 0; i < inputs.size(); ++i) copy_(inputs[i], given[i]->detach());
}

std::vector<Tensor> Step::Impl::usual() {
  std::vector<Tensor> out;
  graph.run([&] { out = detached(function(inputs)); });
  return out;
}

bool Step::Impl::record() {
  outputs.clear();
  return graph.record([&] { outputs = detached(function(inputs)); });
}

std::vector<Tensor> Step::Impl::next() {
  const bool fresh = !graph.recorded();
  if (fresh) {
    if (done < kFirstSteps || !record()) {
      if (done >= kFirstSteps && ++attempts == kMostAttempts)
        fail<CaptureError>("a captured step needs more memory each time: its pool never suffices");
      ++done;
      return usual();
    }
    attempts = 0;
  }
  graph.replay(fresh);
  for (const Tensor& x : outputs) tenrec::detail::bump_version(x);
  return outputs;
}

Step::Step(Function function, const std::vector<Tensor>& examples)
    : impl_(std::make_unique<Impl>(std::move(function), examples)) {}
Step::~Step() = default;
Step::Step(Step&&) noexcept = default;
Step& Step::operator=(Step&&) noexcept = default;

std::vector<Tensor> Step::call(std::span<const TensorRef> inputs) {
  impl_->take(inputs);
  return impl_->next();
}

int64_t Step::nodes() const { return impl_->graph.nodes(); }

Verification Step::verify(int64_t n, std::span<const TensorRef> inputs) {
  Impl& s = *impl_;
  s.take(inputs);
  while (!s.graph.recorded()) s.next();
  std::vector<const void*> except;
  for (const Tensor& x : s.outputs) except.push_back(x.impl().storage->data);
  const auto image = s.graph.image(except);
  const GeneratorState random = default_generator().state();
  const std::vector<HostAction> host = s.graph.host_state();
  const auto go_back = [&] {
    image->restore();
    default_generator().set_state(random);
    for (const HostAction& undo : host) undo();
  };
  std::vector<std::vector<double>> results[2];
  std::vector<std::vector<char>> memory[2];
  for (const bool replayed : {true, false}) {
    for (int64_t i = 0; i < n; ++i)
      for (const Tensor& x : replayed ? s.next() : s.usual()) results[!replayed].push_back(on_host(x));
    memory[!replayed] = image->read();
    go_back();
  }
  std::string difference = compare_results(results[0], results[1], std::max<size_t>(s.outputs.size(), 1));
  if (difference.empty()) difference = compare_memory(*image, memory[0], memory[1]);
  // Gradients and the like now lie where the steps without the graph have put them: the next call records again.
  s.graph.forget();
  return {difference.empty(), difference};
}

}  // namespace tenrec::cuda::detail
