// A text as numbers, one for each distinct byte, cut into a training and a validation part.
#pragma once

#include <string>

#include "common/text.h"
#include "tenrec/tenrec.h"

namespace examples {

struct CharText {
  std::string name, alphabet;        // the distinct bytes, in order
  tenrec::Tensor train, validation;  // i64: places in the alphabet; the first nine tenths, and the rest

  int64_t code(char c) const;  // ValueError for a byte that the text does not have
  tenrec::Tensor encode(const std::string& bytes) const;
};

// ValueError for a text of fewer than 1,000 bytes.
CharText make_text(const NamedText& from);

}  // namespace examples
