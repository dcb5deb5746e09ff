// UTF-8, vocabularies and byte-pair encoding: against tiktoken and the tokenizers library (tests/fixtures/text, made by
// tools/make_text_fixtures.py), and against broken and hostile files.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/files.h"
#include "tenrec/core/error.h"
#include "tenrec/core/philox.h"
#include "tenrec/data/bpe.h"
#include "tenrec/data/gpt2_split.h"
#include "tenrec/data/tokenizer.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

using nlohmann::json;
using testing::Bytes;
using testing::message_of;
using testing::spit;
using testing::TempFolder;
using Ids = std::vector<int64_t>;

const std::string kFixtures = std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/text/";

json fixture(const char* name) { return json::parse(std::ifstream(kFixtures + name)); }
void put(const std::string& path, const std::string& text) { spit(path, Bytes(text.begin(), text.end())); }

std::vector<std::string> pieces(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = gpt2_piece_end(text, begin);
    out.push_back(text.substr(begin, end - begin));
  }
  return out;
}

TEST(Utf8, NamesTheFirstByteThatIsWrong) {
  const std::pair<std::string, int64_t> cases[] = {
      {"", -1},
      {"plain ASCII, longer than eight bytes", -1},
      {"gr\xC3\xBC\xC3\x9F dich \xE4\xBD\xA0 \xF0\x9F\x98\x80", -1},
      {"\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", -1},
      {"abc\x80", 3},       // a stray continuation
      {"12345678\xC3", 8},  // cut off
      {"\xC0\xAF", 0},      // overlong
      {"\xE0\x9F\xBF", 0},
      {"\xF0\x8F\xBF\xBF", 0},
      {"x\xED\xA0\x80", 1},      // a surrogate
      {"x\xF4\x90\x80\x80", 1},  // beyond U+10FFFF
      {"\xF5\x80\x80\x80", 0},
      {"\xE4\xBD\x20", 0},
      {"\xFF", 0},
  };
  for (const auto& [text, offset] : cases) EXPECT_EQ(find_bad_utf8(text), offset) << text;
  EXPECT_EQ(message_of<ValueError>([] { check_utf8("caf\xE9", "encode"); }), "encode: not UTF-8 at byte 3 (0xE9)");
  EXPECT_EQ(replace_bad_utf8("a\xE9"
                             "b\xC3"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
}

TEST(Utf8, EveryCodePointComesBack) {
  std::string text;
  for (uint32_t c = 0; c < 0x110000; ++c)
    if (c < 0xD800 || c > 0xDFFF) append_utf8(text, c);
  ASSERT_EQ(find_bad_utf8(text), -1);
  size_t i = 0;
  int64_t letters = 0, numbers = 0, spaces = 0;
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    ASSERT_EQ(next_code_point(text, i), c);
    letters += is_letter(c);
    numbers += is_number(c);
    spaces += is_space(c);
  }
  EXPECT_EQ(i, text.size());
  // Of Unicode 16 (DerivedGeneralCategory.txt, PropList.txt).
  EXPECT_EQ(letters, 141'028);
  EXPECT_EQ(numbers, 1'911);
  EXPECT_EQ(spaces, 25);
}

TEST(Utf8, LowerCase) {
  EXPECT_EQ(lower_case("ABC xyz \xC3\x84\xC3\x96\xC3\x9C\xC3\x9F"), "abc xyz \xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F");
  EXPECT_EQ(lower_case("\xCE\x91\xD0\x96\xC5\xB9\xC7\x84"), "\xCE\xB1\xD0\xB6\xC5\xBA\xC7\x86");
}

TEST(Utf8, FilesAreCheckedAndTheirMarkIsDropped) {
  const TempFolder folder;
  put(folder / "good", "\xEF\xBB\xBFtext");
  put(folder / "bad", "text\xE9");
  EXPECT_EQ(read_text(folder / "good"), "text");
  EXPECT_EQ(message_of<IOError>([&] { read_text(folder / "bad"); }), folder / "bad" + ": not UTF-8 at byte 4 (0xE9)");
  EXPECT_THROW(read_text(folder / "good", 3), IOError);
}

TEST(Gpt2Split, ByThePattern) {
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(pieces("Hello  world it's 2nd\r\n  x "),
            (Pieces{"Hello", " ", " world", " it", "'s", " 2", "nd", "\r\n ", " x", " "}));
  EXPECT_EQ(pieces("\t\ta 'LL 'll!"), (Pieces{"\t", "\t", "a", " '", "LL", " '", "ll", "!"}));
  EXPECT_EQ(pieces("a   "), (Pieces{"a", "   "}));
}

// Tokens of the table as the reference gives them: ids, and what they mean together.
TEST(Bpe, AsTiktokenOnHardLines) {
  const BpeTokenizer small = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  EXPECT_EQ(small.size(), 420);
  const json lines = fixture("lines.json");
  ASSERT_GT(lines.size(), 200u);
  for (int round = 0; round < 2; ++round) {  // the second from the cache
    for (const json& line : lines) {
      const auto text = line["text"].get<std::string>();
      const Ids ids = small.encode(text);
      EXPECT_EQ(ids, line["small"].get<Ids>()) << text;
      EXPECT_EQ(small.decode(ids), text);
    }
  }
}

std::string all_lines() {
  std::string text;
  for (const json& line : fixture("lines.json")) text += line["text"].get<std::string>() + '\n';
  text.pop_back();
  return text;
}

TEST(Bpe, TrainsAsTheTokenizersLibrary) {
  const BpeTokenizer expected = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  const BpeTokenizer made =
      BpeTokenizer::train(all_lines(), {.vocab_size = 420, .specials = {"<pad>", "<|endoftext|>"}});
  ASSERT_EQ(made.size(), expected.size());
  for (int64_t id = 0; id < made.size(); ++id) EXPECT_EQ(made.token(id), expected.token(id)) << id;
  EXPECT_EQ(made.merges(), expected.merges());
  EXPECT_TRUE(made.is_special(0));
  EXPECT_FALSE(made.is_special(2));
}

TEST(Bpe, TrainingEnds) {
  // Nothing occurs twice, and what is left of a run of one letter is never joined again.
  EXPECT_EQ(BpeTokenizer::train("abc", {.vocab_size = 1000}).size(), 256);
  const BpeTokenizer run = BpeTokenizer::train("aaaaaaa aaaaaaa", {.vocab_size = 1000});
  EXPECT_EQ(run.decode(run.encode("aaaaaaaaaaaaaaaa")), "aaaaaaaaaaaaaaaa");
  EXPECT_EQ(run.encode("aaaaaaa").size(), 1u);
  EXPECT_THROW(BpeTokenizer::train("abc", {.vocab_size = 255}), ValueError);
  EXPECT_THROW(BpeTokenizer::train("abc\xFF", {.vocab_size = 300}), ValueError);
  EXPECT_THROW(BpeTokenizer::train("abc", {.vocab_size = 300, .specials = {"<a>", "<a>"}}), ValueError);
}

TEST(Bpe, LongPiecesTakeTheirTimeOnlyOnce) {
  const BpeTokenizer run = BpeTokenizer::train("aaaaaaaaaaaaaaaaa aaaaaaaaaaaaaaaaa", {.vocab_size = 270});
  const std::string text(1'000'000, 'a');  // one piece: a quadratic algorithm would take minutes
  EXPECT_EQ(run.decode(run.encode(text)), text);
}

TEST(Bpe, SpecialTokensOnlyWhenAskedFor) {
  const BpeTokenizer small = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  const int64_t end = small.id_of("<|endoftext|>");
  EXPECT_EQ(end, 1);
  const Ids plain = small.encode("a<|endoftext|>b");
  EXPECT_EQ(std::count(plain.begin(), plain.end(), end), 0);
  const Ids special = small.encode_with_specials("a<|endoftext|>b<|endoftext|><pad");
  Ids expected = small.encode("a");
  expected.push_back(end);
  expected.push_back(small.id_of("b"));
  expected.push_back(end);
  const Ids tail = small.encode("<pad");
  expected.insert(expected.end(), tail.begin(), tail.end());
  EXPECT_EQ(special, expected);
  EXPECT_EQ(small.decode(special), "a<|endoftext|>b<|endoftext|><pad");
  EXPECT_EQ(small.decode(special, {.skip_specials = true}), "ab<pad");
  EXPECT_CONTAINS(message_of<ValueError>([&] { small.id_of("<none>"); }), "'<none>'");
}

TEST(Bpe, SavedAndReadAgain) {
  const TempFolder folder;
  const BpeTokenizer small = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  small.save(folder / "tokenizer.json");
  const std::unique_ptr<Tokenizer> again = load_tokenizer(folder / "tokenizer.json");
  ASSERT_EQ(again->size(), small.size());
  for (int64_t id = 0; id < small.size(); ++id) {
    EXPECT_EQ(again->token(id), small.token(id));
    EXPECT_EQ(again->is_special(id), small.is_special(id));
  }
  const std::string text = all_lines();
  EXPECT_EQ(again->encode(text), small.encode(text));
}

// GPT-2's pair of files, as they would be for the small tokenizer.
struct Gpt2Files {
  TempFolder folder;
  std::string encoder = folder / "encoder.json", merges = folder / "vocab.bpe";
  json vocabulary;
  std::string lines = "#version: 0.2\n";

  Gpt2Files() {
    const json file = fixture("small_tokenizer.json");
    vocabulary = file["model"]["vocab"];
    for (const json& m : file["model"]["merges"])
      lines += (m.is_string() ? m.get<std::string>() : m[0].get<std::string>() + ' ' + m[1].get<std::string>()) + '\n';
    write();
  }
  void write() const {
    put(encoder, vocabulary.dump());
    put(merges, lines);
  }
  BpeTokenizer load() const { return BpeTokenizer::load_gpt2(encoder, merges); }
};

TEST(Bpe, ReadsGpt2sPairOfFiles) {
  const Gpt2Files files;
  const BpeTokenizer tokenizer = files.load();
  EXPECT_TRUE(tokenizer.is_special(tokenizer.id_of("<|endoftext|>")));
  for (const json& line : fixture("lines.json"))
    EXPECT_EQ(tokenizer.encode(line["text"].get<std::string>()), line["small"].get<Ids>()) << line["text"];
}

TEST(Bpe, BrokenPairsOfFilesAreRefused) {
  const auto refused = [](auto&& change, const std::string& message) {
    Gpt2Files files;
    change(files);
    files.write();
    const std::string said = message_of<IOError>([&] { files.load(); });
    EXPECT_CONTAINS(said, message);
    EXPECT_CONTAINS(said, files.folder.path());
    EXPECT_EQ(said.find('\n'), std::string::npos);
  };
  refused([](Gpt2Files& f) { f.vocabulary["x y"] = 5; }, "have the same id 5");
  refused([](Gpt2Files& f) { f.vocabulary["new"] = 4'000'000'000; },
          "token 'new' has id 4000000000, but there are 421");
  refused([](Gpt2Files& f) { f.vocabulary["new"] = -1; }, "token 'new' has id -1, expected a whole number");
  refused([](Gpt2Files& f) { f.vocabulary["new"] = 420.5; }, "token 'new' has id 420.5");
  refused([](Gpt2Files& f) { f.vocabulary["new"] = "420"; }, "token 'new' has id \"420\"");
  refused([](Gpt2Files& f) { f.vocabulary["a b"] = 420; }, "token 'a b' (id 420) holds a character");
  refused([](Gpt2Files& f) { f.vocabulary["\xE4\xBD\xA0"] = 420; }, "(id 420) holds a character");
  refused([](Gpt2Files& f) { f.vocabulary[""] = 420; }, "the token with id 420 is empty");
  refused([](Gpt2Files& f) { f.vocabulary = json::array({1, 2}); }, "is not an object of tokens");
  refused([](Gpt2Files& f) { f.lines += "a b c\n"; },
          "line 164: expected two tokens with a space between, got 'a b c'");
  refused([](Gpt2Files& f) { f.lines += "abc\n"; }, "got 'abc'");
  refused([](Gpt2Files& f) { f.lines += "\nb c\n"; }, "line 164: expected two tokens");
  refused([](Gpt2Files& f) { f.lines += "a \n"; }, "got 'a '");
  refused([](Gpt2Files& f) { f.lines += "Q \xE4\xBD\xA0\n"; }, "line 164: '\xE4\xBD\xA0' is not in the vocabulary");
  refused([](Gpt2Files& f) { f.lines += "Q Q\n"; }, "line 164: 'Q' and 'Q' make no token");
  refused([](Gpt2Files& f) { f.lines += f.lines.substr(14, f.lines.find('\n', 14) - 13); }, "are joined before");
  refused([](Gpt2Files& f) { f.lines += "\xE9\n"; }, "not UTF-8 at byte");
  Gpt2Files cut;
  put(cut.encoder, cut.vocabulary.dump().substr(0, 1000));
  EXPECT_CONTAINS(message_of<IOError>([&] { cut.load(); }), "is not JSON");
  put(cut.encoder, R"({"a": 0, "a": 1})");
  EXPECT_CONTAINS(message_of<IOError>([&] { cut.load(); }), "'a' is given twice");
  put(cut.encoder, std::string(100'000, '['));
  EXPECT_CONTAINS(message_of<IOError>([&] { cut.load(); }), "nested more than 32 deep");
  EXPECT_CONTAINS(message_of<IOError>([&] { BpeTokenizer::load_gpt2(cut.folder / "none", cut.merges); }), "none");
}

TEST(Bpe, TokenizerFilesThatAskForMoreAreRefused) {
  const TempFolder folder;
  const auto refused = [&](auto&& change, const std::string& message) {
    json file = fixture("small_tokenizer.json");
    change(file);
    put(folder / "t.json", file.dump());
    EXPECT_CONTAINS(message_of<IOError>([&] { load_tokenizer(folder / "t.json"); }), message);
  };
  refused([](json& f) { f["normalizer"] = {{"type", "NFC"}}; }, "normalizer is {\"type\":\"NFC\"}");
  refused([](json& f) { f["model"]["type"] = "WordPiece"; }, "the model is \"WordPiece\", expected \"BPE\"");
  refused([](json& f) { f["model"]["dropout"] = 0.1; }, "model.dropout is 0.1");
  refused([](json& f) { f["model"]["ignore_merges"] = true; }, "model.ignore_merges is true");
  refused([](json& f) { f["pre_tokenizer"] = nullptr; }, "the pre_tokenizer is missing");
  refused([](json& f) { f["pre_tokenizer"]["type"] = "Metaspace"; }, "the pre_tokenizer is \"Metaspace\"");
  refused([](json& f) { f["pre_tokenizer"]["add_prefix_space"] = true; }, "add_prefix_space is true");
  refused([](json& f) { f["pre_tokenizer"]["use_regex"] = false; }, "use_regex is false");
  refused([](json& f) { f["pre_tokenizer"]["use_regex"] = 3; }, "use_regex is 3, expected true or false");
  refused([](json& f) { f.erase("model"); }, "has no model");
  refused([](json& f) { f["model"]["vocab"] = 3; }, "model.vocab is missing or not an object");
  refused([](json& f) { f["model"].erase("merges"); }, "model.merges is missing");
  refused([](json& f) { f["model"]["merges"].push_back({"a", "b", "c"}); }, "expected two tokens");
  refused([](json& f) { f["model"]["merges"].push_back(7); }, "expected two tokens, got 7");
  refused([](json& f) { f["added_tokens"].push_back({{"id", 1}}); }, "has no content or id");
  refused([](json& f) { f["added_tokens"][1]["id"] = 5; }, "token '<|endoftext|>' is there twice, as 1 and 5");
  refused([](json& f) { f["added_tokens"].push_back({{"id", 99}, {"content", "<new>"}}); }, "have the same id 99");
  refused([](json& f) { f = {1, 2, 3}; }, "is not a tokenizer.json");
}

TEST(Bpe, TextThatCannotBeEncoded) {
  const BpeTokenizer small = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  EXPECT_EQ(message_of<ValueError>([&] { small.encode("ab\xE9"); }), "encode: not UTF-8 at byte 2 (0xE9)");
  EXPECT_CONTAINS(message_of<IndexError>([&] {
                    small.decode(Ids{1, 420});
                  }),
                  "token 420 at place 1 of a vocabulary of 420");
  EXPECT_THROW(small.decode(Ids{-1}), IndexError);
  EXPECT_THROW(small.token(420), IndexError);
  const TempFolder folder;
  put(folder / "encoder.json", R"({"a": 0, "b": 1})");
  put(folder / "vocab.bpe", "");
  const BpeTokenizer two = BpeTokenizer::load_gpt2(folder / "encoder.json", folder / "vocab.bpe");
  EXPECT_EQ(two.encode("abba"), (Ids{0, 1, 1, 0}));
  EXPECT_EQ(message_of<ValueError>([&] { two.encode("abc"); }), "encode: the vocabulary has no token for byte 0x63");
}

TEST(Bpe, ThreadsMayShareIt) {
  const BpeTokenizer small = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  const std::string text = all_lines();
  const Ids expected = small.encode(text);
  std::vector<Ids> got(4);
  std::vector<std::thread> threads;
  for (Ids& ids : got) threads.emplace_back([&] { ids = small.encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : got) EXPECT_EQ(ids, expected);
}

TEST(TextTokenizer, Bytes) {
  const TextTokenizer t = TextTokenizer::bytes({"<bos>"});
  EXPECT_EQ(t.size(), 257);
  EXPECT_EQ(t.encode("A\xFF\n"), (Ids{65, 255, 10}));
  EXPECT_EQ(t.decode(Ids{256, 65, 255}), "<bos>A\xFF");
  EXPECT_EQ(t.id_of("<bos>"), 256);
  EXPECT_THROW(TextTokenizer::bytes({"A"}), ValueError);
}

TEST(TextTokenizer, CharactersByCountThenBytes) {
  const TextTokenizer t = TextTokenizer::build(TextUnit::character, "b\xC3\xA4\xC3\xA4 ab\xC3\xA4");
  EXPECT_EQ(t.size(), 4);
  EXPECT_EQ(t.encode("\xC3\xA4"
                     "b a"),
            (Ids{0, 1, 2, 3}));
  EXPECT_EQ(t.decode(Ids{3, 0}), "a\xC3\xA4");
  EXPECT_EQ(message_of<ValueError>([&] { t.encode("ab\nc"); }),
            "encode: the character '?' at byte 2 is not in the vocabulary, which has no unknown token");
}

TEST(TextTokenizer, Words) {
  const std::string text = "The cat, the dog; the caf\xC3\xA9 and 3 dogs. A CAT";
  const TextTokenizer t = TextTokenizer::build(
      TextUnit::word, text, {.min_count = 2, .specials = {"<pad>", "<unk>", "<bos>", "<eos>"}, .lower = true});
  EXPECT_EQ(t.size(), 6);
  EXPECT_EQ(t.unknown(), 1);
  EXPECT_EQ(t.token(4), "the");
  EXPECT_EQ(t.encode("The CAT sat <pad>"), (Ids{4, 5, 1, 1, 1, 1}));  // < pad > are three words
  EXPECT_EQ(t.decode(Ids{2, 4, 5, 3}), "<bos> the cat <eos>");
  EXPECT_EQ(t.decode(Ids{2, 4, 5, 3}, {.skip_specials = true}), "the cat");
  const TextTokenizer few = TextTokenizer::build(TextUnit::word, text, {.max_size = 3, .specials = {"<unk>"}});
  EXPECT_EQ(few.size(), 3);
  EXPECT_EQ(few.token(1), "the");
  EXPECT_EQ(few.token(2), ",");  // once each: in the order of bytes
}

TEST(TextTokenizer, OptionsThatMakeNoSense) {
  EXPECT_THROW(TextTokenizer::build(TextUnit::word, "a", {.min_count = 0}), ValueError);
  EXPECT_THROW(TextTokenizer::build(TextUnit::word, "a", {.max_size = 1, .specials = {"<a>", "<b>"}}), ValueError);
  EXPECT_THROW(TextTokenizer::build(TextUnit::word, "a", {.specials = {"<a>", "<a>"}}), ValueError);
  EXPECT_THROW(TextTokenizer::build(TextUnit::word, "a", {.specials = {""}}), ValueError);
  EXPECT_CONTAINS(message_of<ValueError>([] { TextTokenizer::build(TextUnit::word, "ab\xE9"); }), "byte 2 (0xE9)");
}

TEST(TextTokenizer, SavedAndReadAgain) {
  const TempFolder folder;
  const std::string text = "one two\ntwo \xE4\xBD\xA0\xE5\xA5\xBD \"quoted\" \\";
  for (const TextUnit unit : {TextUnit::byte, TextUnit::character, TextUnit::word}) {
    const TextTokenizer t = TextTokenizer::build(unit, text, {.specials = {"<pad>", "<unk>"}, .lower = true});
    t.save(folder / "t.json");
    const TextTokenizer again = TextTokenizer::load(folder / "t.json");
    EXPECT_EQ(again.unit(), unit);
    EXPECT_EQ(again.unknown(), t.unknown());
    EXPECT_EQ(load_tokenizer(folder / "t.json")->encode(text + " Three"), t.encode(text + " Three"));
    ASSERT_EQ(again.size(), t.size());
    for (int64_t id = 0; id < t.size(); ++id) {
      EXPECT_EQ(again.token(id), t.token(id));
      EXPECT_EQ(again.is_special(id), t.is_special(id));
    }
  }
}

TEST(TextTokenizer, BrokenFilesAreRefused) {
  const TempFolder folder;
  TextTokenizer::build(TextUnit::word, "a b", {.specials = {"<unk>"}}).save(folder / "good.json");
  const json good = json::parse(std::ifstream(folder / "good.json"));
  const auto refused = [&](auto&& change, const std::string& message) {
    json file = good;
    change(file);
    put(folder / "t.json", file.dump());
    EXPECT_CONTAINS(message_of<IOError>([&] { TextTokenizer::load(folder / "t.json"); }), message);
  };
  refused([](json& f) { f["format"] = "other"; }, "is not a tenrec.tokenizer file");
  refused([](json& f) { f["unit"] = "line"; }, "'unit' is missing or not byte, character or word");
  refused([](json& f) { f.erase("lower"); }, "'lower' is missing or not true or false");
  refused([](json& f) { f["tokens"] = 4; }, "'tokens' is missing or not a list");
  refused([](json& f) { f["tokens"][2] = 4; }, "token 2 is empty or not a text");
  refused([](json& f) { f["tokens"][2] = "a"; }, "token 2 'a' is there before");
  refused([](json& f) { f["specials"][0] = 3; }, "special token 3 of 3 tokens");
  refused([](json& f) { f["specials"][0] = -1; }, "special token -1 of 3 tokens");
  refused([](json& f) { f["unknown"] = 3; }, "unknown token 3 of 3 tokens");
  refused([](json& f) { f["unknown"] = 18446744073709551615ULL; }, "unknown token 18446744073709551615 of 3");
  refused([](json& f) { f["unknown"] = -2; }, "unknown token -2 of 3");
  refused([](json& f) { f["unknown"] = 0.5; }, "'unknown' is missing or not a whole number");
}

// Changes a few bytes at random: flips, cuts, repeats, digits, brackets.
std::string mutate(const std::string& text, uint64_t seed) {
  std::string out = text;
  const Philox philox(seed);
  const int changes = 1 + int(philox(0, 0).word[0] % 3);
  for (int k = 1; k <= changes && !out.empty(); ++k) {
    const PhiloxBlock r = philox(0, uint64_t(k));
    const size_t at = r.word[1] % out.size(), n = 1 + r.word[2] % 40;
    switch (r.word[0] % 7) {
      case 0:
        out[at] = char(r.word[3]);
        break;
      case 1:
        out.erase(at, n);
        break;
      case 2:
        out.insert(at, out.substr(at, n));
        break;
      case 3:
        out.resize(at);
        break;
      case 4:
        out[at] = "0123456789"[r.word[3] % 10];
        break;
      case 5:
        out[at] = "{}[]\",: \\\n"[r.word[3] % 10];
        break;
      default:
        out.insert(at, std::to_string(uint64_t(r.word[3]) << (r.word[2] % 33)));
    }
  }
  return out;
}

// Loads thousands of mutants of a file: each is read or refused with one line, and what was read can be used.
template <class Load>
void survive(const std::string& good, int count, Load&& load) {
  const TempFolder folder;
  int read = 0, refused = 0;
  for (int i = 0; i < count; ++i) {
    put(folder / "mutant", mutate(good, uint64_t(i)));
    try {
      load(folder / "mutant");
      ++read;
    } catch (const Error& error) {
      ++refused;
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(read, 0);
  EXPECT_GT(refused, count / 4);
}

std::string text_of(const std::string& path) {
  const Bytes bytes = testing::slurp(path);
  return {bytes.begin(), bytes.end()};
}

TEST(Fuzz, MutantsOfTokenizerFiles) {
  const auto use = [](const std::string& path) {
    const std::unique_ptr<Tokenizer> t = load_tokenizer(path);
    t->decode(t->encode("Hello, w\xC3\xB6rld 12"));
  };
  survive(text_of(kFixtures + "small_tokenizer.json"), 1500, use);
  const TempFolder folder;
  TextTokenizer::build(TextUnit::word, "a few words and more", {.specials = {"<pad>", "<unk>"}})
      .save(folder / "t.json");
  survive(text_of(folder / "t.json"), 1000, use);
}

TEST(Fuzz, MutantsOfGpt2sFiles) {
  const Gpt2Files files;
  survive(text_of(files.merges), 600, [&](const std::string& path) {
    BpeTokenizer::load_gpt2(files.encoder, path).encode("Hello, w\xC3\xB6rld 12");
  });
  survive(text_of(files.encoder), 600, [&](const std::string& path) {
    BpeTokenizer::load_gpt2(path, files.merges).encode("Hello, w\xC3\xB6rld 12");
  });
}

}  // namespace
}  // namespace tenrec
