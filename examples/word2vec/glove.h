// GloVe: vectors whose products are the logarithms of how often words stand near each other. J. Pennington, R. Socher
// and C. Manning, "GloVe: global vectors for word representation", EMNLP 2014.
#pragma once

#include <vector>

#include "word2vec/words.h"

namespace examples {

// How often word b stands near word a, in the order of a, then of b's first place near it.
struct Cooccurrences {
  std::vector<int64_t> a, b;
  std::vector<float> count;
  int64_t size() const { return int64_t(a.size()); }
};
// Each neighbour within `window` words adds 1 / its distance, to both sides.
Cooccurrences count_neighbours(const Words& words, int64_t window);

// Two vectors and two biases a word; the sum of the vectors is what a word is known by.
class GloveVectors : public tenrec::Module {
 public:
  GloveVectors(int64_t words, int64_t d);
  // The weighted squares of a_i . b_j + bias_i + bias_j - log count, [pairs]. Counts from kCommon on weigh 1.
  tenrec::Tensor losses(const tenrec::Tensor& a, const tenrec::Tensor& b, const tenrec::Tensor& count) const;
  tenrec::Tensor vectors() const { return input.detach() + output.detach(); }
  void visit(tenrec::Visitor& v) override {
    v("input", input);
    v("output", output);
    v("input_bias", input_bias);
    v("output_bias", output_bias);
  }
  tenrec::Tensor input, output, input_bias, output_bias;

  static constexpr double kCommon = 10;  // the paper's 100 is for a text a thousand times as long
};

}  // namespace examples
