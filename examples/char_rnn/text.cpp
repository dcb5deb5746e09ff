#include "char_rnn/text.h"

#include <array>

namespace examples {

using namespace tenrec;

int64_t CharText::code(char c) const {
  const size_t at = alphabet.find(c);
  if (at == std::string::npos) fail<ValueError>("the text has no byte ", int(uint8_t(c)));
  return int64_t(at);
}

Tensor CharText::encode(const std::string& bytes) const {
  std::array<int64_t, 256> codes{};
  codes.fill(-1);
  for (size_t i = 0; i < alphabet.size(); ++i) codes[uint8_t(alphabet[i])] = int64_t(i);
  std::vector<int64_t> out;
  out.reserve(bytes.size());
  for (const char c : bytes) out.push_back(codes[uint8_t(c)] >= 0 ? codes[uint8_t(c)] : code(c));
  return from_vector(out, {int64_t(out.size())});
}

CharText make_text(const NamedText& from) {
  const auto& [name, bytes] = from;
  if (bytes.size() < 1000) fail<ValueError>(name, ": a text of ", bytes.size(), " bytes, at least 1000 are needed");
  std::array<bool, 256> seen{};
  for (const char c : bytes) seen[uint8_t(c)] = true;
  CharText text{name, {}, {}, {}};
  for (int c = 0; c < 256; ++c)
    if (seen[size_t(c)]) text.alphabet.push_back(char(c));
  const Tensor all = text.encode(bytes);
  const int64_t cut = all.numel() * 9 / 10;
  text.train = slice(all, 0, 0, cut);
  text.validation = slice(all, 0, cut);
  return text;
}

}  // namespace examples
