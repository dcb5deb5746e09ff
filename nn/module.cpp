#include "tenrec/nn/module.h"

#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec {

std::string Visitor::indexed(std::string_view name, size_t i) { return concat(name, ".", i); }

std::string Visitor::join(std::string_view name) const {
  return path_.empty() ? std::string(name) : concat(path_, ".", name);
}

void Visitor::operator()(std::string_view name, Tensor& parameter) {
  if (parameter.defined()) on_parameter(join(name), parameter);
}
void Visitor::buffer(std::string_view name, Tensor& buffer) {
  if (buffer.defined()) on_buffer(join(name), buffer);
}
void Visitor::operator()(std::string_view name, Module& child) {
  std::string outer = std::exchange(path_, join(name));
  start(child);
  path_ = std::move(outer);
}
void Visitor::start(Module& root) {
  root.path_ = path_;
  on_module(path_, root);
  root.visit(*this);
}
void Visitor::on_parameter(const std::string&, Tensor&) {}
void Visitor::on_buffer(const std::string&, Tensor&) {}
void Visitor::on_module(const std::string&, Module&) {}

void Module::visit(Visitor&) {}

namespace {

// A visitor made of functions.
class Walk : public Visitor {
 public:
  using OnTensor = std::function<void(const std::string&, Tensor&)>;
  using OnModule = std::function<void(const std::string&, Module&)>;
  Walk(OnTensor parameter, OnTensor buffer, OnModule module = {})
      : parameter_(std::move(parameter)), buffer_(std::move(buffer)), module_(std::move(module)) {}

 protected:
  void on_parameter(const std::string& path, Tensor& t) override {
    if (parameter_) parameter_(path, t);
  }
  void on_buffer(const std::string& path, Tensor& t) override {
    if (buffer_) buffer_(path, t);
  }
  void on_module(const std::string& path, Module& m) override {
    if (module_) module_(path, m);
  }

 private:
  OnTensor parameter_, buffer_;
  OnModule module_;
};

std::vector<NamedTensor> collect(Module& root, bool with_parameters, bool with_buffers) {
  std::vector<NamedTensor> out;
  std::unordered_set<const void*> seen;
  const auto add = [&](const std::string& path, Tensor& t) {
    if (seen.insert(t.raw()).second) out.push_back({path, t});
  };
  Walk(with_parameters ? Walk::OnTensor(add) : nullptr, with_buffers ? Walk::OnTensor(add) : nullptr).start(root);
  return out;
}

// Puts the contents of `with` into the header that all handles share.
void replace_contents(const Tensor& t, const Tensor& with) {
  detail::TensorImpl& a = t.impl();
  detail::TensorImpl& b = with.impl();
  std::swap(a.storage, b.storage);
  std::swap(a.data, b.data);
  std::swap(a.dtype, b.dtype);
  std::swap(a.device, b.device);
  std::swap(a.strides, b.strides);
  std::swap(a.contiguous, b.contiguous);
}

template <class Target>
void convert(Module& root, Target target) {
  const NoGrad off;
  for (const NamedTensor& entry : state_dict(root)) {
    if constexpr (std::is_same_v<Target, DType>)
      if (!is_floating(entry.tensor.dtype())) continue;
    const Tensor grad = entry.tensor.grad();
    const Tensor moved = entry.tensor.detach().to(target);
    const Tensor moved_grad = grad.defined() ? grad.to(target) : Tensor();
    if (moved.impl().storage != entry.tensor.impl().storage) replace_contents(entry.tensor, clone(moved));
    if (grad.defined()) Tensor(entry.tensor).set_grad(moved_grad);
  }
}

}  // namespace

std::vector<Tensor> parameters(Module& root) {
  std::vector<Tensor> out;
  for (NamedTensor& entry : collect(root, true, false)) out.push_back(std::move(entry.tensor));
  return out;
}
std::vector<NamedTensor> named_parameters(Module& root) { return collect(root, true, false); }
std::vector<NamedTensor> named_buffers(Module& root) { return collect(root, false, true); }
std::vector<NamedTensor> state_dict(Module& root) { return collect(root, true, true); }

void load_state_dict(Module& root, const std::vector<NamedTensor>& state, bool strict) {
  std::unordered_map<std::string, Tensor> given;
  for (const NamedTensor& entry : state) given.emplace(entry.name, entry.tensor);
  std::vector<std::pair<Tensor, Tensor>> pairs;
  std::unordered_set<std::string> known;
  std::string missing, unknown;
  const auto match = [&](const std::string& path, const Tensor& t) {
    known.insert(path);
    const auto it = given.find(path);
    if (it == given.end()) {
      missing += missing.empty() ? path : ", " + path;
      return;
    }
    if (it->second.shape() != t.shape())
      fail<ShapeError>("load: ", path, " has shape ", it->second.shape(), " in the file and ", t.shape(),
                       " in the model");
    pairs.emplace_back(t, it->second);
  };
  for (const NamedTensor& entry : state_dict(root)) match(entry.name, entry.tensor);
  // Files of other makers hold a tied tensor under each of its names.
  for (const auto& group : tied_parameters(root)) known.insert(group.begin(), group.end());
  for (const NamedTensor& entry : state)
    if (!known.contains(entry.name)) unknown += unknown.empty() ? entry.name : ", " + entry.name;
  if (strict && (!missing.empty() || !unknown.empty()))
    fail<ValueError>("load: the file does not fit the model", missing.empty() ? "" : "; missing: ", missing,
                     unknown.empty() ? "" : "; not known: ", unknown);
  const NoGrad off;
  for (const auto& [to, from] : pairs) copy_(to, from);
}

void save(Module& root, const std::string& path) {
  Safetensors file;
  for (const NamedTensor& entry : state_dict(root))
    file.tensors.push_back({entry.name, contiguous(entry.tensor.detach())});
  save_safetensors(path, file);
}

void load(Module& root, const std::string& path, bool strict) {
  load_state_dict(root, load_safetensors(path).tensors, strict);
}

void set_training(Module& root, bool training) {
  Walk({}, {}, [&](const std::string&, Module& m) { m.training_ = training; }).start(root);
}

void set_requires_grad(Module& root, bool value) {
  for (Tensor& p : parameters(root)) p.set_requires_grad(value);
}
void zero_grad(Module& root) {
  for (Tensor& p : parameters(root)) p.set_grad({});
}
void to(Module& root, Device device) { convert(root, device); }
void to(Module& root, DType dtype) { convert(root, dtype); }

int64_t count_parameters(Module& root) {
  int64_t n = 0;
  for (const Tensor& p : parameters(root)) n += p.numel();
  return n;
}

std::vector<std::vector<std::string>> tied_parameters(Module& root) {
  std::unordered_map<const void*, size_t> index;
  std::vector<std::vector<std::string>> groups;
  Walk(
      [&](const std::string& path, Tensor& t) {
        const auto [it, fresh] = index.emplace(t.raw(), groups.size());
        if (fresh) groups.emplace_back();
        groups[it->second].push_back(path);
      },
      {})
      .start(root);
  std::erase_if(groups, [](const auto& group) { return group.size() < 2; });
  return groups;
}

std::vector<AuditEntry> audit_gradients(Module& root, const Tensor& loss) {
  std::vector<NamedTensor> wanted;
  std::vector<AuditEntry> out;
  for (NamedTensor& p : named_parameters(root)) {
    if (!p.tensor.requires_grad())
      out.push_back({p.name, "requires_grad is off: it is frozen or was never a leaf"});
    else
      wanted.push_back(std::move(p));
  }
  if (!loss.requires_grad()) {
    for (const NamedTensor& p : wanted)
      out.push_back({p.name, "the loss is not on the tape: it was made under NoGrad or from detached tensors"});
    return out;
  }
  std::vector<Tensor> xs;
  for (const NamedTensor& p : wanted) xs.push_back(p.tensor);
  const std::vector<Tensor> grads =
      grad(loss, xs, {.retain_graph = true, .allow_unused = true, .grad_output = ones_like(loss)});
  for (size_t i = 0; i < grads.size(); ++i) {
    if (!grads[i].defined())
      out.push_back({wanted[i].name, "the loss does not depend on it: it was not used, or its path was detached"});
    else if (norm(grads[i]).item<double>() == 0)
      out.push_back(
          {wanted[i].name, "its gradient is zero everywhere: dead units, a zero mask or a saturated function"});
  }
  for (const auto& group : tied_parameters(root)) {
    std::string names;
    for (const std::string& name : group) names += names.empty() ? name : " = " + name;
    out.push_back({group[0], "tied: " + names + " are one tensor"});
  }
  return out;
}

namespace detail {

void clone_tensors(Module& root) {
  const NoGrad off;
  std::unordered_map<const void*, Tensor> copies;
  const auto replace = [&](const std::string&, Tensor& t) {
    auto [it, fresh] = copies.emplace(t.raw(), Tensor());
    if (fresh) {
      it->second = tenrec::clone(t.detach());
      if (t.requires_grad()) it->second.set_requires_grad(true);
    }
    t = it->second;
  };
  // The keys must stay alive while they are compared.
  const std::vector<NamedTensor> keep = state_dict(root);
  Walk(replace, replace).start(root);
}

}  // namespace detail
}  // namespace tenrec
