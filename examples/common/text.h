// A text as characters, each distinct byte a token; and a little text for when none is given.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace examples {

// The bytes that occur, in their order; a token is a place among them.
class Characters {
 public:
  explicit Characters(const std::string& text);
  int64_t size() const { return int64_t(bytes_.size()); }
  // ValueError for a character that the text had not.
  std::vector<int64_t> encode(const std::string& text) const;
  std::string decode(const std::vector<int64_t>& tokens) const;
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  int64_t token_[256];
};

// Nursery rhymes, a few times over: enough to see a model learn.
std::string built_in_text();
// The file, or the text files of a folder in the order of their names, one after the other. IOError.
std::string read_text(const std::string& path);

}  // namespace examples
