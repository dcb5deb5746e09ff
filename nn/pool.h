// Pooling layers.
#pragma once

#include "tenrec/autograd/ops/pool.h"
#include "tenrec/nn/module.h"

namespace tenrec {

// The options are those of the ops (autograd/ops/pool.h).
class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(Pair kernel, const MaxPoolParams& options = {}) : kernel_(kernel), params_(options) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return max_pool2d(x, kernel_, params_);
  }

 private:
  Pair kernel_;
  MaxPoolParams params_;
};

class MaxPool1d : public Module {
 public:
  explicit MaxPool1d(int64_t kernel, const MaxPoolParams& options = {}) : kernel_(kernel), params_(options) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return max_pool1d(x, kernel_, params_);
  }

 private:
  int64_t kernel_;
  MaxPoolParams params_;
};

class AvgPool2d : public Module {
 public:
  explicit AvgPool2d(Pair kernel, const AvgPoolParams& options = {}) : kernel_(kernel), params_(options) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return avg_pool2d(x, kernel_, params_);
  }

 private:
  Pair kernel_;
  AvgPoolParams params_;
};

class AvgPool1d : public Module {
 public:
  explicit AvgPool1d(int64_t kernel, const AvgPoolParams& options = {}) : kernel_(kernel), params_(options) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return avg_pool1d(x, kernel_, params_);
  }

 private:
  int64_t kernel_;
  AvgPoolParams params_;
};

class AdaptiveAvgPool2d : public Module {
 public:
  explicit AdaptiveAvgPool2d(Pair out) : out_(out) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return adaptive_avg_pool2d(x, out_);
  }

 private:
  Pair out_;
};

class AdaptiveMaxPool2d : public Module {
 public:
  explicit AdaptiveMaxPool2d(Pair out) : out_(out) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return adaptive_max_pool2d(x, out_);
  }

 private:
  Pair out_;
};

class AdaptiveAvgPool1d : public Module {
 public:
  explicit AdaptiveAvgPool1d(int64_t out) : out_(out) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return adaptive_avg_pool1d(x, out_);
  }

 private:
  int64_t out_;
};

class AdaptiveMaxPool1d : public Module {
 public:
  explicit AdaptiveMaxPool1d(int64_t out) : out_(out) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return adaptive_max_pool1d(x, out_);
  }

 private:
  int64_t out_;
};

}  // namespace tenrec
