// Sequences of unequal length in one tensor without padding, as recurrent layers (nn/rnn.h) take them.
//
//   const PackedSequence packed = pack_padded_sequence(x, lengths, {.batch_first = true, .enforce_sorted = false});
//   const auto [output, state] = lstm(packed);
//   const auto [y, same_lengths] = pad_packed_sequence(output, {.batch_first = true});
#pragma once

#include <cstdint>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// The longest sequence comes first: data [rows, ...] holds step 0 of all, then step 1 of those that have one, and so
// on.
struct PackedSequence {
  Tensor data;
  std::vector<int64_t> batch_sizes;  // rows of each step
  // i64, where the caller's order was another one; else undefined. Sequence k here is the caller's sorted_indices[k],
  // the caller's k is unsorted_indices[k] here.
  Tensor sorted_indices = {}, unsorted_indices = {};
};

struct PackOptions {
  bool batch_first = false;
  bool enforce_sorted = true;  // false: any order; it is restored in what layers return
};
// x [steps, batch, ...], or [batch, steps, ...] with batch_first, of which sequence k has lengths[k] steps. ShapeError
// unless there is a length for each sequence; ValueError for one that is not in [1, steps], or rises in spite of
// enforce_sorted.
PackedSequence pack_padded_sequence(const Tensor& x, const std::vector<int64_t>& lengths,
                                    const PackOptions& options = {});
PackedSequence pack_padded_sequence(const Tensor& x, const Tensor& lengths, const PackOptions& options = {});
// Sequences [length, ...]. ValueError for none at all, or an empty one.
PackedSequence pack_sequence(const std::vector<Tensor>& sequences, bool enforce_sorted = true);

struct PadOptions {
  bool batch_first = false;
  double padding_value = 0;
  int64_t total_length = -1;  // steps of the result; -1: those of the longest sequence
};
struct PaddedSequence {
  Tensor data;
  std::vector<int64_t> lengths;
};
// The inverse. ValueError for a total_length that is too short.
PaddedSequence pad_packed_sequence(const PackedSequence& packed, const PadOptions& options = {});

}  // namespace tenrec
