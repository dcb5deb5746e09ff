#include "tenrec/nn/packed_sequence.h"

#include <algorithm>
#include <numeric>

#include "tenrec/autograd/ops.h"

namespace tenrec {

namespace {

Tensor as_indices(const std::vector<int64_t>& values, const Tensor& beside) {
  return from_vector(values, {int64_t(values.size())}).to(beside.device());
}

void check_lengths(const char* op, const std::vector<int64_t>& lengths, int64_t most, bool enforce_sorted) {
  for (size_t k = 0; k < lengths.size(); ++k) {
    if (lengths[k] < 1) fail<ValueError>(op, ": sequence ", k, " is empty; each needs at least one step");
    if (lengths[k] > most)
      fail<ValueError>(op, ": sequence ", k, " has length ", lengths[k], ", the input has ", most, " steps");
    if (enforce_sorted && k > 0 && lengths[k] > lengths[k - 1])
      fail<ValueError>(op, ": length ", lengths[k], " comes behind ", lengths[k - 1],
                       "; sort the sequences, longest first, or pass enforce_sorted = false");
  }
}

// place(sequence, step) is the row of `rows` at which that step lies.
template <class Place>
PackedSequence pack(const Tensor& rows, const std::vector<int64_t>& lengths, bool enforce_sorted, Place place) {
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  if (!enforce_sorted)
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return lengths[size_t(a)] > lengths[size_t(b)]; });
  PackedSequence packed;
  std::vector<int64_t> index;
  for (int64_t step = 0; step < lengths[size_t(order[0])]; ++step) {
    const auto before = int64_t(index.size());
    for (size_t k = 0; k < order.size() && lengths[size_t(order[k])] > step; ++k)
      index.push_back(place(order[k], step));
    packed.batch_sizes.push_back(int64_t(index.size()) - before);
  }
  packed.data = index_select(rows, 0, as_indices(index, rows));
  if (enforce_sorted) return packed;
  std::vector<int64_t> back(order.size());
  for (size_t k = 0; k < order.size(); ++k) back[size_t(order[k])] = int64_t(k);
  packed.sorted_indices = as_indices(order, rows);
  packed.unsorted_indices = as_indices(back, rows);
  return packed;
}

}  // namespace

PackedSequence pack_padded_sequence(const Tensor& x, const std::vector<int64_t>& lengths, const PackOptions& options) {
  const char* op = "pack_padded_sequence";
  if (x.ndim() < 2)
    fail<ShapeError>(op, ": needs ", options.batch_first ? "[batch, steps, ...]" : "[steps, batch, ...]",
                     ", got shape ", x.shape());
  const int64_t steps = x.shape()[options.batch_first ? 1 : 0], batch = x.shape()[options.batch_first ? 0 : 1];
  if (int64_t(lengths.size()) != batch || batch < 1)
    fail<ShapeError>(op, ": ", lengths.size(), " lengths for a batch of ", batch, " in an input of shape ", x.shape());
  check_lengths(op, lengths, steps, options.enforce_sorted);
  const Tensor rows = flatten(x, 0, 1);
  return pack(rows, lengths, options.enforce_sorted,
              [&](int64_t k, int64_t step) { return options.batch_first ? k * steps + step : step * batch + k; });
}

PackedSequence pack_padded_sequence(const Tensor& x, const Tensor& lengths, const PackOptions& options) {
  if (lengths.ndim() != 1 || is_floating(lengths.dtype()))
    fail<ShapeError>("pack_padded_sequence: lengths must be a vector of integers, got ", lengths.dtype(), " of shape ",
                     lengths.shape());
  return pack_padded_sequence(x, lengths.to_vector<int64_t>(), options);
}

PackedSequence pack_sequence(const std::vector<Tensor>& sequences, bool enforce_sorted) {
  const char* op = "pack_sequence";
  if (sequences.empty()) fail<ValueError>(op, ": needs at least one sequence");
  std::vector<int64_t> lengths, first{0};
  for (const Tensor& x : sequences) {
    if (x.ndim() < 1) fail<ShapeError>(op, ": each sequence is [length, ...], got a 0-d tensor");
    lengths.push_back(x.shape()[0]);
    first.push_back(first.back() + lengths.back());
  }
  check_lengths(op, lengths, INT64_MAX, enforce_sorted);
  return pack(cat(sequences, 0), lengths, enforce_sorted,
              [&](int64_t k, int64_t step) { return first[size_t(k)] + step; });
}

PaddedSequence pad_packed_sequence(const PackedSequence& packed, const PadOptions& options) {
  const char* op = "pad_packed_sequence";
  const auto longest = int64_t(packed.batch_sizes.size());
  if (longest < 1) fail<ValueError>(op, ": a packed sequence without a step");
  const int64_t steps = options.total_length < 0 ? longest : options.total_length, batch = packed.batch_sizes[0];
  if (steps < longest)
    fail<ValueError>(op, ": total_length ", steps, " is less than the longest sequence's ", longest, " steps");
  int64_t rows = 0;
  for (const int64_t count : packed.batch_sizes) rows += count;
  if (packed.data.ndim() < 1 || packed.data.shape()[0] != rows)
    fail<ShapeError>(op, ": batch sizes that add up to ", rows, " rows for data of shape ", packed.data.shape());
  std::vector<int64_t> order(size_t(batch), 0);  // where the caller's sequence k stands
  std::iota(order.begin(), order.end(), 0);
  if (packed.unsorted_indices.defined()) order = packed.unsorted_indices.to_vector<int64_t>();
  PaddedSequence padded{{}, std::vector<int64_t>(size_t(batch), 0)};
  std::vector<int64_t> index(size_t(steps * batch), rows);  // the row behind the last is padding
  int64_t first = 0;
  for (int64_t step = 0; step < longest; ++step) {
    const int64_t count = packed.batch_sizes[size_t(step)];
    for (int64_t k = 0; k < batch; ++k) {
      if (order[size_t(k)] >= count) continue;
      index[size_t(options.batch_first ? k * steps + step : step * batch + k)] = first + order[size_t(k)];
      padded.lengths[size_t(k)] = step + 1;
    }
    first += count;
  }
  const Shape& shape = packed.data.shape();
  Shape row{1}, sizes = options.batch_first ? Shape{batch, steps} : Shape{steps, batch};
  for (int64_t d = 1; d < shape.ndim(); ++d) {
    row.push_back(shape[d]);
    sizes.push_back(shape[d]);
  }
  const Tensor padding =
      full(row, options.padding_value, {.dtype = packed.data.dtype(), .device = packed.data.device()});
  padded.data = reshape(index_select(cat({packed.data, padding}, 0), 0, as_indices(index, packed.data)), sizes);
  return padded;
}

}  // namespace tenrec
