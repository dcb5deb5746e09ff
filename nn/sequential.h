// Modules one after the other, and lists of them.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tenrec/nn/module.h"

namespace tenrec {

// Any value callable with a Tensor, boxed. A copy shares the tensors of a module inside.
class AnyModule {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, AnyModule> && std::is_invocable_r_v<Tensor, F&, const Tensor&>)
      AnyModule(F f)
      : box_(std::make_unique<Box<F>>(std::move(f))) {}  // NOLINT(google-explicit-constructor)
  AnyModule(const AnyModule& other) : box_(other.box_->copy()) {}
  AnyModule(AnyModule&&) noexcept = default;
  AnyModule& operator=(const AnyModule& other) {
    box_ = other.box_->copy();
    return *this;
  }
  AnyModule& operator=(AnyModule&&) noexcept = default;

  Tensor operator()(const Tensor& x) const { return box_->call(x); }
  // Null if what is inside is a plain function.
  Module* module() const { return box_->module(); }
  // The value inside; null if it is of another type.
  template <class F>
  F* get() const {
    auto* box = dynamic_cast<Box<F>*>(box_.get());
    return box ? &box->value : nullptr;
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Tensor call(const Tensor& x) = 0;
    virtual Module* module() = 0;
    virtual std::unique_ptr<Base> copy() const = 0;
  };
  template <class F>
  struct Box final : Base {
    explicit Box(F f) : value(std::move(f)) {}
    Tensor call(const Tensor& x) override { return value(x); }
    Module* module() override {
      if constexpr (std::is_base_of_v<Module, F>)
        return &value;
      else
        return nullptr;
    }
    std::unique_ptr<Base> copy() const override { return std::make_unique<Box>(value); }
    F value;
  };
  std::unique_ptr<Base> box_;
};

// Sequential net(Linear(784, 128), ReLU(), Linear(128, 10)); modules are named by their position.
class Sequential : public Module {
 public:
  Sequential() = default;
  template <class... F>
  requires(sizeof...(F) > 0 && (std::is_constructible_v<AnyModule, F> && ...) &&
           !(sizeof...(F) == 1 &&
             (std::is_same_v<std::remove_cvref_t<F>, Sequential> && ...))) explicit Sequential(F... layers) {
    (append(AnyModule(std::move(layers))), ...);
  }
  Sequential& append(AnyModule layer) {
    layers_.push_back(std::move(layer));
    return *this;
  }
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;
  size_t size() const { return layers_.size(); }
  AnyModule& operator[](size_t i) { return layers_[i]; }

 private:
  std::vector<AnyModule> layers_;
};

// A list that its owner calls as it likes.
class ModuleList : public Module {
 public:
  ModuleList() = default;
  template <class... F>
  requires(sizeof...(F) > 0 && (std::is_base_of_v<Module, F> && ...) &&
           !(sizeof...(F) == 1 && (std::is_same_v<F, ModuleList> && ...))) explicit ModuleList(F... modules) {
    (append(AnyModule(std::move(modules))), ...);
  }
  ModuleList& append(AnyModule module) {
    modules_.push_back(std::move(module));
    return *this;
  }
  void visit(Visitor& v) override;
  size_t size() const { return modules_.size(); }
  AnyModule& operator[](size_t i) { return modules_[i]; }
  auto begin() { return modules_.begin(); }
  auto end() { return modules_.end(); }

 private:
  std::vector<AnyModule> modules_;
};

// x + f(x). He et al., "Deep residual learning for image recognition", 2015.
class Residual : public Module {
 public:
  explicit Residual(AnyModule f) : f_(std::move(f)) {}
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) override;

 private:
  AnyModule f_;
};

}  // namespace tenrec
