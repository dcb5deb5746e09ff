// Where a token stands: added to it (sinusoidal, learned), turned into queries and keys (rotary), or added to the
// scores of attention (ALiBi).
#pragma once

#include "tenrec/nn/module.h"

namespace tenrec {

// [length, dim]: sin(p / 10000^(2 i / dim)) at 2 i, cos of the same at 2 i + 1, for the positions p from `first` on.
// Vaswani et al., "Attention is all you need", 2017.
Tensor sinusoidal_positions(int64_t length, int64_t dim, int64_t first = 0, const TensorOptions& options = {});

// x [..., positions, dim] plus the table's rows `first`, `first` + 1, ...
class SinusoidalPositions : public Module {
 public:
  explicit SinusoidalPositions(int64_t dim) : dim_(dim) {}
  Tensor operator()(const Tensor& x, int64_t first = 0) const;
  std::string details() const override { return concat(dim_); }

 private:
  int64_t dim_;
};

// The same with a trained table; weight [max_length, dim], N(0, 0.02) as in GPT-2. IndexError beyond max_length.
class LearnedPositions : public Module {
 public:
  LearnedPositions(int64_t max_length, int64_t dim);
  Tensor operator()(const Tensor& x, int64_t first = 0) const;
  void visit(Visitor& v) override { v("weight", weight); }
  std::string details() const override { return concat(weight.size(0), " x ", weight.size(1)); }
  Tensor weight;
};

struct RotaryOptions {
  double base = 10000;
  bool interleaved = false;  // pairs are neighbours (RoFormer) instead of halves (GPT-NeoX, Llama)
};

// Turns the pairs (x_i, x_i + dim / 2) of queries and keys [..., positions, dim] by position / base^(2 i / dim), so
// that their products depend on distances alone. Su et al., "RoFormer", 2021.
class RotaryPositions : public Module {
 public:
  explicit RotaryPositions(int64_t dim, const RotaryOptions& options = {});
  Tensor operator()(const Tensor& x, int64_t first = 0) const;
  std::string details() const override { return concat(dim_); }

 private:
  int64_t dim_;
  RotaryOptions options_;
};

// [heads]: 2^(-8 i / heads) for heads that are a power of two, with the paper's rule for others.
Tensor alibi_slopes(int64_t heads, const TensorOptions& options = {});
// [heads, queries, keys]: -slope |i + first - j|, a mask for scaled_dot_product_attention whose query i stands at
// position first + i. Press, Smith and Lewis, "Train short, test long", 2022.
Tensor alibi_bias(int64_t heads, int64_t queries, int64_t keys, int64_t first = 0, const TensorOptions& options = {});

}  // namespace tenrec
