#include "gpt/text.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tenrec/core/error.h"

namespace examples {

using tenrec::fail;

Characters::Characters(const std::string& text) {
  std::fill(std::begin(token_), std::end(token_), int64_t(-1));
  for (char c : text) token_[uint8_t(c)] = 0;
  for (int b = 0; b < 256; ++b)
    if (token_[b] == 0) {
      token_[b] = int64_t(bytes_.size());
      bytes_.push_back(char(b));
    }
}

std::vector<int64_t> Characters::encode(const std::string& text) const {
  std::vector<int64_t> tokens;
  for (char c : text) {
    const int64_t token = token_[uint8_t(c)];
    if (token < 0) fail<tenrec::ValueError>("the character '", c, "' is not in the text that the model learns from");
    tokens.push_back(token);
  }
  return tokens;
}

std::string Characters::decode(const std::vector<int64_t>& tokens) const {
  std::string text;
  for (int64_t t : tokens) text.push_back(bytes_[size_t(t)]);
  return text;
}

std::string built_in_text() {
  const std::string rhymes =
      "Humpty Dumpty sat on a wall,\nHumpty Dumpty had a great fall;\nAll the king's horses and all the king's men\n"
      "Couldn't put Humpty together again.\n\nJack and Jill went up the hill\nTo fetch a pail of water;\nJack fell "
      "down "
      "and broke his crown,\nAnd Jill came tumbling after.\n\nMary had a little lamb,\nIts fleece was white as snow;\n"
      "And everywhere that Mary went\nThe lamb was sure to go.\n\nTwinkle, twinkle, little star,\nHow I wonder what "
      "you "
      "are!\nUp above the world so high,\nLike a diamond in the sky.\n\nBaa, baa, black sheep,\nHave you any "
      "wool?\nYes, "
      "sir, yes, sir,\nThree bags full;\nOne for the master,\nAnd one for the dame,\nAnd one for the little boy\nWho "
      "lives down the lane.\n\nHickory, dickory, dock,\nThe mouse ran up the clock;\nThe clock struck one,\nThe mouse "
      "ran down,\nHickory, dickory, dock.\n\nLittle Bo-Peep has lost her sheep,\nAnd doesn't know where to find them;\n"
      "Leave them alone, and they'll come home,\nBringing their tails behind them.\n\nHey diddle diddle,\nThe cat and "
      "the fiddle,\nThe cow jumped over the moon;\nThe little dog laughed\nTo see such sport,\nAnd the dish ran away "
      "with "
      "the spoon.\n\n";
  std::string text;
  for (int i = 0; i < 10; ++i) text += rhymes;
  return text;
}

std::string read_text(const std::string& path) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  std::error_code bad;
  if (fs::is_directory(path, bad)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path))
      if (entry.is_regular_file() && entry.path().extension() == ".txt") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty()) fail<tenrec::IOError>("no .txt file in ", path);
  } else {
    files.emplace_back(path);
  }
  std::string text;
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) fail<tenrec::IOError>("cannot read ", file.string());
    text.append(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return text;
}

}  // namespace examples
