// The files of byte-pair encodings, which are as little trusted as any other.
#include <algorithm>

#include "tenrec/core/atomic_file.h"
#include "tenrec/core/error.h"
#include "tenrec/data/bpe_impl.h"
#include "tenrec/data/json_impl.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

using json::brief;
using json::Value;

constexpr const char* kEndOfText = "<|endoftext|>";

// A token as a file gives it: ordinary ones written by GPT-2's characters, special ones by name.
struct Entry {
  std::string written;
  uint64_t id;
  bool special;
};

uint64_t read_id(const std::string& path, const std::string& token, const Value& id) {
  if (!id.is_number_unsigned())
    fail<IOError>(path, ": token '", brief(token), "' has id ", brief(id.dump()), ", expected a whole number from 0");
  return id.get<uint64_t>();
}

std::vector<Entry> read_vocabulary(const std::string& path, const Value& vocabulary) {
  std::vector<Entry> entries;
  entries.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) entries.push_back({token, read_id(path, token, id), false});
  return entries;
}

// Puts the tokens to their ids, which must be 0 to n - 1.
void place_tokens(const std::string& path, const std::vector<Entry>& entries, TokenTable& table) {
  if (int64_t(entries.size()) > bpe::kMaxTokens) fail<IOError>(path, ": has ", entries.size(), " tokens");
  std::vector<const Entry*> by_id(entries.size());
  for (const Entry& e : entries) {
    if (e.id >= entries.size())
      fail<IOError>(path, ": token '", brief(e.written), "' has id ", e.id, ", but there are ", entries.size(),
                    " tokens");
    if (by_id[e.id] != nullptr)
      fail<IOError>(path, ": tokens '", brief(by_id[e.id]->written), "' and '", brief(e.written), "' have the same id ",
                    e.id);
    by_id[e.id] = &e;
  }
  std::vector<std::string> tokens(entries.size());
  for (const Entry& e : entries) {
    if (e.written.empty()) fail<IOError>(path, ": the token with id ", e.id, " is empty");
    if (e.special) {
      tokens[e.id] = e.written;
    } else if (!bpe::bytes_of_written(e.written, tokens[e.id])) {
      fail<IOError>(path, ": token '", brief(e.written), "' (id ", e.id, ") holds a character that stands for no byte");
    }
  }
  const int64_t twice = table.assign(std::move(tokens));
  if (twice >= 0) fail<IOError>(path, ": token '", brief(by_id[size_t(twice)]->written), "' is there twice");
  for (const Entry& e : entries)
    if (e.special) table.mark_special(int64_t(e.id));
}

// Adds one merge of tokens as they are written; `place` says where it stands.
void read_merge(const std::string& path, const std::string& place, std::string_view left, std::string_view right,
                bpe::Model& model) {
  bpe::Id ids[2];
  std::string bytes;
  for (int side = 0; side < 2; ++side) {
    const std::string_view written = side == 0 ? left : right;
    const int64_t id = bpe::bytes_of_written(written, bytes) ? model.table.find(bytes) : -1;
    if (id < 0 || model.table.is_special(id))
      fail<IOError>(path, ": ", place, ": '", brief(written), "' is not in the vocabulary");
    ids[side] = bpe::Id(id);
  }
  const int64_t joined = model.add_merge(ids[0], ids[1]);
  if (joined == -1)
    fail<IOError>(path, ": ", place, ": '", brief(left), "' and '", brief(right), "' make no token of the vocabulary");
  if (joined == -2)
    fail<IOError>(path, ": ", place, ": '", brief(left), "' and '", brief(right), "' are joined before");
}

// "left right", one space between them and none elsewhere.
void read_merge_line(const std::string& path, const std::string& place, std::string_view line, bpe::Model& model) {
  const size_t space = line.find(' ');
  const bool two = space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
                   line.find(' ', space + 1) == std::string_view::npos;
  if (!two) fail<IOError>(path, ": ", place, ": expected two tokens with a space between, got '", brief(line), "'");
  read_merge(path, place, line.substr(0, space), line.substr(space + 1), model);
}

void read_merge_file(const std::string& path, bpe::Model& model) {
  const std::string text = read_text(path, json::kMaxBytes);
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = end + 1;
    if (++number == 1 && line.starts_with("#version")) continue;
    read_merge_line(path, concat("line ", number), line, model);
  }
}

void expect_absent(const std::string& path, const Value& object, const char* where, const char* key) {
  const Value* value = json::find(object, key);
  const bool absent = value == nullptr || value->is_null() || *value == false || *value == "";
  if (!absent) fail<IOError>(path, ": ", where, key, " is ", brief(value->dump()), ", which Tenrec has not");
}

// Only what encodes as GPT-2 does.
void check_pipeline(const std::string& path, const Value& file, const Value& model) {
  expect_absent(path, file, "", "normalizer");
  if (const Value* type = json::find(model, "type"); type != nullptr && *type != "BPE")
    fail<IOError>(path, ": the model is ", brief(type->dump()), ", expected \"BPE\"");
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"})
    expect_absent(path, model, "model.", key);
  const Value* split = json::find(file, "pre_tokenizer");
  const Value* type = split != nullptr && split->is_object() ? json::find(*split, "type") : nullptr;
  if (type == nullptr || *type != "ByteLevel")
    fail<IOError>(path, ": the pre_tokenizer is ", type == nullptr ? "missing" : brief(type->dump()),
                  ", expected \"ByteLevel\"");
  const auto flag = [&](const char* key, bool otherwise) {
    const Value* value = json::find(*split, key);
    if (value != nullptr && !value->is_boolean())
      fail<IOError>(path, ": pre_tokenizer.", key, " is ", brief(value->dump()), ", expected true or false");
    return value == nullptr ? otherwise : value->get<bool>();
  };
  if (flag("add_prefix_space", true))
    fail<IOError>(path, ": pre_tokenizer.add_prefix_space is true, which Tenrec has not");
  if (!flag("use_regex", true)) fail<IOError>(path, ": pre_tokenizer.use_regex is false, which Tenrec has not");
}

// Adds the tokens of "added_tokens"; one that is in the vocabulary too must have the same id, and becomes special.
void read_added(const std::string& path, const Value& file, std::vector<Entry>& entries) {
  const Value* added = json::find(file, "added_tokens");
  if (added == nullptr) return;
  if (!added->is_array()) fail<IOError>(path, ": added_tokens is not a list");
  std::unordered_map<std::string, size_t> places;
  for (size_t i = 0; i < entries.size(); ++i) places.emplace(entries[i].written, i);
  for (const Value& token : *added) {
    const Value* content = token.is_object() ? json::find(token, "content") : nullptr;
    const Value* id = token.is_object() ? json::find(token, "id") : nullptr;
    if (content == nullptr || id == nullptr || !content->is_string())
      fail<IOError>(path, ": added token ", brief(token.dump()), " has no content or id");
    const auto name = content->get<std::string>();
    const Entry entry{name, read_id(path, name, *id), true};
    const auto [found, is_new] = places.emplace(name, entries.size());
    if (is_new) {
      entries.push_back(entry);
    } else if (entries[found->second].id != entry.id || entries[found->second].special) {
      fail<IOError>(path, ": token '", brief(name), "' is there twice, as ", entries[found->second].id, " and ",
                    entry.id);
    } else {
      entries[found->second].special = true;
    }
  }
}

void read_merges(const std::string& path, const Value& merges, bpe::Model& model) {
  for (size_t i = 0; i < merges.size(); ++i) {
    const Value& merge = merges[i];
    const std::string place = concat("merge ", i);
    if (merge.is_string()) {
      read_merge_line(path, place, merge.get_ref<const std::string&>(), model);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      read_merge(path, place, merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(), model);
    } else {
      fail<IOError>(path, ": ", place, ": expected two tokens, got ", brief(merge.dump()));
    }
  }
}

}  // namespace

BpeTokenizer BpeTokenizer::load_gpt2(const std::string& encoder_json, const std::string& vocab_bpe) {
  const Value vocabulary = json::read(encoder_json);
  if (!vocabulary.is_object()) fail<IOError>(encoder_json, ": is not an object of tokens and ids");
  std::vector<Entry> entries = read_vocabulary(encoder_json, vocabulary);
  for (Entry& e : entries) e.special = e.written == kEndOfText;
  auto impl = std::make_shared<Impl>();
  place_tokens(encoder_json, entries, impl->table);
  read_merge_file(vocab_bpe, *impl);
  impl->finish();
  return BpeTokenizer(std::move(impl));
}

BpeTokenizer BpeTokenizer::load(const std::string& path) {
  const Value file = json::read(path);
  const Value* model = file.is_object() ? json::find(file, "model") : nullptr;
  if (model == nullptr || !model->is_object()) fail<IOError>(path, ": is not a tokenizer.json: it has no model");
  check_pipeline(path, file, *model);
  const Value* vocabulary = json::find(*model, "vocab");
  const Value* merges = json::find(*model, "merges");
  if (vocabulary == nullptr || !vocabulary->is_object())
    fail<IOError>(path, ": model.vocab is missing or not an object");
  if (merges == nullptr || !merges->is_array()) fail<IOError>(path, ": model.merges is missing or not a list");
  std::vector<Entry> entries = read_vocabulary(path, *vocabulary);
  read_added(path, file, entries);
  auto impl = std::make_shared<Impl>();
  place_tokens(path, entries, impl->table);
  read_merges(path, *merges, *impl);
  impl->finish();
  return BpeTokenizer(std::move(impl));
}

void BpeTokenizer::save(const std::string& path) const {
  const TokenTable& table = impl_->table;
  Value vocabulary = Value::object(), merges = Value::array(), added = Value::array();
  for (int64_t id = 0; id < table.size(); ++id) {
    const std::string& token = table.token(id);
    vocabulary[table.is_special(id) ? token : bpe::written_from_bytes(token)] = id;
    if (table.is_special(id)) {
      added.push_back({{"id", id},
                       {"content", token},
                       {"special", true},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false}});
    }
  }
  for (const auto& [left, right] : impl_->merges)
    merges.push_back(bpe::written_from_bytes(table.token(left)) + ' ' + bpe::written_from_bytes(table.token(right)));
  const Value byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Value model = {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"vocab", std::move(vocabulary)},
                       {"merges", std::move(merges)}};
  const Value file = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"normalizer", nullptr},
                      {"added_tokens", std::move(added)},
                      {"pre_tokenizer", byte_level},
                      {"post_processor", nullptr},
                      {"decoder", byte_level},
                      {"model", model}};
  write_file(path, file.dump() + "\n");
}

}  // namespace tenrec
