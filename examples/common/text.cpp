#include "common/text.h"

#include <array>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/core/philox.h"

namespace examples {

using namespace tenrec;

NamedText read_text_file(const std::string& path) {
  constexpr int64_t kMostBytes = 1 << 28;
  constexpr const char* kName = "tinyshakespeare.txt";
  std::string file = path;
  if (is_folder(path)) {
    file = join_path(path, kName);
    if (!is_file(file)) fail<IOError>(path, ": has no ", kName, "; --data is that folder, or a text file");
  }
  const std::vector<uint8_t> bytes = read_file(file, kMostBytes);
  const size_t slash = file.rfind('/'), start = slash == std::string::npos ? 0 : slash + 1;
  return {file.substr(start, file.rfind('.') > start ? file.rfind('.') - start : std::string::npos),
          std::string(bytes.begin(), bytes.end())};
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

NamedText grammar_text(int64_t bytes) {
  Grammar grammar;
  std::string all;
  while (int64_t(all.size()) < bytes) all += grammar.sentence();
  return {"grammar", all};
}

}  // namespace examples
