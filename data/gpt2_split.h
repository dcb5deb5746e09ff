// How GPT-2 cuts a text into pieces before byte-pair encoding, which never joins across them.
//
// In the order in which they are tried, a piece is: one of the endings 's 't 're 've 'm 'll 'd; letters; numbers; other
// signs that are no white space (each of these three with one blank before them, if there is one); white space but for
// its last character, if something follows; white space. Radford et al., "Language models are unsupervised multitask
// learners", 2019, encoder.py, whose regular expression is read by hand here instead of by a library.
#pragma once

#include <cstddef>
#include <string_view>

namespace tenrec {

// The end of the piece that begins at `begin`, which must be less than text.size(). The text must be valid UTF-8.
size_t gpt2_piece_end(std::string_view text, size_t begin);

}  // namespace tenrec
