#include "tenrec/data/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/bpe.h"
#include "tenrec/data/json_impl.h"
#include "tenrec/data/token_table_impl.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

constexpr const char* kFormat = "tenrec.tokenizer";
constexpr const char* kUnits[] = {"byte", "character", "word"};  // in TextUnit's order

bool in_word(uint32_t c) { return is_letter(c) || is_number(c) || is_mark(c); }

// Calls f(unit, byte offset) for each character or word of a valid text.
template <class F>
void for_each_unit(TextUnit unit, std::string_view text, F&& f) {
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const uint32_t c = next_code_point(text, i);
    if (unit == TextUnit::word) {
      if (is_space(c)) continue;
      for (size_t next = i; in_word(c) && next < text.size() && in_word(next_code_point(text, next));) i = next;
    }
    f(text.substr(begin, i - begin), begin);
  }
}

std::vector<std::string> all_bytes() {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(1, char(b));
  return tokens;
}

// Tokens of a text, the most frequent first, then by their bytes.
std::vector<std::string> frequent_units(TextUnit unit, std::string_view text, int64_t min_count) {
  std::unordered_map<std::string_view, int64_t> counts;
  for_each_unit(unit, text, [&](std::string_view token, size_t) { ++counts[token]; });
  std::vector<std::pair<int64_t, std::string_view>> ordered;
  for (const auto& [token, count] : counts)
    if (count >= min_count) ordered.emplace_back(-count, token);
  std::sort(ordered.begin(), ordered.end());
  std::vector<std::string> tokens;
  tokens.reserve(ordered.size());
  for (const auto& [count, token] : ordered) tokens.emplace_back(token);
  return tokens;
}

void check_specials(const char* name, const std::vector<std::string>& specials) {
  for (size_t i = 0; i < specials.size(); ++i) {
    if (specials[i].empty()) fail<ValueError>(name, ": special token ", i, " is empty");
    check_utf8(specials[i], concat(name, ": special token ", i));
    if (std::find(specials.begin(), specials.begin() + int64_t(i), specials[i]) != specials.begin() + int64_t(i))
      fail<ValueError>(name, ": special token '", specials[i], "' is given twice");
  }
}

}  // namespace

std::vector<int64_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids;
  encode_to(text, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, DecodeOptions options) const {
  std::string text;
  bool first = true;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= size())
      fail<IndexError>("decode: token ", ids[i], " at place ", i, " of a vocabulary of ", size());
    if (options.skip_specials && is_special(ids[i])) continue;
    if (!first) text += separator();
    text += token(ids[i]);
    first = false;
  }
  return text;
}

int64_t Tokenizer::id_of(std::string_view token) const {
  const int64_t id = find(token);
  if (id < 0) fail<ValueError>("there is no token '", json::brief(token), "' in this vocabulary of ", size());
  return id;
}

struct TextTokenizer::Impl {
  TextUnit unit = TextUnit::byte;
  bool lower = false;
  int64_t unknown = -1;
  TokenTable table;
};

TextTokenizer::TextTokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

TextTokenizer TextTokenizer::bytes(std::vector<std::string> specials) {
  return build(TextUnit::byte, "", {.specials = std::move(specials)});
}

TextTokenizer TextTokenizer::build(TextUnit unit, std::string_view text, const VocabularyOptions& options) {
  const char* name = "TextTokenizer::build";
  if (options.min_count < 1) fail<ValueError>(name, ": min_count of ", options.min_count);
  check_specials(name, options.specials);
  const auto specials = int64_t(options.specials.size());
  if (options.max_size < 0 || (options.max_size > 0 && options.max_size < specials))
    fail<ValueError>(name, ": max_size of ", options.max_size, " with ", specials, " special tokens");
  auto impl = std::make_shared<Impl>();
  impl->unit = unit;
  impl->lower = options.lower && unit != TextUnit::byte;
  std::vector<std::string> tokens = options.specials;
  if (unit == TextUnit::byte) {
    tokens = all_bytes();
    tokens.insert(tokens.end(), options.specials.begin(), options.specials.end());
  } else {
    check_utf8(text, name);
    const std::string lower = impl->lower ? lower_case(text) : "";
    for (std::string& token : frequent_units(unit, impl->lower ? lower : text, options.min_count)) {
      if (options.max_size > 0 && int64_t(tokens.size()) == options.max_size) break;
      if (std::find(options.specials.begin(), options.specials.end(), token) == options.specials.end())
        tokens.push_back(std::move(token));
    }
  }
  const int64_t twice = impl->table.assign(std::move(tokens));
  if (twice >= 0) fail<ValueError>(name, ": special token '", impl->table.token(twice), "' is a byte");
  for (const std::string& special : options.specials) impl->table.mark_special(impl->table.find(special));
  const bool has_unknown =
      std::find(options.specials.begin(), options.specials.end(), options.unknown) != options.specials.end();
  if (has_unknown && unit != TextUnit::byte) impl->unknown = impl->table.find(options.unknown);
  return TextTokenizer(std::move(impl));
}

TextUnit TextTokenizer::unit() const { return impl_->unit; }
int64_t TextTokenizer::unknown() const { return impl_->unknown; }
int64_t TextTokenizer::size() const { return impl_->table.size(); }
std::string_view TextTokenizer::token(int64_t id) const { return impl_->table.token(id); }
int64_t TextTokenizer::find(std::string_view token) const { return impl_->table.find(token); }
bool TextTokenizer::is_special(int64_t id) const { return impl_->table.is_special(id); }
bool TextTokenizer::needs_utf8() const { return impl_->unit != TextUnit::byte; }
std::string_view TextTokenizer::separator() const { return impl_->unit == TextUnit::word ? " " : ""; }

void TextTokenizer::encode_to(std::string_view text, std::vector<int64_t>& ids) const {
  if (impl_->unit == TextUnit::byte) {
    ids.reserve(ids.size() + text.size());
    for (const char c : text) ids.push_back(int64_t(uint8_t(c)));
    return;
  }
  check_utf8(text, "encode");
  std::string lower;
  if (impl_->lower) text = lower = lower_case(text);
  for_each_unit(impl_->unit, text, [&](std::string_view token, size_t offset) {
    int64_t id = impl_->table.find(token);
    if (id >= 0 && impl_->table.is_special(id)) id = -1;  // text never makes a special token
    if (id < 0) id = impl_->unknown;
    if (id < 0)
      fail<ValueError>("encode: the ", kUnits[int(impl_->unit)], " '", json::brief(token), "' at byte ", offset,
                       " is not in the vocabulary, which has no unknown token");
    ids.push_back(id);
  });
}

void TextTokenizer::save(const std::string& path) const {
  json::Value specials = json::Value::array(), tokens = json::Value::array();
  for (int64_t id = 0; id < size(); ++id) {
    if (is_special(id)) specials.push_back(id);
    if (impl_->unit != TextUnit::byte || id >= 256) tokens.push_back(std::string(token(id)));
  }
  const json::Value file = {
      {"format", kFormat},         {"unit", kUnits[int(impl_->unit)]}, {"lower", impl_->lower},
      {"unknown", impl_->unknown}, {"specials", std::move(specials)},  {"tokens", std::move(tokens)}};
  write_file(path, file.dump() + "\n");
}

namespace {

[[noreturn]] void wrong(const std::string& path, const char* key, const char* expected) {
  fail<IOError>(path, ": '", key, "' is missing or not ", expected);
}

const json::Value& member(const json::Value& object, const std::string& path, const char* key,
                          json::Value::value_t type, const char* expected) {
  const json::Value* value = json::find(object, key);
  // A number of any kind of integer, else exactly the type asked for.
  const bool integer = type == json::Value::value_t::number_integer;
  if (value == nullptr || (integer ? !value->is_number_integer() : value->type() != type)) wrong(path, key, expected);
  return *value;
}

}  // namespace

TextTokenizer TextTokenizer::load(const std::string& path) {
  using Type = json::Value::value_t;
  const json::Value file = json::read(path);
  if (!file.is_object() || file.value("format", json::Value()) != kFormat)
    fail<IOError>(path, ": is not a ", kFormat, " file");
  auto impl = std::make_shared<Impl>();
  const json::Value& unit = member(file, path, "unit", Type::string, "a text");
  const auto* found = std::find(std::begin(kUnits), std::end(kUnits), unit.get_ref<const std::string&>());
  if (found == std::end(kUnits)) wrong(path, "unit", "byte, character or word");
  impl->unit = TextUnit(found - std::begin(kUnits));
  impl->lower = member(file, path, "lower", Type::boolean, "true or false").get<bool>();
  std::vector<std::string> tokens;
  if (impl->unit == TextUnit::byte) tokens = all_bytes();
  for (const json::Value& token : member(file, path, "tokens", Type::array, "a list")) {
    if (!token.is_string() || token.get_ref<const std::string&>().empty())
      fail<IOError>(path, ": token ", tokens.size(), " is empty or not a text");
    tokens.push_back(token.get<std::string>());
  }
  const int64_t twice = impl->table.assign(std::move(tokens));
  if (twice >= 0)
    fail<IOError>(path, ": token ", twice, " '", json::brief(impl->table.token(twice)), "' is there before");
  for (const json::Value& id : member(file, path, "specials", Type::array, "a list")) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= uint64_t(impl->table.size()))
      fail<IOError>(path, ": special token ", json::brief(id.dump()), " of ", impl->table.size(), " tokens");
    impl->table.mark_special(id.get<int64_t>());
  }
  const json::Value& unknown = member(file, path, "unknown", Type::number_integer, "a whole number");
  if ((unknown.is_number_unsigned() && unknown.get<uint64_t>() >= uint64_t(impl->table.size())) || unknown < -1)
    fail<IOError>(path, ": unknown token ", unknown.dump(), " of ", impl->table.size(), " tokens");
  impl->unknown = unknown.get<int64_t>();
  return TextTokenizer(std::move(impl));
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  const json::Value file = json::read(path);
  if (file.is_object() && file.value("format", json::Value()) == kFormat)
    return std::make_unique<TextTokenizer>(TextTokenizer::load(path));
  return std::make_unique<BpeTokenizer>(BpeTokenizer::load(path));
}

}  // namespace tenrec
