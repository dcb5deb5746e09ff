#include "common/text.h"

#include "common/grammar.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"

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

NamedText grammar_text(int64_t bytes) { return {"grammar", grammar_sentences(bytes)}; }

}  // namespace examples
