// Layers that change the size of pictures and sequences (autograd/ops/resample.h).
#pragma once

#include "tenrec/autograd/ops/resample.h"
#include "tenrec/nn/module.h"

namespace tenrec {

class Upsample : public Module {
 public:
  explicit Upsample(const InterpolateOptions& options) : options_(options) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return interpolate(x, options_);
  }

 private:
  InterpolateOptions options_;
};

class PixelShuffle : public Module {
 public:
  explicit PixelShuffle(int64_t upscale_factor) : factor_(upscale_factor) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return pixel_shuffle(x, factor_);
  }

 private:
  int64_t factor_;
};

class PixelUnshuffle : public Module {
 public:
  explicit PixelUnshuffle(int64_t downscale_factor) : factor_(downscale_factor) {}
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    return pixel_unshuffle(x, factor_);
  }

 private:
  int64_t factor_;
};

}  // namespace tenrec
