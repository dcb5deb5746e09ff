// The readers on the real data sets. TENREC_DATA_DIR names a folder with mnist/, cifar10/ and text/ in it; without it
// these tests are skipped, and say so.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/real_data.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/data/bpe.h"
#include "tenrec/data/cifar.h"
#include "tenrec/data/corpus.h"
#include "tenrec/data/dataset.h"
#include "tenrec/data/download.h"
#include "tenrec/data/idx.h"
#include "tenrec/data/sha256.h"
#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

double mean(const ImageSet& set, int64_t channel) {
  const int64_t plane = set.height * set.width;
  double sum = 0;
  for (int64_t i = 0; i < set.size(); ++i) {
    int64_t in_image = 0;
    for (int64_t p = 0; p < plane; ++p) in_image += set.image(i)[channel * plane + p];
    sum += double(in_image);
  }
  return sum / 255.0 / double(set.size() * plane);
}

TEST(RealData, MnistIsTheOriginal) {
  FIND_DATA("mnist");
  const ImageSet train = read_mnist(folder, Split::train), test = read_mnist(folder, Split::test);
  EXPECT_EQ(train.size(), 60'000);
  EXPECT_EQ(test.size(), 10'000);
  EXPECT_NEAR(mean(train, 0), 0.13066, 5e-6);
  EXPECT_EQ((std::vector<uint8_t>(train.labels.begin(), train.labels.begin() + 5)),
            (std::vector<uint8_t>{5, 0, 4, 1, 9}));
}

TEST(RealData, TheHashesThatDownloadsAreCheckedAgainst) {
  FIND_DATA("mnist");
  for (const RemoteFile& file : mnist_files()) {
    EXPECT_EQ(sha256_file(join_path(folder, file.name)), file.sha256) << file.name;
    EXPECT_EQ(read_file(join_path(folder, file.name), int64_t(1) << 30).empty(), false);
  }
}

TEST(RealData, WhatIsThereIsNotDownloadedAgain) {
  FIND_DATA("mnist");
  download_mnist(folder);  // complete, so no network is needed
}

TEST(RealData, Cifar10) {
  FIND_DATA("cifar10");
  const ImageSet test = read_cifar10(folder, Split::test), train = read_cifar10(folder, Split::train);
  EXPECT_EQ(test.size(), 10'000);
  EXPECT_EQ(train.size(), 50'000);
  const double expected[] = {0.49139968, 0.48215841, 0.44653091}, of_test[] = {0.49421428, 0.48513139, 0.45040909};
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(mean(train, c), expected[c], 1e-8);
    EXPECT_NEAR(mean(test, c), of_test[c], 1e-8);
  }
  for (const ImageSet* set : {&train, &test}) {
    std::vector<int> count(10);
    for (const uint8_t label : set->labels) ++count[label];
    EXPECT_EQ(count, std::vector<int>(10, int(set->size() / 10)));
  }
  // What the data set is normalised by: mean 0 and deviation 1 in each channel, to the digits of the constants.
  const ImageDataset normalised = cifar10(folder, Split::test);
  EXPECT_NEAR(normalised.get(7).input().item<double>(2, 3, 4),
              (double(test.image(7)[2 * 1024 + 3 * 32 + 4]) / 255 - 0.4465) / 0.2616, 1e-5);
}

nlohmann::json text_fixture(const char* name) {
  return nlohmann::json::parse(std::ifstream(std::string(TENREC_SOURCE_DIR) + "/tests/fixtures/text/" + name));
}

BpeTokenizer gpt2(const std::string& folder) {
  return BpeTokenizer::load_gpt2(folder + "/gpt2/encoder.json", folder + "/gpt2/vocab.bpe");
}

TEST(RealData, Gpt2AsTiktokenOnHardLines) {
  FIND_DATA("text");
  const BpeTokenizer tokenizer = gpt2(folder);
  EXPECT_EQ(tokenizer.size(), 50'257);
  EXPECT_EQ(tokenizer.id_of("<|endoftext|>"), 50'256);
  for (const auto& line : text_fixture("lines.json")) {
    const auto text = line["text"].get<std::string>();
    const std::vector<int64_t> ids = tokenizer.encode(text);
    EXPECT_EQ(ids, line["gpt2"].get<std::vector<int64_t>>()) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
}

// Random characters of many kinds, by the generator and the pools of tools/make_text_fixtures.py.
struct RandomLines {
  uint64_t state = 1;
  uint32_t below(uint32_t n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return uint32_t((state >> 33) % n);
  }
  std::string next() {
    static constexpr uint32_t kPools[][2] = {{0x61, 26},     {0x41, 26},         {0x30, 10},       {0x20, 1},
                                             {0x09, 5},      {0x21, 15},         {0xA0, 96},       {0x370, 400},
                                             {0x4E00, 2000}, {0xAC00, 1000},     {0x1F300, 0x400}, {0x300, 112},
                                             {0x2000, 112},  {0x10000, 0x10000}, {0, 0xD800},      {0x27, 1}};
    std::string line;
    for (uint32_t runs = 1 + below(40); runs > 0; --runs) {
      const auto& [first, count] = kPools[below(16)];
      for (uint32_t n = 1 + below(4); n > 0; --n) append_utf8(line, first + below(count));
    }
    return line;
  }
};

std::vector<std::string> ten_thousand_lines(const std::string& folder) {
  std::vector<std::string> lines;
  for (const char* name : {"/dickens.txt", "/tinyshakespeare.txt", "/multi30k/train.de.gz", "/multi30k/train.en.gz"}) {
    BoundedReader reader(folder + name, 1 << 28);
    std::vector<uint8_t> bytes;
    reader.append_rest(bytes, "text");
    const std::string text(bytes.begin(), bytes.end());
    size_t begin = 0;
    for (int i = 0; i < 2000; ++i) {
      const size_t end = text.find('\n', begin);
      lines.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  RandomLines random;
  while (lines.size() < 10'000) lines.push_back(random.next());
  return lines;
}

TEST(RealData, Gpt2AsTiktokenOnTenThousandLines) {
  FIND_DATA("text");
  const BpeTokenizer tokenizer = gpt2(folder);
  const std::vector<std::string> lines = ten_thousand_lines(folder);
  const nlohmann::json parts = text_fixture("gpt2_10000.json");  // of a thousand lines each
  ASSERT_EQ(parts.size(), 10u);
  for (size_t part = 0; part < 10; ++part) {
    std::vector<uint32_t> words;
    int64_t tokens = 0;
    for (size_t i = part * 1000; i < (part + 1) * 1000; ++i) {
      const std::vector<int64_t> ids = tokenizer.encode(lines[i]);
      ASSERT_EQ(tokenizer.decode(ids), lines[i]);
      words.push_back(uint32_t(ids.size()));
      words.insert(words.end(), ids.begin(), ids.end());
      tokens += int64_t(ids.size());
    }
    EXPECT_EQ(tokens, parts[part]["tokens"].get<int64_t>()) << part;
    EXPECT_EQ(sha256_hex(words.data(), words.size() * 4), parts[part]["sha256"].get<std::string>()) << part;
  }
}

TEST(RealData, Multi30kIsParallel) {
  FIND_DATA("text");
  EXPECT_EQ(read_parallel(folder + "/multi30k/train.en.gz", folder + "/multi30k/train.de.gz").size(), 29'000);
}

}  // namespace
}  // namespace tenrec
