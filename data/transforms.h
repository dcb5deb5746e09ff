// What is done to a batch between the data set and the model: conversion and normalisation here, augmentation in
// data/augment.h.
//
// A transform works on a whole batch and is a pure function of the batch and, where it is random, of (seed, epoch,
// index in the data set), so its result does not depend on batch size, order or threads:
//
//   {.transform = compose({random_crop(4), random_flip(), to_float(), normalize({0.5f}, {0.25f})})}
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "tenrec/core/philox.h"
#include "tenrec/data/dataset.h"

namespace tenrec {

// What a transform may know of its batch.
struct BatchInfo {
  uint64_t seed = 0, epoch = 0;
  std::span<const int64_t> indices;  // in the data set, one for each row
  uint64_t stream = 0;               // which transform of a composition this is

  // 128 random bits for row `row`; `draw` counts the draws a transform makes for one row.
  PhiloxBlock random(size_t row, uint32_t draw = 0) const;
};

// Any callable void(Example& batch, const BatchInfo&). It must be safe to call from several threads at once and must
// not write into the tensors it is given, but may replace them. A default-constructed one does nothing.
class Transform {
 public:
  Transform() = default;
  template <class F>
  requires std::is_invocable_v<const F&, Example&, const BatchInfo&> Transform(
      F f)  // NOLINT(google-explicit-constructor)
      : function_(std::make_shared<const Model<F>>(std::move(f))) {}
  void operator()(Example& batch, const BatchInfo& info) const {
    if (function_) function_->apply(batch, info);
  }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual void apply(Example& batch, const BatchInfo& info) const = 0;
  };
  template <class F>
  struct Model final : Concept {
    explicit Model(F f) : function(std::move(f)) {}
    void apply(Example& batch, const BatchInfo& info) const override { function(batch, info); }
    F function;
  };
  std::shared_ptr<const Concept> function_;
};

// One after the other.
Transform compose(std::vector<Transform> transforms);

// Both act on tensor 0 of the batch.

// u8 to f32, times `scale`. DTypeError if it is not u8.
Transform to_float(float scale = 1.0f / 255.0f);
// (x - mean[c]) / std[c] for channel c of [B, C, ...], f32. ValueError for a deviation that is not positive.
Transform normalize(std::vector<float> mean, std::vector<float> std);

}  // namespace tenrec
