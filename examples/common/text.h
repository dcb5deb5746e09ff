// Texts for language models: a file, or sentences that a small grammar makes.
#pragma once

#include <cstdint>
#include <string>

namespace examples {

struct NamedText {
  std::string name, bytes;
};
// A text file, or a folder with tinyshakespeare.txt. IOError if it cannot be read.
NamedText read_text_file(const std::string& path);
// About `bytes` bytes of sentences and sums: subjects agree with their verbs, sums are right.
NamedText grammar_text(int64_t bytes);

}  // namespace examples
