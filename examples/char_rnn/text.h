// A text as numbers, one for each distinct byte, cut into a training and a validation part.
#pragma once

#include <string>

#include "tenrec/tenrec.h"

namespace examples {

struct CharText {
  std::string name, alphabet;        // the distinct bytes, in order
  tenrec::Tensor train, validation;  // i64: places in the alphabet; the first nine tenths, and the rest

  int64_t code(char c) const;  // ValueError for a byte that the text does not have
  tenrec::Tensor encode(const std::string& bytes) const;
};

// ValueError for a text of fewer than 1,000 bytes.
CharText make_text(const std::string& name, const std::string& bytes);
// A text file, or a folder with tinyshakespeare.txt. IOError if it cannot be read.
CharText load_text(const std::string& path);
// About `bytes` bytes of sentences and sums that a small grammar makes: subjects agree with their verbs, sums are
// right.
CharText grammar_text(int64_t bytes);

}  // namespace examples
