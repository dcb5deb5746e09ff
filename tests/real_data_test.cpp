// The readers on the real data sets. TENREC_DATA_DIR names a folder with mnist/ and cifar10/ in it; without it these
// tests are skipped, and say so.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/data/cifar.h"
#include "tenrec/data/download.h"
#include "tenrec/data/idx.h"
#include "tenrec/data/sha256.h"

namespace tenrec {
namespace {

// The folder of one data set, empty if there is none.
std::string folder_of(const char* name) {
  const char* root = std::getenv("TENREC_DATA_DIR");
  if (root == nullptr) return "";
  const std::string folder = join_path(root, name);
  return is_folder(folder) ? folder : "";
}

#define FIND_DATA(name)                       \
  const std::string folder = folder_of(name); \
  if (folder.empty()) GTEST_SKIP() << "skipped, no data (TENREC_DATA_DIR names no folder with " << name << ")"

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
  const double expected[] = {0.49139968, 0.48215841, 0.44653091};
  for (int64_t c = 0; c < 3; ++c) EXPECT_NEAR(mean(train, c), expected[c], 1e-8);
  std::vector<int> count(10);
  for (const uint8_t label : train.labels) ++count[label];
  EXPECT_EQ(count, std::vector<int>(10, 5000));
}

}  // namespace
}  // namespace tenrec
