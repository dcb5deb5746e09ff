// How GPT-2 cuts a text into pieces before byte-pair encoding, which never joins across them.
//
// The pattern is  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+  (Radford et al.,
// "Language models are unsupervised multitask learners", 2019, encoder.py), read by hand instead of by a library.
#pragma once

#include <cstddef>
#include <string_view>

namespace tenrec {

// The end of the piece that begins at `begin`, which must be less than text.size(). The text must be valid UTF-8.
size_t gpt2_piece_end(std::string_view text, size_t begin);

}  // namespace tenrec
