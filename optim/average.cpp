#include "tenrec/optim/average.h"

#include <algorithm>
#include <unordered_map>

#include "tenrec/autograd/ops.h"
#include "tenrec/core/step_graph.h"
#include "tenrec/core/view.h"
#include "tenrec/kernels/optim.h"

namespace tenrec {
namespace {
// Of the average of a tensor.
DType average_dtype(DType live) { return !is_floating(live) || live == f64 ? live : f32; }
}  // namespace

WeightAverage::WeightAverage(const char* name, Module& model, bool use_buffers) : name_(name) {
  const NoGrad off;
  const auto add = [&](const std::vector<NamedTensor>& tensors, bool averaged) {
    for (const NamedTensor& entry : tensors) {
      const DType dtype = entry.tensor.dtype();
      entries_.push_back({entry.name, entry.tensor, clone(entry.tensor.detach()).to(average_dtype(dtype)),
                          averaged && is_floating(dtype)});
    }
  };
  add(named_parameters(model), true);
  add(named_buffers(model), use_buffers);
}

void WeightAverage::update() {
  if (applied()) fail<ValueError>(name_, ": update while the averages are applied to the model; call restore first");
  cuda::detail::repeat_on_replay([this] { move(); },
                                 [this] { return [this, updates = updates_] { updates_ = updates; }; });
}

void WeightAverage::move() {
  const NoGrad off;
  const kernels::AverageStep step{updates_ == 0 ? 1 : share(updates_)};
  ++updates_;
  std::vector<kernels::OptimTensor> tensors;
  std::vector<Tensor> keep;  // weights made contiguous live until they are read
  Device device = kCpu;
  DType dtype = f32;
  const auto flush = [&] {
    if (!tensors.empty()) dispatch(name_, device, [&](auto tag) { kernels::average_step(tag, dtype, tensors, step); });
    tensors.clear();
  };
  for (Entry& e : entries_) {
    // The model may have been moved or cast since.
    e.average = e.average.to(e.live.device()).to(average_dtype(e.live.dtype()));
    if (!e.averaged) {
      cuda::detail::fixed_on_replay([&] { copy_(e.average, e.live); });
      continue;
    }
    if (e.live.device() != device || e.live.dtype() != dtype) flush();
    device = e.live.device();
    dtype = e.live.dtype();
    keep.push_back(contiguous(e.live.detach()));
    dispatch(name_, device, [&](auto) {
      tensors.push_back({.grad = view(keep.back()).data, .state = {view(e.average).data}, .numel = e.live.numel()});
    });
    detail::bump_version(e.average);
  }
  flush();
}

void WeightAverage::apply() {
  if (applied()) fail<ValueError>(name_, ": the averages are applied already; call restore first");
  const NoGrad off;
  std::vector<Tensor> kept;
  for (const Entry& e : entries_) kept.push_back(clone(e.live.detach()));
  for (const Entry& e : entries_) copy_(e.live, e.average.to(e.live.device()));
  kept_ = std::move(kept);
}

void WeightAverage::restore() {
  if (!applied()) fail<ValueError>(name_, ": restore without apply");
  const NoGrad off;
  for (size_t i = 0; i < entries_.size(); ++i) copy_(entries_[i].live, kept_[i].to(entries_[i].live.device()));
  kept_.clear();
}

std::vector<NamedTensor> WeightAverage::values() const {
  std::vector<NamedTensor> out;
  for (const Entry& e : entries_) out.push_back({e.name, e.average});
  return out;
}

std::vector<NamedTensor> WeightAverage::state_dict() const {
  std::vector<NamedTensor> out{{"updates", scalar(updates_, {.dtype = f64})}};
  for (const Entry& e : entries_) out.push_back({"average." + e.name, e.average});
  return out;
}

void WeightAverage::load_state_dict(const std::vector<NamedTensor>& state) {
  const NoGrad off;
  std::unordered_map<std::string, Tensor> given;
  for (const NamedTensor& entry : state) given.emplace(entry.name, entry.tensor);
  const auto find = [&](const std::string& name) -> const Tensor& {
    const auto it = given.find(name);
    if (it == given.end()) fail<ValueError>(name_, ": the saved state has no ", name);
    return it->second;
  };
  const auto updates = int64_t(find("updates").item<double>());
  std::vector<Tensor> loaded;
  for (const Entry& e : entries_) {
    const Tensor& average = find("average." + e.name);
    if (average.shape() != e.live.shape())
      fail<ShapeError>(name_, ": saved average.", e.name, " has shape ", average.shape(), ", the model's ",
                       e.live.shape());
    loaded.push_back(clone(average).to(e.average.dtype()));
  }
  if (given.size() != entries_.size() + 1) fail<ValueError>(name_, ": the saved state belongs to another model");
  for (size_t i = 0; i < loaded.size(); ++i) entries_[i].average = loaded[i];
  updates_ = updates;
}

EMA::EMA(Module& model, const EMAOptions& options)
    : WeightAverage("EMA", model, options.use_buffers), options_(options) {
  if (!(options.decay >= 0 && options.decay <= 1))
    fail<ValueError>("EMA: decay must lie in [0, 1], got ", options.decay);
}
double EMA::share(int64_t updates) const {
  const auto n = double(updates);
  return 1 - (options_.warmup ? std::min(options_.decay, (1 + n) / (10 + n)) : options_.decay);
}

SWA::SWA(Module& model, const SWAOptions& options) : WeightAverage("SWA", model, options.use_buffers) {}

namespace detail {
namespace {
class EveryModule final : public Visitor {
 public:
  std::vector<Module*> found;

 private:
  void on_module(const std::string&, Module& module) override { found.push_back(&module); }
};
}  // namespace

BatchNormPass::BatchNormPass(Module& model) : model_(model) {
  EveryModule all;
  all.start(model);
  for (Module* module : all.found) {
    modes_.emplace_back(module, module->is_training());
    auto* layer = dynamic_cast<BatchNorm*>(module);
    if (!layer || !layer->running_mean.defined()) continue;
    layers_.push_back(layer);
    momenta_.push_back(layer->momentum());
    layer->reset_running_stats();
  }
  if (!layers_.empty()) train(model);
}

BatchNormPass::~BatchNormPass() {
  for (size_t i = 0; i < layers_.size(); ++i) layers_[i]->set_momentum(momenta_[i]);
  for (const auto& [module, training] : modes_) set_training(*module, training);
  EveryModule().start(model_);  // those walks began within the model: paths are given anew
}

void BatchNormPass::next() {
  ++batches_;
  for (BatchNorm* layer : layers_) layer->set_momentum(1 / double(batches_));
}
}  // namespace detail

}  // namespace tenrec
