// Figures of merit that are added up batch by batch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tenrec/core/tensor.h"

namespace tenrec {

// The class of each row: of scores [B, C] (any floating dtype) the index of the largest, the first of equals, a NaN
// counting as largest, as argmax does; integers [B] are classes already. ShapeError or DTypeError for anything else.
std::vector<int64_t> predicted_classes(const Tensor& scores);

// The share of rows whose class is right.
class Accuracy {
 public:
  // Scores [B, C] or classes [B], and integer targets [B].
  void add(const Tensor& scores, const Tensor& targets);
  void reset() { correct_ = total_ = 0; }
  int64_t correct() const { return correct_; }
  int64_t total() const { return total_; }
  // In [0, 1]; 0 before anything was added.
  double value() const { return total_ > 0 ? double(correct_) / double(total_) : 0.0; }

 private:
  int64_t correct_ = 0, total_ = 0;
};

// How often class `is` was taken for class `predicted`.
class ConfusionMatrix {
 public:
  // ValueError unless there is at least one class.
  explicit ConfusionMatrix(int64_t classes, std::vector<std::string> names = {});

  // As Accuracy::add; IndexError for a class outside the matrix.
  void add(const Tensor& scores, const Tensor& targets);
  void reset();
  int64_t classes() const { return classes_; }
  int64_t count(int64_t is, int64_t predicted) const;
  int64_t total() const;
  double accuracy() const;
  // Of the rows predicted as this class (0 if none), the share that is.
  double precision(int64_t c) const;
  // Of the rows of this class (0 if none), the share that was predicted.
  double recall(int64_t c) const;
  // Harmonic mean of precision and recall, 0 if both are.
  double f1(int64_t c) const;
  // [classes, classes], row: what it is, column: what was predicted. For heat_map of data/plot.h.
  std::vector<double> values() const;
  const std::vector<std::string>& names() const { return names_; }
  // A table with counts, recall, precision and F1, one line per class.
  std::string to_string() const;

 private:
  int64_t classes_;
  std::vector<int64_t> counts_;
  std::vector<std::string> names_;
};

// exp of the mean negative log-likelihood in nats.
class Perplexity {
 public:
  // Scores (logits) [..., C] and integer targets [...] of the same leading shape; a target of `ignore_index` counts for
  // nothing. IndexError for any other target outside 0 to C - 1.
  void add(const Tensor& scores, const Tensor& targets, int64_t ignore_index = -100);
  // A mean loss in nats over so many tokens. ValueError for a negative count.
  void add(double mean_loss, int64_t tokens);
  void reset() { nats_ = 0, tokens_ = 0; }
  int64_t tokens() const { return tokens_; }
  // Mean loss in nats; 0 before anything was added.
  double mean() const { return tokens_ > 0 ? nats_ / double(tokens_) : 0.0; }
  double value() const;

 private:
  double nats_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace tenrec
