#include "tenrec/optim/optimizer.h"

#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/core/step_graph.h"
#include "tenrec/core/view.h"

namespace tenrec {

void Optimizer::step() {
  cuda::detail::repeat_on_replay([this] { update(); }, [this] { return [this, slots = slots_] { slots_ = slots; }; });
}

Tensor Optimizer::step(const std::function<Tensor()>& closure) {
  const EnableGrad recording;
  Tensor loss = closure();
  step();
  return loss;
}

void Optimizer::zero_grad() {
  // Gradients that were recorded but never computed must not stay.
  cuda::detail::undo_if_refused([this] { zero_grad(); });
  for (Slot& slot : slots_) slot.param.set_grad({});
}

std::vector<Tensor> Optimizer::parameters() const {
  std::vector<Tensor> all;
  for (const Slot& slot : slots_) all.push_back(slot.param);
  return all;
}

void Optimizer::add_parameters(const std::vector<Tensor>& params, size_t group) {
  std::unordered_set<const void*> known;
  for (const Slot& slot : slots_) known.insert(slot.param.raw());
  for (const Tensor& p : params) {
    if (!p.defined() || !p.is_leaf() || !is_floating(p.dtype()))
      fail<ValueError>("optimizer: parameters must be floating leaves");
    if (!p.is_contiguous()) fail<ValueError>("optimizer: a parameter of shape ", p.shape(), " is not contiguous");
    if (!known.insert(p.raw()).second)
      fail<ValueError>("optimizer: a parameter of shape ", p.shape(), " is given twice");
  }
  for (const Tensor& p : params) slots_.push_back({p, group});
}

void Optimizer::ensure_state(Slot& slot, int k, double value) {
  if (slot.state[k].defined()) {
    slot.state[k] = slot.state[k].to(slot.param.device());  // the model may have been moved since
    return;
  }
  const DType dtype = slot.param.dtype() == f64 ? f64 : f32;
  slot.state[k] = full(slot.param.shape(), value, {.dtype = dtype, .device = slot.param.device()});
}

void Optimizer::for_each_batch(size_t group, std::initializer_list<int> states, double initial,
                               const std::function<void(const Batch&)>& update) {
  const NoGrad off;
  std::vector<kernels::OptimTensor> tensors;
  std::vector<Tensor> keep;  // gradients made contiguous live until the batch is done
  tensors.reserve(slots_.size());
  keep.reserve(slots_.size());
  Batch batch;
  const auto flush = [&] {
    batch.tensors = tensors;
    if (!tensors.empty()) update(batch);
    tensors.clear();
    keep.clear();
  };
  for (Slot& slot : slots_) {
    if (slot.group != group) continue;
    const Tensor grad = slot.param.grad();
    if (!grad.defined()) continue;
    for (int k : states) ensure_state(slot, k, initial);
    ++slot.steps;
    const Device device = slot.param.device();
    if (slot.steps != batch.steps || slot.param.dtype() != batch.dtype || device != batch.device) flush();
    batch = {device, slot.param.dtype(), slot.steps, {}};
    keep.push_back(contiguous(grad));
    kernels::OptimTensor entry{.numel = slot.param.numel()};
    dispatch("optimizer step", device, [&](auto) {
      entry.param = view(slot.param).data;
      entry.grad = view(keep.back()).data;
      for (int k : states) entry.state[k] = view(slot.state[k]).data;
    });
    tensors.push_back(entry);
    detail::bump_version(slot.param);
  }
  flush();
}

std::vector<NamedTensor> Optimizer::state_dict() const {
  std::vector<NamedTensor> out;
  for (size_t g = 0; g < group_count(); ++g) out.push_back({concat("group", g, ".lr"), scalar(lr(g), {.dtype = f64})});
  for (size_t i = 0; i < slots_.size(); ++i) {
    out.push_back({concat(i, ".step"), scalar(slots_[i].steps, {.dtype = f64})});
    for (size_t k = 0; k < state_names_.size(); ++k)
      if (slots_[i].state[k].defined()) out.push_back({concat(i, ".", state_names_[k]), slots_[i].state[k]});
  }
  return out;
}

void Optimizer::load_state_dict(const std::vector<NamedTensor>& state) {
  const NoGrad off;
  std::unordered_map<std::string, Tensor> given;
  for (const NamedTensor& entry : state) given.emplace(entry.name, entry.tensor);
  const auto number = [&](const std::string& name) {
    const auto it = given.find(name);
    if (it == given.end()) fail<ValueError>("optimizer: the saved state has no ", name);
    return it->second.item<double>();
  };
  std::vector<Slot> loaded = slots_;
  size_t used = group_count() + slots_.size();
  for (size_t i = 0; i < loaded.size(); ++i) {
    loaded[i].steps = int64_t(number(concat(i, ".step")));
    for (size_t k = 0; k < state_names_.size(); ++k) {
      const std::string name = concat(i, ".", state_names_[k]);
      const auto it = given.find(name);
      loaded[i].state[k] = Tensor();
      if (it == given.end()) continue;
      ++used;
      if (it->second.shape() != loaded[i].param.shape())
        fail<ShapeError>("optimizer: saved ", name, " has shape ", it->second.shape(), ", its parameter ",
                         loaded[i].param.shape());
      loaded[i].state[k] = clone(it->second);
    }
  }
  std::vector<double> rates;
  for (size_t g = 0; g < group_count(); ++g) rates.push_back(number(concat("group", g, ".lr")));
  if (used != state.size()) fail<ValueError>("optimizer: the saved state belongs to another optimizer or model");
  slots_ = std::move(loaded);
  for (size_t g = 0; g < rates.size(); ++g) set_lr(rates[g], g);
}

namespace detail {
void check_option(bool ok, const char* optimizer, const char* rule, double value) {
  if (!ok) fail<ValueError>(optimizer, ": ", rule, ", got ", value);
}
}  // namespace detail

}  // namespace tenrec
