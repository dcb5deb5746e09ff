// Text with words hidden: what a masked language model learns from.
#pragma once

#include <string>
#include <vector>

#include "tenrec/core/tensor.h"
#include "tenrec/data/tokenizer.h"

namespace examples {

// A text's tokens, and where its words begin. A word is a run of letters; all else is a word by itself, token by token.
struct WordedTokens {
  std::vector<int64_t> ids;
  std::vector<bool> begins;

  WordedTokens(const tenrec::Tokenizer& tokenizer, const std::string& text);
  WordedTokens(const WordedTokens& of, int64_t from, int64_t to);
  int64_t size() const { return int64_t(ids.size()); }
};

struct MaskedBatch {
  tenrec::Tensor tokens, places, targets;  // [batch, positions]; [n] among all tokens; [n], what stood there
};

struct MaskingOptions {
  int64_t context, mask_token, vocabulary, first_ordinary;  // ids from first_ordinary on are text
  double share = 0.15;                                      // of words that are hidden
};

// The windows of `text` that begin at `starts`, with whole words hidden: of ten, eight become mask tokens, one another
// token for each of its own, one stays. A function of the arguments alone. If chance hides none, the last token is.
MaskedBatch mask_words(const WordedTokens& text, const std::vector<int64_t>& starts, const MaskingOptions& options,
                       uint64_t seed);

}  // namespace examples
