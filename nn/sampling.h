// What to do with a model's logits: choose the next token, or search for the likeliest sequence. Everything is a
// function of the logits and the generator, so a seed fixes it.
#pragma once

#include <vector>

#include "tenrec/core/parallel.h"
#include "tenrec/core/random.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

struct SamplingOptions {
  double temperature = 1;  // logits are divided by it; 0: the likeliest token
  int64_t top_k = 0;       // only the k likeliest, and what ties with the last of them; 0: all
  double top_p = 1;        // only the likeliest tokens that together have probability p, at least one
};

// logits [..., n] divided by the temperature, -inf where top_k and top_p leave a token out. temperature must not be 0
// here. Top-p: A. Holtzman et al., "The curious case of neural text degeneration", 2020. ValueError for bad options.
Tensor filter_logits(const Tensor& logits, const SamplingOptions& options);

// A token for each row of logits [..., n], i64. Greedy takes the first of equals.
Tensor sample_tokens(const Tensor& logits, const SamplingOptions& options = {}, Generator* generator = nullptr);

struct GenerateOptions {
  int64_t max_new_tokens = 100;
  SamplingOptions sampling = {};
  int64_t end_token = -1;  // ends the sequence, and is its last token
};
// `next` gets the tokens that are new since its last call, at first the prompt, and returns the logits [n] of what
// comes after them: a model with a cache sees each token once. Returns the prompt and what was generated.
std::vector<int64_t> generate(FunctionRef<Tensor(const std::vector<int64_t>&)> next, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options = {}, Generator* generator = nullptr);

struct BeamOptions {
  int64_t beams = 4;
  int64_t max_new_tokens = 100;
  int64_t end_token = -1;
  double length_penalty = 1;  // scores are divided by (generated tokens)^penalty when sequences are compared
};
struct Hypothesis {
  std::vector<int64_t> tokens;  // with the prompt
  double score = 0;             // the sum of log-probabilities over length^penalty
};
// `next` gets sequences of one length [beams, length] and, for each, the row of its last call that it goes on from, and
// returns logits [beams, n]; at first there is one sequence, the prompt, which goes on from row 0. The search stops
// when as many sequences as beams have ended. Returns at most `beams` sequences, the best first; equal scores keep the
// order of row and token.
std::vector<Hypothesis> beam_search(FunctionRef<Tensor(const Tensor& tokens, const Tensor& rows)> next,
                                    const std::vector<int64_t>& prompt, const BeamOptions& options = {});

}  // namespace tenrec
