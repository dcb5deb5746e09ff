// A text that needs no download: sentences whose subjects agree with their verbs, and sums that are right.
#pragma once

#include <cstdint>
#include <string>

namespace examples {

// About `bytes` bytes, a sentence a line; always the same.
std::string grammar_sentences(int64_t bytes);

}  // namespace examples
