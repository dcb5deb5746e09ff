// Modules: values with parameters. One `visit` gives parameters, dotted names, saving and loading, moving to a device,
// train and eval, freezing and deep copies; there is no registry.
//
//   class Net : public Module {
//    public:
//     Tensor operator()(const Tensor& x) const { ModuleScope scope(*this); return fc2(relu(fc1(x))); }
//     void visit(Visitor& v) override { v("fc1", fc1); v("fc2", fc2); }
//     Linear fc1{784, 128}, fc2{128, 10};
//   };
//
// A copy of a module shares its tensors, as a copy of a Tensor does: that is how weights are tied. `clone` is deep.
// Any traversal from a root (`parameters(net)`) writes each module's dotted path into it; errors then name it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "tenrec/core/module_scope.h"
#include "tenrec/core/profile_range.h"
#include "tenrec/core/safetensors.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

class Module;

class Visitor {
 public:
  virtual ~Visitor() = default;

  // A parameter. An undefined one (a layer without bias) is passed over.
  void operator()(std::string_view name, Tensor& parameter);
  // Saved but not trained: running statistics.
  void buffer(std::string_view name, Tensor& buffer);
  void operator()(std::string_view name, Module& child);
  template <class M>
  requires std::is_base_of_v<Module, M>
  void operator()(std::string_view name, std::vector<M>& children) {
    for (size_t i = 0; i < children.size(); ++i) (*this)(indexed(name, i), children[i]);
  }
  template <class M>
  requires std::is_base_of_v<Module, M>
  void operator()(std::string_view name, std::optional<M>& child) {
    if (child) (*this)(name, *child);
  }
  // Starts at a module that stands at `path`.
  void start(Module& root);

 protected:
  virtual void on_parameter(const std::string& path, Tensor& parameter);
  virtual void on_buffer(const std::string& path, Tensor& buffer);
  virtual void on_module(const std::string& path, Module& module);

 private:
  static std::string indexed(std::string_view name, size_t i);
  std::string join(std::string_view name) const;
  std::string path_;
};

class Module {
 public:
  Module() = default;
  Module(const Module&) = default;
  Module(Module&&) noexcept = default;
  Module& operator=(const Module&) = default;
  Module& operator=(Module&&) noexcept = default;
  virtual ~Module() = default;

  // Names every parameter, buffer and child. A module without any keeps this one.
  virtual void visit(Visitor& v);

  bool is_training() const { return training_; }
  // "fc1.norm", empty before the first traversal from a root.
  const std::string& path() const { return path_; }
  std::string type_name() const { return detail::readable_type(typeid(*this).name()); }
  // What `summary` shows behind the type, "784 -> 128".
  virtual std::string details() const { return {}; }

 private:
  friend class Visitor;
  friend class ModuleScope;
  friend void set_training(Module& root, bool training);
  std::string path_;
  bool training_ = true;
};

// Opens a module's operator(): what fails inside names the module.
class ModuleScope {
 public:
  explicit ModuleScope(const Module& module)
      : frame_{&module.path_, typeid(module).name(), &module, detail::current_module} {
    detail::current_module = &frame_;
  }
  ~ModuleScope() { detail::current_module = frame_.outer; }
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  detail::ModuleFrame frame_;
#if defined(TENREC_HAVE_CUDA)
  detail::ProfileRange range_{frame_};
#endif
};

// Every parameter once, in order of the visit; a tied one under its first name.
std::vector<Tensor> parameters(Module& root);
std::vector<NamedTensor> named_parameters(Module& root);
std::vector<NamedTensor> named_buffers(Module& root);
// Parameters and buffers, each once.
std::vector<NamedTensor> state_dict(Module& root);
// Copies values into the module's tensors. ValueError lists what is missing or not known (unless !strict), ShapeError a
// misfit; nothing is changed if anything is wrong.
void load_state_dict(Module& root, const std::vector<NamedTensor>& state, bool strict = true);
// safetensors, torch.nn names.
void save(Module& root, const std::string& path);
void load(Module& root, const std::string& path, bool strict = true);

void set_training(Module& root, bool training);
inline void train(Module& root) { set_training(root, true); }
inline void eval(Module& root) { set_training(root, false); }
// Parameters stop or start wanting gradients.
void set_requires_grad(Module& root, bool value);
void zero_grad(Module& root);
// Moves or casts floating parameters, buffers and gradients inside their handles: optimizers keep seeing them.
void to(Module& root, Device device);
void to(Module& root, DType dtype);
int64_t count_parameters(Module& root);

// Names of parameters that are the same tensor, in groups.
std::vector<std::vector<std::string>> tied_parameters(Module& root);

// For each parameter that got no gradient from `loss`, its name and why. Runs a pass of its own; .grad is not touched,
// the graph is kept.
struct AuditEntry {
  std::string name;
  std::string reason;
};
std::vector<AuditEntry> audit_gradients(Module& root, const Tensor& loss);

namespace detail {
void clone_tensors(Module& root);
}

// A deep copy: new tensors, ties kept.
template <class M>
requires std::is_base_of_v<Module, M> M clone(const M& module) {
  M copy = module;
  detail::clone_tensors(copy);
  return copy;
}

// n separate blocks: repeat(6, [] { return Block(64); }).
template <class Make>
auto repeat(int64_t n, Make make) {
  std::vector<decltype(make())> blocks;
  for (int64_t i = 0; i < n; ++i) blocks.push_back(make());
  return blocks;
}

}  // namespace tenrec
