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
  const DType dtype = slot.param.dtype() == f64 ? f64 : f32;
  if (slot.state[k].defined()) {
    // The model may have been moved or cast since, or the state be one of another dtype.
    slot.state[k] = contiguous(slot.state[k].to(slot.param.device()).to(dtype));
    return;
  }
  slot.state[k] = full(slot.param.shape(), value, {.dtype = dtype, .device = slot.param.device()});
}

std::vector<Optimizer::Slot*> Optimizer::slots_with_gradient(size_t group) {
  std::vector<Slot*> out;
  for (Slot& slot : slots_)
    if (slot.group == group && slot.param.grad().defined()) out.push_back(&slot);
  return out;
}

void Optimizer::for_each_batch(size_t group, std::initializer_list<int> states, double initial,
                               const std::function<void(const Batch&)>& update) {
  const NoGrad off;
  std::vector<kernels::OptimTensor> tensors;
  std::vector<Tensor> keep;  // gradients made contiguous live until the batch is done
  std::vector<Slot*> slots;
  tensors.reserve(slots_.size());
  keep.reserve(slots_.size());
  Batch batch;
  const auto flush = [&] {
    batch.tensors = tensors;
    batch.slots = slots;
    if (!tensors.empty()) update(batch);
    tensors.clear();
    keep.clear();
    slots.clear();
  };
  for (Slot* slot : slots_with_gradient(group)) {
    for (int k : states) ensure_state(*slot, k, initial);
    ++slot->steps;
    const Device device = slot->param.device();
    if (slot->steps != batch.steps || slot->number != batch.number || slot->param.dtype() != batch.dtype ||
        device != batch.device)
      flush();
    batch = {device, slot->param.dtype(), slot->steps, slot->number, {}, {}};
    slots.push_back(slot);
    keep.push_back(contiguous(slot->param.grad()));
    kernels::OptimTensor entry{.numel = slot->param.numel()};
    dispatch("optimizer step", device, [&](auto) {
      entry.param = view(slot->param).data;
      entry.grad = view(keep.back()).data;
      for (int k : states) entry.state[k] = view(slot->state[k]).data;
    });
    tensors.push_back(entry);
    detail::bump_version(slot->param);
  }
  flush();
}

std::vector<NamedTensor> Optimizer::state_dict() const {
  std::vector<NamedTensor> out;
  for (size_t g = 0; g < group_count(); ++g) out.push_back({concat("group", g, ".lr"), scalar(lr(g), {.dtype = f64})});
  for (size_t i = 0; i < slots_.size(); ++i) {
    out.push_back({concat(i, ".step"), scalar(slots_[i].steps, {.dtype = f64})});
    if (number_name_) out.push_back({concat(i, ".", number_name_), scalar(slots_[i].number, {.dtype = f64})});
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
  size_t used = group_count() + (number_name_ ? 2 : 1) * slots_.size();
  for (size_t i = 0; i < loaded.size(); ++i) {
    loaded[i].steps = int64_t(number(concat(i, ".step")));
    if (number_name_) loaded[i].number = number(concat(i, ".", number_name_));
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
