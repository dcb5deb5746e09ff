#include "tenrec/data/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

std::vector<int64_t> target_classes(const char* name, const Tensor& targets, size_t rows) {
  if (!is_integral(targets.dtype())) fail<DTypeError>(name, ": targets must be integers, got ", targets.dtype());
  if (targets.ndim() != 1 || size_t(targets.numel()) != rows) {
    fail<ShapeError>(name, ": targets of shape ", targets.shape(), " for ", rows, " rows of scores");
  }
  return targets.to_vector<int64_t>();
}

double ratio(int64_t part, int64_t whole) { return whole > 0 ? double(part) / double(whole) : 0.0; }

std::string padded(const std::string& text, size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

std::string percent(double value) {
  char text[16];
  std::snprintf(text, sizeof text, "%.2f%%", 100 * value);
  return text;
}

}  // namespace

std::vector<int64_t> predicted_classes(const Tensor& scores) {
  if (is_integral(scores.dtype()) && scores.ndim() == 1) return scores.to_vector<int64_t>();
  if (!is_floating(scores.dtype())) {
    fail<DTypeError>("predicted_classes: expected floating scores or integer classes, got ", scores.dtype(),
                     " of shape ", scores.shape());
  }
  if (scores.ndim() != 2 || scores.size(1) == 0) {
    fail<ShapeError>("predicted_classes: expected scores [B, C], got shape ", scores.shape());
  }
  const std::vector<double> values = scores.to_vector<double>();
  const int64_t columns = scores.size(1);
  std::vector<int64_t> classes(static_cast<size_t>(scores.size(0)));
  for (size_t row = 0; row < classes.size(); ++row) {
    const double* v = values.data() + int64_t(row) * columns;
    int64_t best = 0;
    for (int64_t c = 1; c < columns; ++c) {
      if (v[c] > v[best] || (std::isnan(v[c]) && !std::isnan(v[best]))) best = c;
    }
    classes[row] = best;
  }
  return classes;
}

void Accuracy::add(const Tensor& scores, const Tensor& targets) {
  const std::vector<int64_t> predicted = predicted_classes(scores);
  const std::vector<int64_t> actual = target_classes("Accuracy", targets, predicted.size());
  for (size_t i = 0; i < actual.size(); ++i) correct_ += predicted[i] == actual[i];
  total_ += int64_t(actual.size());
}

ConfusionMatrix::ConfusionMatrix(int64_t classes, std::vector<std::string> names)
    : classes_(classes), names_(std::move(names)) {
  if (classes < 1 || classes > 65536) fail<ValueError>("ConfusionMatrix: ", classes, " classes");
  if (names_.empty()) {
    for (int64_t c = 0; c < classes; ++c) names_.push_back(std::to_string(c));
  }
  if (int64_t(names_.size()) != classes) {
    fail<ValueError>("ConfusionMatrix: ", names_.size(), " names for ", classes, " classes");
  }
  counts_.assign(size_t(classes * classes), 0);
}

void ConfusionMatrix::add(const Tensor& scores, const Tensor& targets) {
  const std::vector<int64_t> predicted = predicted_classes(scores);
  const std::vector<int64_t> actual = target_classes("ConfusionMatrix", targets, predicted.size());
  const auto check = [&](const char* what, int64_t c) {
    if (c < 0 || c >= classes_) fail<IndexError>("ConfusionMatrix: ", what, " class ", c, " of ", classes_);
  };
  for (size_t i = 0; i < actual.size(); ++i) {  // all of a batch or none of it
    check("target", actual[i]);
    check("predicted", predicted[i]);
  }
  for (size_t i = 0; i < actual.size(); ++i) ++counts_[size_t(actual[i] * classes_ + predicted[i])];
}

void ConfusionMatrix::reset() { std::fill(counts_.begin(), counts_.end(), 0); }

int64_t ConfusionMatrix::count(int64_t is, int64_t predicted) const {
  if (is < 0 || is >= classes_ || predicted < 0 || predicted >= classes_) {
    fail<IndexError>("ConfusionMatrix: entry (", is, ", ", predicted, ") of ", classes_, " classes");
  }
  return counts_[size_t(is * classes_ + predicted)];
}

int64_t ConfusionMatrix::total() const {
  int64_t sum = 0;
  for (const int64_t n : counts_) sum += n;
  return sum;
}

double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (int64_t c = 0; c < classes_; ++c) right += count(c, c);
  return ratio(right, total());
}

double ConfusionMatrix::precision(int64_t c) const {
  int64_t column = 0;
  for (int64_t is = 0; is < classes_; ++is) column += count(is, c);
  return ratio(count(c, c), column);
}

double ConfusionMatrix::recall(int64_t c) const {
  int64_t row = 0;
  for (int64_t predicted = 0; predicted < classes_; ++predicted) row += count(c, predicted);
  return ratio(count(c, c), row);
}

double ConfusionMatrix::f1(int64_t c) const {
  const double p = precision(c), r = recall(c);
  return p + r > 0 ? 2 * p * r / (p + r) : 0.0;
}

std::vector<double> ConfusionMatrix::values() const { return {counts_.begin(), counts_.end()}; }

std::string ConfusionMatrix::to_string() const {
  size_t name_width = 4, width = 4;
  for (const std::string& name : names_) name_width = std::max(name_width, name.size());
  for (const int64_t n : counts_) width = std::max(width, std::to_string(n).size());
  const size_t column = std::min(std::max(width, name_width), width + 4);  // long names are cut over the counts
  std::string out = padded("is", name_width) + " |";
  for (const std::string& name : names_) out += concat(" ", padded(name.substr(0, column), column));
  out += " |  recall   prec.      F1\n";
  const size_t line = out.size() - 1;
  out += concat(std::string(line, '-'), "\n");
  for (int64_t is = 0; is < classes_; ++is) {
    out += padded(names_[size_t(is)], name_width) + " |";
    for (int64_t predicted = 0; predicted < classes_; ++predicted) {
      out += concat(" ", padded(std::to_string(count(is, predicted)), column));
    }
    out += concat(" | ", padded(percent(recall(is)), 7), " ", padded(percent(precision(is)), 7), " ",
                  padded(percent(f1(is)), 7), "\n");
  }
  return concat(out, "accuracy ", percent(accuracy()), " of ", total(), "\n");
}

void Perplexity::add(const Tensor& scores, const Tensor& targets, int64_t ignore_index) {
  if (!is_floating(scores.dtype()) || !is_integral(targets.dtype()))
    fail<DTypeError>("Perplexity: expected floating scores and integer targets, got ", scores.dtype(), " and ",
                     targets.dtype());
  Shape rows = scores.shape();
  if (rows.ndim() > 0) rows.erase(rows.ndim() - 1);
  if (scores.ndim() == 0 || scores.size(-1) == 0 || rows != targets.shape())
    fail<ShapeError>("Perplexity: scores of shape ", scores.shape(), " for targets of shape ", targets.shape());
  const int64_t classes = scores.size(-1);
  const std::vector<double> values = scores.to_vector<double>();
  const std::vector<int64_t> wanted = targets.to_vector<int64_t>();
  double nats = 0;
  int64_t tokens = 0;
  for (size_t row = 0; row < wanted.size(); ++row) {
    if (wanted[row] == ignore_index) continue;
    if (wanted[row] < 0 || wanted[row] >= classes)
      fail<IndexError>("Perplexity: target ", wanted[row], " of ", classes, " classes");
    const double* v = values.data() + int64_t(row) * classes;
    const double largest = *std::max_element(v, v + classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(v[c] - largest);
    nats += std::log(sum) + largest - v[wanted[row]];
    ++tokens;
  }
  nats_ += nats;
  tokens_ += tokens;
}

void Perplexity::add(double mean_loss, int64_t tokens) {
  if (tokens < 0) fail<ValueError>("Perplexity: a loss over ", tokens, " tokens");
  nats_ += mean_loss * double(tokens);
  tokens_ += tokens;
}

double Perplexity::value() const { return std::exp(mean()); }

}  // namespace tenrec
