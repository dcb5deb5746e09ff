// Augmentation: what each transform does to a picture, that its draws have the distribution they should, and that they
// are pure functions of (seed, epoch, index).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "support/files.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/core/error.h"
#include "tenrec/core/parallel.h"
#include "tenrec/data/augment.h"
#include "tenrec/data/loader.h"

namespace tenrec {
namespace {

using testing::message_of;

// n pictures of random bytes.
ImageSet noise(int64_t n, int64_t channels, int64_t height, int64_t width) {
  ImageSet set{channels, height, width, {}, {}, {"a", "b", "c"}};
  for (int64_t i = 0; i < n; ++i) set.labels.push_back(uint8_t(i % 3));
  for (int64_t i = 0; i < n * set.pixels_per_image(); ++i) {
    set.pixels.push_back(uint8_t(Philox(5)(0, uint64_t(i)).word[0]));
  }
  return set;
}

// The transform's result for pictures [B, C, H, W], as if they were examples 0 to B - 1.
Tensor apply(const Transform& transform, const Tensor& pictures, uint64_t seed = 1, uint64_t epoch = 0) {
  std::vector<int64_t> indices(static_cast<size_t>(pictures.size(0)));
  std::iota(indices.begin(), indices.end(), 0);
  Example batch{{pictures}};
  transform(batch, {seed, epoch, indices});
  return batch.input();
}

std::string bytes_of(const Tensor& t) {
  return {static_cast<const char*>(t.data_ptr()), size_t(t.numel() * size_of(t.dtype()))};
}

// 49 degrees of freedom or fewer: 1 in 10,000.
constexpr double kChi2Limit = 95;
double chi2(const std::vector<int>& counts) {
  const double expected = std::accumulate(counts.begin(), counts.end(), 0.0) / double(counts.size());
  double sum = 0;
  for (const int n : counts) sum += (n - expected) * (n - expected) / expected;
  return sum;
}

// A pixel of 1 in the middle of each picture tells where it was moved.
TEST(Augment, CropMovesEvenly) {
  constexpr int64_t kCount = 9800, kSide = 7, kPadding = 3;
  const Tensor x = zeros({kCount, 1, kSide, kSide}, {.dtype = u8});
  for (int64_t i = 0; i < kCount; ++i) x.data<uint8_t>()[i * kSide * kSide + kSide * kSide / 2] = 1;
  const Tensor y = apply(random_crop(kPadding), x);
  std::vector<int> place(size_t(kSide * kSide));
  for (int64_t i = 0; i < kCount; ++i) {
    const uint8_t* p = y.data<uint8_t>() + i * kSide * kSide;
    ASSERT_EQ(std::count(p, p + kSide * kSide, 1), 1) << i;
    ++place[size_t(std::find(p, p + kSide * kSide, 1) - p)];
  }
  EXPECT_LT(chi2(place), kChi2Limit);
  EXPECT_EQ(bytes_of(apply(random_crop(0), x)), bytes_of(x));
  const Tensor far = apply(random_crop(1000, 9), x);  // mostly nothing of the picture is left
  EXPECT_GT(std::count(far.data<uint8_t>(), far.data<uint8_t>() + far.numel(), 9), far.numel() * 9 / 10);
  EXPECT_THROW(random_crop(-1), ValueError);
}

TEST(Augment, FlipIsACoin) {
  constexpr int64_t kCount = 10'000;
  const Tensor x = zeros({kCount, 1, 1, 3}, {.dtype = f32});
  for (int64_t i = 0; i < kCount; ++i) x.data<float>()[i * 3] = 1;
  for (const double p : {0.0, 0.3, 1.0}) {
    const Tensor y = apply(random_flip(p), x);
    int64_t mirrored = 0;
    for (int64_t i = 0; i < kCount; ++i) mirrored += y.data<float>()[i * 3 + 2] == 1;
    EXPECT_NEAR(double(mirrored), p * kCount, 4 * std::sqrt(p * (1 - p) * kCount)) << p;
  }
  EXPECT_THROW(random_flip(1.5), ValueError);
  EXPECT_THROW(random_flip(std::nan("")), ValueError);
}

TEST(Augment, CutoutCoversASquareThatMayStickOut) {
  constexpr int64_t kCount = 8000, kHeight = 5, kWidth = 8, kSize = 4;
  const Tensor x = full({kCount, 2, kHeight, kWidth}, 1, {.dtype = u8});
  const Tensor y = apply(cutout(kSize, 7), x);
  std::vector<int> centre(size_t(kHeight * kWidth));
  for (int64_t i = 0; i < kCount; ++i) {
    const uint8_t* p = y.data<uint8_t>() + i * 2 * kHeight * kWidth;
    ASSERT_EQ(std::memcmp(p, p + kHeight * kWidth, size_t(kHeight * kWidth)), 0) << "all channels alike";
    // The covered part is the rectangle of one of the possible centres, exactly.
    int found = -1;
    for (int64_t c = 0; c < kHeight * kWidth && found < 0; ++c) {
      bool fits = true;
      for (int64_t at = 0; at < kHeight * kWidth; ++at) {
        const int64_t dy = at / kWidth - (c / kWidth - kSize / 2), dx = at % kWidth - (c % kWidth - kSize / 2);
        const bool inside = dy >= 0 && dy < kSize && dx >= 0 && dx < kSize;
        fits = fits && p[at] == (inside ? 7 : 1);
      }
      if (fits) found = int(c);
    }
    ASSERT_GE(found, 0) << i;
    ++centre[size_t(found)];
  }
  EXPECT_LT(chi2(centre), kChi2Limit);
  EXPECT_EQ(bytes_of(apply(cutout(0), x)), bytes_of(x));
  EXPECT_THROW(cutout(-2), ValueError);
}

Tensor colours(const std::vector<std::vector<float>>& pixels) {
  std::vector<float> planes;
  for (size_t c = 0; c < 3; ++c) {
    for (const auto& p : pixels) planes.push_back(p[c]);
  }
  return from_vector(planes, {1, 3, 1, int64_t(pixels.size())});
}

// One property at a time: the factor that one pixel shows must explain all others.
TEST(Augment, JitterChangesWhatItSays) {
  const std::vector<std::vector<float>> pixels{
      {0.2f, 0.4f, 0.3f}, {0.5f, 0.5f, 0.5f}, {0.4f, 0.1f, 0.2f}, {0.3f, 0.3f, 0.1f}};
  const auto grey = [](const std::vector<float>& p) { return 0.2989f * p[0] + 0.587f * p[1] + 0.114f * p[2]; };
  float mean = 0;
  for (const auto& p : pixels) mean += grey(p) / 4;
  const Tensor x = colours(pixels);
  const auto check = [&](const ColorJitterOptions& options, const auto& other) {
    std::set<float> factors;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Tensor y = apply(color_jitter(options), x, seed);
      const float from = other(pixels[0]);
      const float factor = (y.item<float>(0, 1, 0, 0) - from) / (pixels[0][1] - from);
      EXPECT_GE(factor, 0.5f - 1e-5f);
      EXPECT_LE(factor, 1.5f + 1e-5f);
      factors.insert(factor);
      for (size_t i = 0; i < 4; ++i) {
        for (size_t c = 0; c < 3; ++c) {
          const float o = other(pixels[i]), expected = std::clamp(o + factor * (pixels[i][c] - o), 0.0f, 1.0f);
          EXPECT_NEAR(y.item<float>(0, int64_t(c), 0, int64_t(i)), expected, 2e-5f) << seed;
        }
      }
    }
    EXPECT_EQ(factors.size(), 20u);
  };
  check({.brightness = 0.5f}, [](const auto&) { return 0.0f; });
  check({.contrast = 0.5f}, [&](const auto&) { return mean; });
  check({.saturation = 0.5f}, grey);
}

TEST(Augment, JitterTurnsTheHue) {
  // Red, yellow and a pale blue lie 0, 1/6 and 2/3 round the circle.
  const Tensor x = colours({{1, 0, 0}, {1, 1, 0}, {0.5f, 0.5f, 0.9f}, {0.3f, 0.3f, 0.3f}});
  double least = 1, most = -1;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Tensor y = apply(color_jitter({.hue = 0.5f}), x, seed);
    const auto pixel = [&](int64_t i) {
      return std::vector<float>{y.item<float>(0, 0, 0, i), y.item<float>(0, 1, 0, i), y.item<float>(0, 2, 0, i)};
    };
    // The turn that red shows.
    const std::vector<float> red = pixel(0);
    EXPECT_EQ(*std::max_element(red.begin(), red.end()), 1);
    EXPECT_EQ(*std::min_element(red.begin(), red.end()), 0);
    const auto hue = [](const std::vector<float>& p) {  // by the definition in sixths
      const float v = std::max({p[0], p[1], p[2]}), span = v - std::min({p[0], p[1], p[2]});
      const float h = v == p[0]   ? (p[1] - p[2]) / span
                      : v == p[1] ? 2 + (p[2] - p[0]) / span
                                  : 4 + (p[0] - p[1]) / span;
      return double(h < 0 ? h + 6 : h) / 6;
    };
    const double turn = hue(red), signed_turn = turn > 0.5 ? turn - 1 : turn;
    least = std::min(least, signed_turn), most = std::max(most, signed_turn);
    for (const auto& [i, start] : {std::pair<int64_t, double>{1, 1.0 / 6}, {2, 2.0 / 3}}) {
      const double difference = hue(pixel(i)) - start - turn;
      EXPECT_NEAR(difference, std::round(difference), 1e-5) << i;
    }
    const std::vector<float> pale = pixel(2), grey = pixel(3);
    EXPECT_NEAR(*std::max_element(pale.begin(), pale.end()), 0.9f, 1e-6f);
    EXPECT_NEAR(*std::min_element(pale.begin(), pale.end()), 0.5f, 1e-6f);
    EXPECT_EQ(grey, (std::vector<float>{0.3f, 0.3f, 0.3f}));
  }
  EXPECT_LT(least, -0.45);
  EXPECT_GT(most, 0.45);
}

TEST(Augment, JitterOfBytesIsThatOfFloats) {
  const Tensor bytes = ImageDataset(noise(40, 3, 6, 5)).get_batch(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}).input();
  const Tensor floats = empty(bytes.shape());
  for (int64_t i = 0; i < bytes.numel(); ++i) floats.data<float>()[i] = float(bytes.data<uint8_t>()[i]) * (1 / 255.0f);
  const Transform jitter = color_jitter({.brightness = 0.4f, .contrast = 0.4f, .saturation = 0.4f, .hue = 0.1f});
  const Tensor a = apply(jitter, bytes), b = apply(jitter, floats);
  int64_t changed = 0;
  for (int64_t i = 0; i < bytes.numel(); ++i) {
    EXPECT_EQ(int(a.data<uint8_t>()[i]), int(std::lround(b.data<float>()[i] * 255)));
    changed += a.data<uint8_t>()[i] != bytes.data<uint8_t>()[i];
  }
  EXPECT_GT(changed, bytes.numel() * 3 / 4);
  EXPECT_EQ(bytes_of(apply(color_jitter({}), bytes)), bytes_of(bytes)) << "no jitter is none";
  const Tensor grey = ImageDataset(noise(4, 1, 6, 5)).get_batch(std::vector<int64_t>{0, 1, 2, 3}).input();
  EXPECT_EQ(bytes_of(apply(color_jitter({.saturation = 1, .hue = 0.5f}), grey)), bytes_of(grey));
  EXPECT_NE(bytes_of(apply(color_jitter({.brightness = 1}), grey)), bytes_of(grey));
}

TEST(Augment, JitterRefusesWhatIsNoRange) {
  EXPECT_THROW(color_jitter({.brightness = -0.1f}), ValueError);
  EXPECT_THROW(color_jitter({.contrast = std::nanf("")}), ValueError);
  EXPECT_THROW(color_jitter({.hue = 0.6f}), ValueError);
  EXPECT_CONTAINS(message_of<ShapeError>([] {
                    apply(color_jitter({.hue = 0.1f}), zeros({1, 2, 4, 4}));
                  }),
                  "1 or 3 channels");
}

// Picture i is full of the number i; its class is i mod `classes`.
TensorDataset numbers(int64_t n, int64_t number_of_classes = 10) {
  std::vector<float> values;
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < n; ++i) {
    values.insert(values.end(), 4, float(i));
    classes.push_back(i % number_of_classes);
  }
  return TensorDataset({from_vector(values, {n, 1, 2, 2}), from_vector(classes, {n})});
}

TEST(Augment, MixupMixesPicturesAndTargetsAlike) {
  constexpr int64_t kCount = 2000;
  const auto data = std::make_shared<const TensorDataset>(numbers(kCount));
  DataLoader loader(data, {.batch_size = 500, .seed = 3, .transform = mixup(data, {.classes = 10, .alpha = 1})});
  std::vector<int> partner(40), lambda(40);
  int64_t at = 0;
  for (const Example& batch : loader) {
    ASSERT_EQ(batch.target().shape(), Shape({500, 10}));
    for (int64_t i = 0; i < 500; ++i, ++at) {
      const double mixed = batch.input().item<double>(i, 0, 1, 1);
      EXPECT_EQ(mixed, batch.input().item<double>(i, 0, 0, 0));
      double total = 0;
      int64_t other = at % 10;
      for (int64_t c = 0; c < 10; ++c) {
        const double share = batch.target().item<double>(i, c);
        total += share;
        if (c != at % 10 && share > 0) other = c;
      }
      EXPECT_NEAR(total, 1, 1e-6);
      if (other == at % 10) continue;  // the partner is of the same class: lambda does not show
      const double l = batch.target().item<double>(i, at % 10);
      ++lambda[size_t(std::min(l * 40, 39.0))];
      if (l > 0.9) continue;  // too near to tell who it is
      const double j = (mixed - l * double(at)) / (1 - l);
      EXPECT_NEAR(j, std::round(j), 0.05);
      EXPECT_EQ(std::lround(j) % 10, other);
      ++partner[size_t(std::lround(j) * 40 / kCount)];
    }
  }
  EXPECT_EQ(at, kCount);
  EXPECT_LT(chi2(lambda), 79) << "Beta(1, 1) is uniform; 39 degrees of freedom, 1 in 10,000";
  EXPECT_LT(chi2(partner), 79);
}

TEST(Augment, MixupDrawsFromBeta) {
  constexpr int64_t kCount = 250;  // each picture is a class of its own, so lambda stands in its target
  const auto data = std::make_shared<const TensorDataset>(numbers(kCount, kCount));
  for (const double alpha : {0.01, 0.2, 0.5, 2.0, 50.0}) {
    DataLoader loader(data,
                      {.batch_size = 50, .seed = 4, .transform = mixup(data, {.classes = kCount, .alpha = alpha})});
    double sum = 0, squares = 0;
    int64_t n = 0;
    for (int epoch = 0; epoch < 40; ++epoch) {
      int64_t at = 0;
      for (const Example& batch : loader) {
        for (int64_t i = 0; i < batch.input().size(0); ++i, ++at) {
          const double l = batch.target().item<double>(i, at);
          if (alpha > 1 && l == 1) continue;  // a picture that is its own partner
          sum += l, squares += l * l, ++n;
        }
      }
    }
    EXPECT_NEAR(double(n), 40 * kCount, 80);
    const double mean = sum / double(n), variance = squares / double(n) - mean * mean;
    EXPECT_NEAR(mean, 0.5, 0.02) << alpha;
    EXPECT_NEAR(variance * 4 * (2 * alpha + 1), 1, 0.08) << alpha;
  }
}

TEST(Augment, MixupRefusesWhatDoesNotFit) {
  const auto data = std::make_shared<const TensorDataset>(numbers(20));
  EXPECT_THROW(mixup(nullptr, {.classes = 10}), ValueError);
  EXPECT_THROW(mixup(data, {}), ValueError);
  EXPECT_THROW(mixup(data, {.classes = 10, .alpha = 0}), ValueError);
  const auto first = [](const std::shared_ptr<const Dataset>& set, const MixupOptions& options) {
    DataLoader(set, {.batch_size = 20, .transform = mixup(set, options)}).next();
  };
  EXPECT_CONTAINS(message_of<IndexError>([&] { first(data, {.classes = 9}); }), "class 9 of 9");
  const auto bytes = std::make_shared<const ImageDataset>(noise(20, 3, 4, 4));
  EXPECT_CONTAINS(message_of<DTypeError>([&] { first(bytes, {.classes = 3}); }), "see to_float");
  EXPECT_NO_THROW(first(bytes, {.classes = 3, .transform = to_float()}));
}

TEST(Augment, RefusesWhatIsNoPicture) {
  for (const Transform& transform : {random_crop(1), random_flip(), cutout(2), color_jitter({.hue = 0.1f})}) {
    EXPECT_THROW(apply(transform, zeros({2, 3, 4})), ShapeError);
    EXPECT_THROW(apply(transform, zeros({2, 3, 4, 4}, {.dtype = f64})), DTypeError);
    EXPECT_EQ(apply(transform, zeros({0, 3, 4, 4})).shape(), Shape({0, 3, 4, 4}));
    Example none, batch{{zeros({2, 3, 4, 4})}};
    const std::vector<int64_t> one{0};
    EXPECT_THROW(transform(none, {1, 0, one}), ValueError);
    EXPECT_THROW(transform(batch, {1, 0, one}), ShapeError) << "one index for two pictures";
  }
}

// All of them together: the same bytes whatever the number of workers and threads and the size of the batch; others in
// another epoch, for another seed.
TEST(Augment, IsAPureFunctionOfSeedEpochAndIndex) {
  const auto data = std::make_shared<const ImageDataset>(noise(60, 3, 8, 7));
  const Transform pictures =
      compose({random_crop(2), random_flip(), cutout(3),
               color_jitter({.brightness = 0.4f, .contrast = 0.4f, .saturation = 0.4f, .hue = 0.1f}), to_float()});
  const auto rows = [&](uint64_t seed, uint64_t epoch, int64_t batch_size, int workers) {
    DataLoader loader(data, {.batch_size = batch_size,
                             .seed = seed,
                             .workers = workers,
                             .transform = mixup(data, {.classes = 3, .transform = pictures})});
    loader.seek({epoch, 0});
    std::vector<std::string> all;
    for (const Example& batch : loader) {
      const std::string input = bytes_of(batch.input()), target = bytes_of(batch.target());
      const auto n = size_t(batch.input().size(0));
      for (size_t i = 0; i < n; ++i) {
        all.push_back(input.substr(i * input.size() / n, input.size() / n) +
                      target.substr(i * target.size() / n, target.size() / n));
      }
    }
    return all;
  };
  const std::vector<std::string> expected = rows(1, 0, 60, 0);
  const int threads = num_threads();
  for (const int n : {1, 2, 3}) {
    set_num_threads(n);
    EXPECT_TRUE(rows(1, 0, 60, 0) == expected) << n << " threads";
    EXPECT_TRUE(rows(1, 0, 7, n) == expected) << n << " workers";
  }
  set_num_threads(threads);
  for (const auto& other : {rows(2, 0, 60, 0), rows(1, 1, 60, 0)}) {
    ASSERT_EQ(other.size(), expected.size());
    for (size_t i = 0; i < other.size(); ++i) EXPECT_NE(other[i], expected[i]);
  }
}

}  // namespace
}  // namespace tenrec
