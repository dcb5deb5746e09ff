#include "char_rnn/text.h"

#include <array>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/philox.h"

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

CharText make_text(const std::string& name, const std::string& bytes) {
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

CharText load_text(const std::string& path) {
  constexpr int64_t kMostBytes = 1 << 28;
  constexpr const char* kName = "tinyshakespeare.txt";
  std::string file = path;
  if (is_folder(path)) {
    file = join_path(path, kName);
    if (!is_file(file)) fail<IOError>(path, ": has no ", kName, "; --data is that folder, or a text file");
  }
  const std::vector<uint8_t> bytes = read_file(file, kMostBytes);
  const size_t slash = file.rfind('/'), start = slash == std::string::npos ? 0 : slash + 1;
  return make_text(file.substr(start, file.rfind('.') > start ? file.rfind('.') - start : std::string::npos),
                   std::string(bytes.begin(), bytes.end()));
}

namespace {

class Grammar {
 public:
  std::string sentence() {
    if (draw(5) == 0) {
      const int a = int(draw(20)), b = int(draw(20));
      return concat(a, " and ", b, " make ", a + b, ".\n");
    }
    const bool many = draw(2);
    std::string s = noun_phrase(many);
    s[0] = char(s[0] - 'a' + 'A');
    const bool object = draw(2);
    s += concat(" ", pick(object ? kTransitive : kIntransitive), many ? "" : "s");
    if (object) s += concat(" ", noun_phrase(draw(2)));
    if (draw(3) == 0) s += concat(" ", pick(kPlaces));
    return concat(s, ".\n");
  }

 private:
  static constexpr std::array<const char*, 6> kAdjectives{"small", "old", "quiet", "red", "clever", "hungry"};
  static constexpr std::array<const char*, 8> kNouns{"tenrec", "farmer", "bird",  "king",
                                                     "sailor", "cat",    "queen", "dog"};
  static constexpr std::array<const char*, 6> kTransitive{"see", "follow", "hear", "answer", "remember", "paint"};
  static constexpr std::array<const char*, 6> kIntransitive{"sleep", "sing", "wait", "dream", "jump", "laugh"};
  static constexpr std::array<const char*, 4> kPlaces{"in the garden", "behind the house", "by the river",
                                                      "under the bridge"};

  uint32_t draw(uint32_t n) { return uint32_t(uint64_t(philox_(0, count_++).word[0]) * n >> 32); }
  template <size_t N>
  const char* pick(const std::array<const char*, N>& words) {
    return words[draw(N)];
  }
  std::string noun_phrase(bool many) {
    const char* which = draw(2) ? "the " : many ? "two " : "every ";
    const bool described = draw(2);
    const char* adjective = described ? pick(kAdjectives) : "";
    return concat(which, adjective, described ? " " : "", pick(kNouns), many ? "s" : "");
  }

  Philox philox_{1};
  uint64_t count_ = 0;
};

}  // namespace

CharText grammar_text(int64_t bytes) {
  Grammar grammar;
  std::string all;
  while (int64_t(all.size()) < bytes) all += grammar.sentence();
  return make_text("grammar", all);
}

}  // namespace examples
