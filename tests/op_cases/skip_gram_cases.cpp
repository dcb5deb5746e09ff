// Rows of autograd/ops/skip_gram.h.
#include <cmath>

#include "op_cases/layout_cases.h"

namespace tenrec::testing {
namespace {

using Arrays = std::span<const Array>;

constexpr int64_t kBenchPairs = 4096, kBenchDrawn = 5;

Tensor longs(std::initializer_list<NestedList> values) { return tensor(values, {.dtype = i64}); }

// The loss of the definition; the inputs are tables, centers, contexts and negatives.
std::vector<Array> reference(Arrays in) {
  const int64_t pairs = in[2].shape[0], count = in[4].shape[1], d = in[0].shape[1];
  const auto id = [&](int which, int64_t i) { return int64_t(in[size_t(which)].values[size_t(i)]); };
  double loss = 0;
  for (int64_t b = 0; b < pairs; ++b) {
    const auto score = [&](int64_t word) {
      double sum = 0;
      for (int64_t i = 0; i < d; ++i) sum += in[0].at({id(2, b), i}) * in[1].at({word, i});
      return sum;
    };
    loss += std::log1p(std::exp(-score(id(3, b))));
    for (int64_t k = 0; k < count; ++k) loss += std::log1p(std::exp(score(id(4, b * count + k))));
  }
  return {Array{{}, {loss / double(pairs)}}};
}

std::vector<Tensor> loss(std::span<const Tensor> in) { return {skip_gram_loss(in[0], in[1], in[2], in[3], in[4])}; }

BadCall bad(Tensor input, Tensor output, Tensor centers, Tensor contexts, Tensor negatives, std::string message) {
  return {[=] { skip_gram_loss(input, output, centers, contexts, negatives); }, std::move(message)};
}

}  // namespace

void add_skip_gram_cases(const Add& add) {
  const std::vector<std::string> inside = {"take_rows", "add_rows", "reshape", "clone"};
  const Tensor table = zeros({3, 2}), one = longs({0}), two = longs({{0, 1}});
  const std::string name = "skip_gram_loss: ";
  add({.op = "skip_gram_loss",
       .variant = "words that repeat",
       .inputs = {{.shape = {5, 7}},
                  {.shape = {4, 7}},
                  index_input({3}, {4, 0, 4}),
                  index_input({3}, {1, 3, 1}),
                  index_input({3, 2}, {0, 2, 1, 1, 3, 3})},
       .f = loss,
       .reference = reference,
       .dtypes = {f64, f32},
       .also_covers = inside,
       .bad = {bad(zeros({3}), table, one, one, two,
                   name + "the tables must be [words, d] with one d, got [3] and [3, 2]"),
               bad(zeros({3, 4}), table, one, one, two, name + "the tables must be [words, d] with one d"),
               bad(table, table.to(f64), one, one, two, name + "the tables must both be f32 or f64, got f32 and f64"),
               bad(table, table, longs({0, 1}), one, two,
                   name + "expected centers [B], contexts [B] and negatives [B, K]"),
               bad(table, table, one, one, one, name + "expected centers [B], contexts [B] and negatives [B, K]"),
               bad(table, table, longs({3}), one, two, name + "index 3 (element 0 of the indices) is out of range"),
               bad(table, table, one, longs({-1}), two, name + "index -1"),
               bad(table, table, one, one, longs({{0, 7}}), name + "index 7"),
               bad(table, table, zeros({1}), one, two, name + "an index tensor must be i64 or i32, got f32")},
       .bench = {.shapes = {{1000, 64}, {20000, 100}},
                 .inputs =
                     [](const Shape& s) {
                       const auto words = [&](const Shape& shape) {
                         return Input{.shape = shape, .low = 0, .high = double(s[0] - 1), .kind = Input::integer};
                       };
                       return std::vector<Input>{{.shape = s},
                                                 {.shape = s},
                                                 words({kBenchPairs}),
                                                 words({kBenchPairs}),
                                                 words({kBenchPairs, kBenchDrawn})};
                     },
                 .flops = [](const Shape& s) { return 2.0 * double(kBenchPairs * (1 + kBenchDrawn) * s[1]); }}});
  add({.op = "skip_gram_loss",
       .variant = "long rows, nothing drawn",
       .inputs = {{.shape = {3, 37}, .low = -0.5, .high = 0.5},
                  {.shape = {2, 37}, .low = -0.5, .high = 0.5},
                  index_input({2}, {2, 1}),
                  index_input({2}, {0, 1}),
                  index_input({2, 0}, {})},
       .f = loss,
       .reference = reference,
       .dtypes = {f64, f32},
       .also_covers = inside});
}

}  // namespace tenrec::testing
