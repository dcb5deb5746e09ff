// Lines, parallel corpora, buckets, token files, windows; perplexity, and BLEU against sacrebleu (tests/fixtures/text).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "support/files.h"
#include "tenrec/core/error.h"
#include "tenrec/data/bleu.h"
#include "tenrec/data/bpe.h"
#include "tenrec/data/corpus.h"
#include "tenrec/data/metrics.h"
#include "tenrec/data/token_file.h"

namespace tenrec {
namespace {

using nlohmann::json;
using testing::Bytes;
using testing::gzip;
using testing::message_of;
using testing::spit;
using testing::TempFolder;
using Ids = std::vector<int64_t>;

const std::string kFixtures = std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/text/";

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
void put(const std::string& path, const std::string& text) { spit(path, bytes_of(text)); }

TEST(Lines, OfAnySizeAndEnd) {
  const TempFolder folder;
  std::string text;
  std::vector<std::string> expected;
  for (int i = 0; i < 3000; ++i) {  // longer than a chunk, and lines that lie across chunks
    expected.push_back(std::string(size_t(i * 7 % 300), char('a' + i % 26)) + "\xC3\xA4");
    text += expected.back() + (i % 3 == 0 ? "\r\n" : "\n");
  }
  expected.emplace_back("no line feed");
  text += expected.back();
  put(folder / "plain", text);
  spit(folder / "packed", gzip(bytes_of(text)));
  EXPECT_EQ(read_lines(folder / "plain"), expected);
  EXPECT_EQ(read_lines(folder / "packed"), expected);
  put(folder / "empty", "");
  EXPECT_TRUE(read_lines(folder / "empty").empty());
  put(folder / "blank", "\n\n");
  EXPECT_EQ(read_lines(folder / "blank"), (std::vector<std::string>{"", ""}));
}

TEST(Lines, ErrorsNameThePlace) {
  const TempFolder folder;
  put(folder / "bad", std::string(100'000, 'x') + "\nab\xE9\n");
  EXPECT_EQ(message_of<IOError>([&] { read_lines(folder / "bad"); }),
            folder / "bad" + ": not UTF-8 at byte 100003 (0xE9, in line 2)");
  LineReader reader(folder / "bad", 1000);
  std::string line;
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.next(line); }), "line 1 is longer than 1000 bytes");
  EXPECT_THROW(LineReader(folder / "none"), IOError);
}

TEST(Parallel, AsManyLinesOnBothSides) {
  const TempFolder folder;
  put(folder / "a", "one\ntwo\nthree\n");
  put(folder / "b", "eins\nzwei\ndrei");
  put(folder / "c", "eins\nzwei\n");
  const ParallelCorpus corpus = read_parallel(folder / "a", folder / "b");
  EXPECT_EQ(corpus.size(), 3);
  EXPECT_EQ(corpus.source[2] + corpus.target[2], "threedrei");
  EXPECT_EQ(message_of<IOError>([&] { read_parallel(folder / "a", folder / "c"); }),
            folder / "a" + ": has 3 lines, but " + folder / "c" + " has 2");
}

// n sequences of lengths 0 to 20, whose ids say which sequence they are of.
TokenSequences sequences(int64_t n, int64_t step) {
  TokenSequences out;
  for (int64_t i = 0; i < n; ++i) out.add(Ids(size_t(i * step % 21), 1000 + i));
  return out;
}

struct Epoch {
  std::vector<Ids> batches;  // the examples of each
  int64_t padding = 0, ids = 0;
};

Epoch run_epoch(BucketLoader& loader, const TokenSequences& source, int64_t pad) {
  Epoch epoch;
  while (const std::optional<Example> batch = loader.next()) {
    const Example& b = *batch;
    EXPECT_EQ(b.size(), 5u);
    epoch.batches.push_back(b[4].to_vector<int64_t>());
    const int64_t rows = b[0].size(0), width = b[0].size(1);
    int64_t longest = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const auto expected = source[epoch.batches.back()[size_t(row)]];
      const auto length = int64_t(expected.size());
      longest = std::max(longest, length);
      EXPECT_EQ(b[1].item<int64_t>(row), length);
      for (int64_t t = 0; t < width; ++t) EXPECT_EQ(b[0].item<int64_t>(row, t), t < length ? expected[size_t(t)] : pad);
      epoch.padding += width - length;
    }
    EXPECT_EQ(width, longest);
    epoch.ids += rows * width;
  }
  return epoch;
}

TEST(Buckets, EveryExampleOnceInBatchesOfLikeLength) {
  const TokenSequences source = sequences(500, 5), target = sequences(500, 5);
  BucketLoader loader({source, target}, {.batch_size = 16, .width = 2, .seed = 3, .pad = -7});
  EXPECT_EQ(loader.batches(), (500 + 15) / 16);
  std::vector<Epoch> epochs;
  for (int e = 0; e < 2; ++e) {
    epochs.push_back(run_epoch(loader, source, -7));
    std::set<int64_t> seen;
    for (const Ids& batch : epochs.back().batches) seen.insert(batch.begin(), batch.end());
    EXPECT_EQ(seen.size(), 500u);
    EXPECT_LT(epochs.back().padding, epochs.back().ids / 10);
  }
  EXPECT_NE(epochs[0].batches, epochs[1].batches);
  // The same seed gives the same batches; from any place on.
  BucketLoader again({source, target}, {.batch_size = 16, .width = 2, .seed = 3, .pad = -7});
  again.seek({1, 10});
  const Epoch rest = run_epoch(again, source, -7);
  EXPECT_EQ(rest.batches, (std::vector<Ids>(epochs[1].batches.begin() + 10, epochs[1].batches.end())));
  EXPECT_EQ(again.state(), (LoaderState{2, 0}));
  BucketLoader other({source, target}, {.batch_size = 16, .width = 2, .seed = 4, .pad = -7});
  EXPECT_NE(run_epoch(other, source, -7).batches, epochs[0].batches);
}

TEST(Buckets, InOrderAndByTokens) {
  const TokenSequences source = sequences(100, 1);
  BucketLoader sorted({source, source}, {.batch_size = 7, .width = 1, .shuffle = false});
  size_t before = 0;
  for (const Ids& batch : run_epoch(sorted, source, 0).batches) {
    for (const int64_t i : batch) {
      EXPECT_GE(source[i].size(), before);
      before = source[i].size();
    }
  }
  BucketLoader limited({source, source}, {.batch_size = 1000, .max_tokens = 60, .width = 1, .seed = 1});
  int64_t rows = 0;
  while (const std::optional<Example> batch = limited.next()) {
    EXPECT_LE((*batch)[0].numel(), 60);
    rows += (*batch)[0].size(0);
  }
  EXPECT_EQ(rows, 100);
  // A row that is too long alone is a batch of its own.
  BucketLoader single({source, source}, {.batch_size = 1000, .max_tokens = 1});
  EXPECT_EQ(single.batches() > 80, true);
}

TEST(Buckets, WhatMakesNoSenseIsRefused) {
  const TokenSequences ten = sequences(10, 1), nine = sequences(9, 1);
  EXPECT_EQ(message_of<ValueError>([&] { BucketLoader({ten, nine}); }), "BucketLoader: columns of 10 and 9 sequences");
  EXPECT_THROW(BucketLoader({}), ValueError);
  EXPECT_THROW(BucketLoader({ten}, {.batch_size = 0}), ValueError);
  EXPECT_THROW(BucketLoader({ten}, {.width = 0}), ValueError);
  EXPECT_THROW(BucketLoader({ten}, {.max_tokens = -1}), ValueError);
  BucketLoader loader({ten}, {.batch_size = 5});
  EXPECT_THROW(loader.seek({0, 3}), ValueError);
  EXPECT_THROW(loader.seek({5, -1}), ValueError);
  EXPECT_EQ(loader.state(), LoaderState{});
  BucketLoader none({TokenSequences()});
  EXPECT_EQ(none.batches(), 0);
  EXPECT_FALSE(none.next());
  TokenSequences wrong;
  EXPECT_CONTAINS(message_of<IndexError>([&] { wrong.add(Ids{1, -2}); }), "token -2 at place 1");
  EXPECT_THROW(wrong.add(Ids{int64_t(1) << 31}), IndexError);
  EXPECT_THROW(ten[10], IndexError);
}

Ids read_all(const TokenFile& file) {
  Ids ids(size_t(file.size()));
  file.read(0, ids);
  return ids;
}

TEST(TokenFiles, BothWidths) {
  const TempFolder folder;
  for (const int64_t vocabulary : {65'536, 65'537}) {
    Ids ids(50'000);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = int64_t(i * 2654435761U) % vocabulary;
    TokenFileWriter writer(folder / "t", vocabulary);
    writer.append(std::span(ids).first(20'001));
    writer.append(std::span(ids).subspan(20'001));
    EXPECT_THROW(writer.append(Ids{vocabulary}), IndexError);
    EXPECT_THROW(writer.append(Ids{-1}), IndexError);
    EXPECT_EQ(writer.size(), 50'000);
    writer.commit();
    const TokenFile file(folder / "t");
    EXPECT_EQ(file.vocab_size(), vocabulary);
    EXPECT_EQ(read_all(file), ids);
    Ids some(3);
    file.read(49'997, some);
    EXPECT_EQ(some, Ids(ids.end() - 3, ids.end()));
    EXPECT_THROW(file.read(49'998, some), IndexError);
    EXPECT_THROW(file.read(-1, some), IndexError);
  }
}

TEST(TokenFiles, BrokenOnesAreRefused) {
  const TempFolder folder;
  TokenFileWriter writer(folder / "good", 100);
  writer.append(Ids{1, 2, 3});
  writer.commit();
  const Bytes good = testing::slurp(folder / "good");
  const auto refused = [&](auto&& change, const std::string& message) {
    Bytes bytes = good;
    change(bytes);
    spit(folder / "bad", bytes);
    const std::string said = message_of<IOError>([&] { read_all(TokenFile(folder / "bad")); });
    EXPECT_CONTAINS(said, folder / "bad");
    EXPECT_CONTAINS(said, message);
  };
  refused([](Bytes& b) { b.resize(15); }, "is not a token file");
  refused([](Bytes& b) { b[0] = 'x'; }, "is not a token file");
  refused([](Bytes& b) { b[8] = 4; }, "says 4 bytes an id for a vocabulary of 100");
  refused([](Bytes& b) { b[8] = 0; }, "says 0 bytes an id");
  refused([](Bytes& b) { b[12] = 0; }, "its vocabulary has 0 tokens");
  refused([](Bytes& b) { b[15] = 255; }, "its vocabulary has 4278190180 tokens");
  refused([](Bytes& b) { b.pop_back(); }, "5 bytes of ids are not a multiple of 2");
  refused([](Bytes& b) { b[18] = 100; }, "token 100 at place 1 of a vocabulary of 100");
  EXPECT_THROW(TokenFile(folder / "none"), IOError);
  EXPECT_THROW(TokenFile(folder.path()), IOError);
  EXPECT_THROW(TokenFileWriter(folder / "t", 0), ValueError);
  const TokenFile file(folder / "good");
  spit(folder / "good", Bytes(good.begin(), good.begin() + 18));
  EXPECT_CONTAINS(message_of<IOError>([&] { read_all(file); }), "has it become shorter?");
}

TEST(TokenFiles, ATextInChunksIsTheSameAsAtOnce) {
  const TempFolder folder;
  const BpeTokenizer bpe = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  std::string text;
  for (const json& line : json::parse(std::ifstream(kFixtures + "lines.json")))
    text += line["text"].get<std::string>() + "\n";
  put(folder / "text", text);
  spit(folder / "text.gz", gzip(bytes_of(text)));
  for (const int64_t chunk : {7, 64, 1000, 1 << 20}) {
    for (const char* name : {"text", "text.gz"}) {
      const int64_t count = encode_file(bpe, folder / name, folder / "tok", {.chunk_bytes = chunk});
      const TokenFile file(folder / "tok");
      EXPECT_EQ(file.size(), count);
      ASSERT_EQ(read_all(file), bpe.encode(text)) << chunk;
    }
  }
  encode_file(TextTokenizer::bytes(), folder / "text", folder / "tok", {.chunk_bytes = 10});
  EXPECT_EQ(TokenFile(folder / "tok").size(), int64_t(text.size()));
  const TextTokenizer words = TextTokenizer::build(TextUnit::word, text);
  encode_file(words, folder / "text", folder / "tok", {.chunk_bytes = 33});
  EXPECT_EQ(read_all(TokenFile(folder / "tok")), words.encode(text));
}

TEST(TokenFiles, ATextThatCannotBeEncodedLeavesNoFile) {
  const TempFolder folder;
  const BpeTokenizer bpe = BpeTokenizer::load(kFixtures + "small_tokenizer.json");
  const auto refused = [&](const std::string& text, const std::string& message) {
    put(folder / "text", text);
    EXPECT_CONTAINS(
        message_of<IOError>([&] { encode_file(bpe, folder / "text", folder / "tok", {.chunk_bytes = 10}); }), message);
  };
  refused("some words and caf\xE9 here", "not UTF-8 at byte 18");
  refused("some words and caf\xC3", "not UTF-8 at byte 18");
  refused(std::string(1000, 'x'), "no blank in");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"text"});
}

TEST(Windows, FromAFileAndFromMemory) {
  const TempFolder folder;
  Ids ids(101);
  std::iota(ids.begin(), ids.end(), int64_t(0));
  TokenFileWriter writer(folder / "t", 200);
  writer.append(ids);
  writer.commit();
  const TokenWindows file(TokenFile(folder / "t"), {.length = 8, .stride = 3}), memory(ids, {.length = 8, .stride = 3});
  EXPECT_EQ(file.size(), 31);  // starts 0, 3, ..., 90; 92 is the last that would do
  EXPECT_EQ(memory.size(), 31);
  for (int64_t i = 0; i < file.size(); ++i) {
    for (const TokenWindows* windows : {&file, &memory}) {
      const Example example = windows->get(i);
      ASSERT_EQ(example.input().to_vector<int64_t>(), Ids(ids.begin() + 3 * i, ids.begin() + 3 * i + 8));
      ASSERT_EQ(example.target().to_vector<int64_t>(), Ids(ids.begin() + 3 * i + 1, ids.begin() + 3 * i + 9));
    }
  }
  EXPECT_THROW(file.get(31), IndexError);
  const Example batch = file.get_batch(Ids{30, 0});
  EXPECT_EQ(batch.input().shape(), (Shape{2, 8}));
  EXPECT_EQ(batch.target().item<int64_t>(0, 7), 98);
  EXPECT_EQ(TokenWindows(ids, {.length = 10}).size(), 10);
  EXPECT_EQ(TokenWindows(ids, {.length = 100}).size(), 1);
  EXPECT_EQ(TokenWindows(ids, {.length = 101}).size(), 0);
  EXPECT_THROW(TokenWindows(ids, {.length = 0}), ValueError);
  EXPECT_THROW(TokenWindows(ids, {.length = 4, .stride = -1}), ValueError);
}

TEST(Bleu, AsSacrebleu) {
  const json file = json::parse(std::ifstream(kFixtures + "bleu.json"));
  for (const json& line : file["tokenized"])
    EXPECT_EQ(tokenize_13a(line["line"].get<std::string>()), line["words"].get<std::vector<std::string>>());
  for (const json& c : file["cases"]) {
    Bleu bleu;
    for (size_t i = 0; i < c["hypotheses"].size(); ++i)
      bleu.add(c["hypotheses"][i].get<std::string>(), c["references"][i].get<std::vector<std::string>>());
    const BleuScore got = bleu.score();
    EXPECT_NEAR(got.score, c["score"].get<double>(), 1e-9) << c["name"];
    EXPECT_NEAR(got.brevity_penalty, c["bp"].get<double>(), 1e-12) << c["name"];
    for (size_t n = 0; n < 4; ++n) EXPECT_NEAR(got.precisions[n], c["precisions"][n].get<double>(), 1e-9) << c["name"];
    EXPECT_EQ(got.hypothesis_length, c["lengths"][0].get<int64_t>()) << c["name"];
    EXPECT_EQ(got.reference_length, c["lengths"][1].get<int64_t>()) << c["name"];
  }
}

TEST(Bleu, BadInput) {
  Bleu bleu;
  EXPECT_EQ(bleu.value(), 0);
  EXPECT_THROW(bleu.add("a", std::vector<std::string>{}), ValueError);
  EXPECT_CONTAINS(message_of<ValueError>([&] { bleu.add("a\xE9", std::string("a")); }), "not UTF-8 at byte 1");
}

TEST(PerplexityMetric, MeanOfTheLogLikelihood) {
  Perplexity p;
  EXPECT_EQ(p.value(), 1);
  p.add(from_vector<float>(std::vector<float>(8, 3.0f), {2, 4}), from_vector<int64_t>({0, 3}, {2}));
  EXPECT_NEAR(p.value(), 4, 1e-12);
  p.reset();
  // log(1 + e^-1000) and 1000: no overflow on the way.
  p.add(from_vector<double>({1000, 0, 1000, 0, 5, 5}, {1, 3, 2}), from_vector<int64_t>({0, 1, -100}, {1, 3}));
  EXPECT_EQ(p.tokens(), 2);
  EXPECT_NEAR(p.mean(), 500, 1e-9);
  p.add(200.0, 2);
  EXPECT_NEAR(p.mean(), 350, 1e-9);
  EXPECT_THROW(p.add(1.0, -1), ValueError);
  const Tensor scores = from_vector<float>({1, 2}, {1, 2});
  EXPECT_THROW(p.add(scores, from_vector<int64_t>({2}, {1})), IndexError);
  EXPECT_THROW(p.add(scores, from_vector<int64_t>({0, 1}, {2})), ShapeError);
  EXPECT_THROW(p.add(scores, scores), DTypeError);
  EXPECT_EQ(p.tokens(), 4);
}

}  // namespace
}  // namespace tenrec
