// Data sets, orders, loaders and transforms: pure in (seed, epoch, index), the same for any number of workers.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <thread>

#include "support/files.h"
#include "tenrec/core/allocator.h"
#include "tenrec/data/augment.h"
#include "tenrec/data/loader.h"
#include "tenrec/data/permutation.h"

namespace tenrec {
namespace {

using testing::message_of;

bool small() { return std::getenv("TENREC_TEST_SMALL") != nullptr; }

std::string bytes_of(const Tensor& t) {
  return {static_cast<const char*>(t.data_ptr()), size_t(t.numel() * size_of(t.dtype()))};
}

std::string bytes_of(const Example& batch) {
  std::string out;
  for (const Tensor& t : batch.tensors) out += to_string(t.shape()) + bytes_of(t);
  return out;
}

// Every batch of `epochs` epochs from where the loader stands.
std::vector<std::string> drain(DataLoader& loader, int epochs = 1) {
  std::vector<std::string> out;
  for (int e = 0; e < epochs; ++e) {
    while (auto batch = loader.next()) out.push_back(bytes_of(*batch));
    out.push_back("end of epoch");
  }
  return out;
}

// Example i is {i as f32 [1]}, by get() alone, so that the default get_batch is used.
class Numbers : public Dataset {
 public:
  explicit Numbers(int64_t n) : n_(n) {}
  int64_t size() const override { return n_; }
  Example get(int64_t index) const override {
    check_index("Numbers", index);
    return {{from_vector<float>({float(index)}, {1})}};
  }

 private:
  int64_t n_;
};

std::vector<int64_t> indices_of(DataLoader& loader) {
  std::vector<int64_t> out;
  for (const Example& batch : loader) {
    for (const double v : batch.input().to_vector<double>()) out.push_back(int64_t(v));
  }
  return out;
}

ImageSet small_pictures(int64_t n, int64_t channels = 3, int64_t height = 6, int64_t width = 5) {
  ImageSet set{channels, height, width, {}, {}, {"a", "b", "c"}};
  for (int64_t i = 0; i < n; ++i) set.labels.push_back(uint8_t(i % 3));
  for (int64_t i = 0; i < n * set.pixels_per_image(); ++i) {
    set.pixels.push_back(uint8_t(Philox(5)(0, uint64_t(i)).word[0]));
  }
  return set;
}

TEST(Permutation, IsOneAndIsPure) {
  for (const int64_t n : {0, 1, 2, 3, 7, 1000, 1024, 1025, 4096, 5000, 65536, 65537}) {
    const Permutation order(n, 1, 2), again(n, 1, 2);
    std::vector<bool> seen(static_cast<size_t>(n));
    for (int64_t i = n - 1; i >= 0; --i) {
      const int64_t j = order[i];
      ASSERT_TRUE(j >= 0 && j < n && !seen[size_t(j)]) << n << " " << i;
      seen[size_t(j)] = true;
      ASSERT_EQ(again[i], j);
    }
  }
  EXPECT_THROW(Permutation(-1, 0, 0), ValueError);
}

TEST(Permutation, DiffersByEpochAndSeed) {
  for (const int64_t n : {1000, 5000}) {
    for (const auto& [seed, epoch] : {std::pair<uint64_t, uint64_t>{1, 3}, {2, 2}, {1, uint64_t(1) << 40}}) {
      const Permutation a(n, 1, 2), b(n, seed, epoch);
      int64_t same = 0;
      for (int64_t i = 0; i < n; ++i) same += a[i] == b[i];
      EXPECT_LT(same, 12);  // a random pair agrees in one place on average
    }
  }
}

TEST(Permutation, ReachesAllOrdersOfFourEvenly) {
  std::map<std::vector<int64_t>, int> count;
  const int trials = 24'000;
  for (int epoch = 0; epoch < trials; ++epoch) {
    const Permutation order(4, 9, uint64_t(epoch));
    ++count[{order[0], order[1], order[2], order[3]}];
  }
  ASSERT_EQ(count.size(), 24u);
  double chi2 = 0;
  for (const auto& [order, n] : count) chi2 += (n - 1000.0) * (n - 1000.0) / 1000.0;
  EXPECT_LT(chi2, 58);  // 23 degrees of freedom, 1 in 10,000
}

TEST(Permutation, PlacesAndNeighboursAreEven) {
  const int64_t n = 2500;
  const int trials = 4000;
  std::vector<int> place(50), step(50);
  for (int epoch = 0; epoch < trials; ++epoch) {
    const Permutation order(n, 4, uint64_t(epoch));
    ++place[size_t(order[17] / 50)];
    ++step[size_t((order[18] - order[17] + n) % n / 50)];
  }
  double place_chi2 = 0, step_chi2 = 0;
  for (size_t i = 0; i < 50; ++i) {
    place_chi2 += (place[i] - 80.0) * (place[i] - 80.0) / 80.0;
    step_chi2 += (step[i] - 80.0) * (step[i] - 80.0) / 80.0;
  }
  EXPECT_LT(place_chi2, 95);  // 49 degrees of freedom, 1 in 10,000
  EXPECT_LT(step_chi2, 95);
}

TEST(Permutation, CostsNothingToEnterAnywhere) {
  const int64_t n = (int64_t(1) << 50) + 12'345;
  const Permutation order(n, 3, 4);
  std::set<int64_t> seen;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t j = order[n - 1 - i * 1'000'003];
    EXPECT_TRUE(j >= 0 && j < n);
    seen.insert(j);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(Datasets, TensorRows) {
  const TensorDataset data({from_vector<float>({0, 1, 2, 3, 4, 5}, {3, 2}), from_vector<int64_t>({7, 8, 9}, {3})});
  EXPECT_EQ(data.size(), 3);
  const Example one = data.get(1);
  EXPECT_EQ(one.input().shape(), Shape({2}));
  EXPECT_EQ(one.target().shape(), Shape({}));
  EXPECT_EQ(one.input().to_vector<float>(), (std::vector<float>{2, 3}));
  EXPECT_EQ(one.target().item<int64_t>(), 8);
  const std::vector<int64_t> rows{2, 0, 2};
  const Example batch = data.get_batch(rows);
  EXPECT_EQ(batch.input().to_vector<float>(), (std::vector<float>{4, 5, 0, 1, 4, 5}));
  EXPECT_EQ(batch.target().to_vector<int64_t>(), (std::vector<int64_t>{9, 7, 9}));
  EXPECT_EQ(data.get_batch({}).input().shape(), Shape({0, 2}));
  EXPECT_THROW(data.get(3), IndexError);
  EXPECT_THROW(data.get(-1), IndexError);
  EXPECT_THROW(batch[2], IndexError);
  EXPECT_THROW(TensorDataset({}), ValueError);
  EXPECT_THROW(TensorDataset({empty({2, 2}), empty({3})}), ShapeError);
  EXPECT_THROW(TensorDataset({empty({})}), ShapeError);
}

TEST(Datasets, Stacking) {
  const std::vector<int64_t> rows{3, 1};
  const Example batch = Numbers(5).get_batch(rows);
  EXPECT_EQ(batch.input().shape(), Shape({2, 1}));
  EXPECT_EQ(batch.input().to_vector<float>(), (std::vector<float>{3, 1}));
  const Tensor a = empty({2}), b = empty({3}), c = empty({2}, {.dtype = f64});
  const auto stack = [](std::vector<Example> examples) { stack_examples(examples); };
  EXPECT_CONTAINS(message_of<ShapeError>([&] { stack({{{a}}, {{b}}}); }), "[3] in example 1");
  EXPECT_CONTAINS(message_of<DTypeError>([&] { stack({{{a}}, {{c}}}); }), "f64 in example 1");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { stack({{{a}}, {{a, a}}}); }), "has 2 tensors");
  EXPECT_EQ(stack_examples({}).size(), 0u);
}

TEST(Datasets, Pictures) {
  const ImageSet set = small_pictures(4);
  const std::vector<float> mean{0.1f, 0.2f, 0.3f}, deviation{0.5f, 0.25f, 1.0f};
  const ImageDataset data(set, {.mean = mean, .std = deviation});
  const std::vector<int64_t> rows{3, 0};
  const Example batch = data.get_batch(rows);
  EXPECT_EQ(batch.input().shape(), Shape({2, 3, 6, 5}));
  EXPECT_EQ(batch.target().to_vector<int64_t>(), (std::vector<int64_t>{0, 0}));
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t i = 0; i < 30; ++i) {
      const float pixel = float(set.image(3)[c * 30 + i]) / 255.0f;
      EXPECT_NEAR(batch.input().item<float>(0, c, i / 5, i % 5), (pixel - mean[size_t(c)]) / deviation[size_t(c)],
                  2e-6);
    }
  }
  EXPECT_EQ(bytes_of(data.get(0).input()), bytes_of(batch.input()).substr(90 * 4));
  const ImageDataset raw(set);
  EXPECT_EQ(raw.get(2).input().dtype(), DType::u8);
  EXPECT_EQ(bytes_of(raw.get(2).input()), std::string(set.image(2), set.image(2) + 90));
  EXPECT_THROW(raw.get(4), IndexError);
  EXPECT_THROW(ImageDataset(set, {.mean = {1}, .std = {1}}), ValueError);
  EXPECT_THROW(ImageDataset(set, {.mean = mean, .std = {1, 0, 1}}), ValueError);
  ImageSet torn = set;
  torn.pixels.pop_back();
  EXPECT_THROW(ImageDataset{torn}, ValueError);
}

TEST(Datasets, Subset) {
  const Subset data(Numbers(10), {7, 2, 7});
  EXPECT_EQ(data.size(), 3);
  EXPECT_EQ(data.get(1).input().item<float>(), 2);
  const std::vector<int64_t> rows{2, 1};
  EXPECT_EQ(data.get_batch(rows).input().to_vector<float>(), (std::vector<float>{7, 2}));
  EXPECT_EQ(data.original(0), 7);
  EXPECT_THROW(data.get(3), IndexError);
  EXPECT_THROW(Subset(Numbers(10), {10}), IndexError);
}

TEST(Datasets, DigitsAreTheGeneratorsBytes) {
  const ImageDataset data = digits(Split::test, 3, 20);
  EXPECT_EQ(data.size(), 20);
  EXPECT_EQ(data.images().pixels, make_digits(Split::test, 3, 0, 20).pixels);
  EXPECT_EQ(data.get(4).input().shape(), Shape({1, 28, 28}));
  EXPECT_NEAR(data.get(4).input().item<float>(0, 0, 0), -0.1307 / 0.3081, 1e-6);
}

TEST(Loader, VisitsEveryExampleOnce) {
  for (const bool shuffle : {false, true}) {
    for (const int64_t n : {0, 1, 10, 100, 1500}) {
      DataLoader loader(Numbers(n), {.batch_size = 7, .shuffle = shuffle, .seed = 3});
      EXPECT_EQ(loader.batches(), (n + 6) / 7);
      EXPECT_EQ(loader.examples(), n);
      const std::vector<int64_t> first = indices_of(loader), second = indices_of(loader);
      for (std::vector<int64_t> order : {first, second}) {
        std::sort(order.begin(), order.end());
        for (int64_t i = 0; i < n; ++i) ASSERT_EQ(order[size_t(i)], i);
      }
      if (n >= 100) {
        EXPECT_EQ(first == second, !shuffle) << "a new order in each epoch";
      }
      for (int64_t i = 0; i < n; ++i) EXPECT_EQ(loader.index_at(1, i), second[size_t(i)]);
    }
  }
}

TEST(Loader, DropsTheLastPartialBatch) {
  DataLoader loader(Numbers(23), {.batch_size = 5, .drop_last = true});
  EXPECT_EQ(loader.batches(), 4);
  EXPECT_EQ(loader.examples(), 20);
  EXPECT_EQ(indices_of(loader).size(), 20u);
  DataLoader all(Numbers(23), {.batch_size = 5});
  int64_t last = 0;
  for (const Example& batch : all) last = batch.input().size(0);
  EXPECT_EQ(last, 3);
}

Transform augment() {
  return compose({random_crop(2), random_flip(), to_float(), normalize({0.5f, 0.5f, 0.5f}, {1, 2, 4})});
}

TEST(Loader, WorkersChangeNothing) {
  const ImageDataset data(small_pictures(101));
  const int epochs = small() ? 2 : 4;
  std::vector<std::string> expected;
  for (const int workers : {0, 1, 2, 4}) {
    for (const int prefetch : {1, 3}) {
      DataLoader loader(data, {.batch_size = 8,
                               .shuffle = true,
                               .seed = 11,
                               .workers = workers,
                               .prefetch = prefetch,
                               .transform = augment()});
      const std::vector<std::string> batches = drain(loader, epochs);
      EXPECT_EQ(batches.size(), size_t(14 * epochs));
      if (expected.empty()) expected = batches;
      EXPECT_TRUE(batches == expected) << workers << " workers, prefetch " << prefetch;
    }
  }
}

TEST(Loader, BatchSizeChangesNeitherOrderNorAugmentation) {
  const ImageDataset data(small_pictures(60));
  const auto rows = [&](int64_t batch_size) {
    DataLoader loader(data, {.batch_size = batch_size, .shuffle = true, .seed = 2, .transform = augment()});
    std::string all;
    for (const Example& batch : loader) all += bytes_of(batch.input());
    return all;
  };
  EXPECT_TRUE(rows(60) == rows(1));
  EXPECT_TRUE(rows(60) == rows(7));
}

TEST(Loader, ContinuesWhereAnotherStopped) {
  const ImageDataset data(small_pictures(50));
  const auto make = [&](int workers) {
    return DataLoader(data, {.batch_size = 6, .shuffle = true, .seed = 4, .workers = workers, .transform = augment()});
  };
  DataLoader whole = make(0);
  const std::vector<std::string> expected = drain(whole, 3);
  for (const int workers : {0, 1, 2, 4}) {
    for (size_t stop = 0; stop <= expected.size(); stop += 2) {
      DataLoader first = make(workers);
      for (size_t i = 0; i < stop; ++i) first.next();
      DataLoader second = make(workers);
      second.next();  // threads that are already somewhere else
      second.seek(first.state());
      EXPECT_EQ(second.state(), first.state());
      for (size_t i = stop; i < expected.size(); ++i) {
        const auto batch = second.next();
        ASSERT_TRUE((batch ? bytes_of(*batch) : "end of epoch") == expected[i]) << workers << " " << stop << " " << i;
      }
    }
  }
}

TEST(Loader, StateCountsExamples) {
  DataLoader loader(Numbers(10), {.batch_size = 4});
  EXPECT_EQ(loader.state(), (LoaderState{0, 0}));
  loader.next();
  EXPECT_EQ(loader.state(), (LoaderState{0, 4}));
  loader.next(), loader.next();
  EXPECT_EQ(loader.state(), (LoaderState{0, 10}));
  EXPECT_FALSE(loader.next());
  EXPECT_EQ(loader.state(), (LoaderState{1, 0}));
  loader.seek({5, 7});
  EXPECT_EQ(loader.next()->input().to_vector<float>(), (std::vector<float>{7, 8, 9}));
  EXPECT_THROW(loader.seek({0, 11}), ValueError);
  EXPECT_THROW(loader.seek({0, -1}), ValueError);
  EXPECT_THROW(loader.index_at(0, 10), IndexError);
}

// Throws at one index, as often as told.
class Faulty : public Numbers {
 public:
  Faulty(int64_t n, int64_t bad, int times) : Numbers(n), bad_(bad), left_(std::make_shared<std::atomic<int>>(times)) {}
  Example get(int64_t index) const override {
    if (index == bad_ && left_->fetch_sub(1) > 0) throw IOError("example 17 is rotten");
    return Numbers::get(index);
  }

 private:
  int64_t bad_;
  std::shared_ptr<std::atomic<int>> left_;
};

TEST(Loader, ThrowsOnTheCallersThreadAndGoesOn) {
  for (const int workers : {0, 1, 2, 4}) {
    DataLoader always(Faulty(40, 17, 1 << 30), {.batch_size = 4, .workers = workers});
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(always.next());
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(message_of<IOError>([&] { always.next(); }), "example 17 is rotten");
      EXPECT_EQ(always.state(), (LoaderState{0, 16}));
    }
    always.seek({0, 20});
    EXPECT_EQ(always.next()->input().item<float>(0, 0), 20);

    DataLoader once(Faulty(40, 17, 1), {.batch_size = 4, .workers = workers});
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(once.next());
    EXPECT_THROW(once.next(), IOError);
    EXPECT_EQ(indices_of(once).size(), 24u) << "the same batch again, then the rest";

    const Transform broken = [](Example&, const BatchInfo&) { throw ValueError("no"); };
    DataLoader transformed(Numbers(5), {.workers = workers, .transform = broken});
    EXPECT_THROW(transformed.next(), ValueError);
  }
}

// Remembers which threads asked, and takes its time.
class Slow : public Numbers {
 public:
  explicit Slow(int64_t n)
      : Numbers(n), on_(std::make_shared<std::atomic<int>>(0)), caller_(std::this_thread::get_id()) {}
  Example get(int64_t index) const override {
    if (std::this_thread::get_id() == caller_) ++*on_;
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    return Numbers::get(index);
  }
  int on_caller() const { return *on_; }

 private:
  std::shared_ptr<std::atomic<int>> on_;
  std::thread::id caller_;
};

TEST(Loader, WorkersDoTheWork) {
  const Slow slow(40);
  DataLoader inline_loader(slow, {.batch_size = 10});
  indices_of(inline_loader);
  EXPECT_EQ(slow.on_caller(), 40);
  const Slow threaded(40);
  DataLoader loader(threaded, {.batch_size = 10, .workers = 2});
  EXPECT_EQ(indices_of(loader).size(), 40u);
  EXPECT_EQ(threaded.on_caller(), 0);
}

TEST(Loader, StopsAndMovesWhileThreadsWork) {
  for (int i = 0; i < 20; ++i) {
    DataLoader loader(Slow(100), {.batch_size = 3, .shuffle = true, .workers = 3});
    if (i % 4 == 0) continue;  // never started
    loader.next();
    if (i % 4 == 1) continue;  // stopped in the middle
    loader.seek({3, 50});
    loader.seek({1, 0});
    DataLoader moved = std::move(loader);
    EXPECT_EQ(moved.next()->input().item<float>(0, 0), float(moved.index_at(1, 0)));
  }
}

TEST(Loader, AsksTheSystemForNothingOnceWarm) {
  for (const int workers : {0, 2}) {
    DataLoader loader(ImageDataset(small_pictures(640)),
                      {.batch_size = 64, .shuffle = true, .workers = workers, .transform = to_float()});
    const auto run = [&] {
      for (int batches = 0; batches < 1000; ++batches) loader.next();
    };
    run();
    const int64_t before = memory_stats().system_calls, tensors = live_tensors();
    run();
    // Blocks wander from the workers' caches to the caller's; a slab more while they find their level is no growth.
    EXPECT_LE(memory_stats().system_calls - before, workers == 0 ? 0 : 3);
    EXPECT_LE(std::abs(live_tensors() - tensors), 2 * 2 * 3) << "no more than the batches in flight";
  }
}

TEST(Loader, RefusesOptionsThatMakeNoSense) {
  EXPECT_THROW(DataLoader(Numbers(3), {.batch_size = 0}), ValueError);
  EXPECT_THROW(DataLoader(Numbers(3), {.workers = -1}), ValueError);
  EXPECT_THROW(DataLoader(Numbers(3), {.prefetch = 0}), ValueError);
  EXPECT_THROW(DataLoader(std::shared_ptr<const Dataset>()), ValueError);
}

Example picture_batch(const ImageSet& set) {
  std::vector<int64_t> all(static_cast<size_t>(set.size()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = int64_t(i);
  return ImageDataset(set).get_batch(all);
}

TEST(Transforms, FlipAndCropAgainstTheirDefinition) {
  const ImageSet set = small_pictures(200, 2, 4, 5);
  std::vector<int64_t> indices(200);
  for (size_t i = 0; i < 200; ++i) indices[i] = int64_t(i);
  Example batch = picture_batch(set);
  random_flip(0.25)(batch, {1, 2, indices});
  int flipped = 0;
  const auto pixel = [&](int64_t i, int64_t c, int64_t y, int64_t x) {
    return y < 0 || y >= 4 || x < 0 || x >= 5 ? 9 : int(set.image(i)[(c * 4 + y) * 5 + x]);
  };
  for (int64_t i = 0; i < 200; ++i) {
    const bool mirrored = batch.input().item<int>(i, 0, 0, 0) == pixel(i, 0, 0, 4) &&
                          batch.input().item<int>(i, 0, 0, 1) == pixel(i, 0, 0, 3);
    flipped += mirrored;
    for (int64_t p = 0; p < 40; ++p) {
      const int64_t c = p / 20, y = p / 5 % 4, x = p % 5;
      ASSERT_EQ(batch.input().item<int>(i, c, y, x), pixel(i, c, y, mirrored ? 4 - x : x));
    }
  }
  EXPECT_NEAR(flipped, 50, 25);

  batch = picture_batch(set);
  random_crop(2, 9)(batch, {1, 2, indices});
  std::set<std::pair<int64_t, int64_t>> offsets;
  for (int64_t i = 0; i < 200; ++i) {
    int matches = 0;
    for (int64_t o = 0; o < 25; ++o) {
      const int64_t dy = o / 5 - 2, dx = o % 5 - 2;
      bool same = true;
      for (int64_t p = 0; p < 40 && same; ++p) {
        const int64_t c = p / 20, y = p / 5 % 4, x = p % 5;
        same = batch.input().item<int>(i, c, y, x) == pixel(i, c, y + dy, x + dx);
      }
      if (same) offsets.insert({dy, dx});
      matches += same;
    }
    ASSERT_EQ(matches, 1) << i;
  }
  EXPECT_EQ(offsets.size(), 25u);
}

TEST(Transforms, AreDrawnAnewForEveryEpochAndPlaceInTheChain) {
  const ImageSet set = small_pictures(64, 1, 2, 2);
  std::vector<int64_t> indices(64);
  for (size_t i = 0; i < 64; ++i) indices[i] = int64_t(i);
  const auto run = [&](const Transform& transform, BatchInfo info) {
    Example batch = picture_batch(set);
    transform(batch, info);
    return bytes_of(batch.input());
  };
  const std::string base = run(random_flip(), {1, 2, indices});
  EXPECT_TRUE(base == run(random_flip(), {1, 2, indices}));
  EXPECT_FALSE(base == run(random_flip(), {1, 3, indices}));
  EXPECT_FALSE(base == run(random_flip(), {2, 2, indices}));
  EXPECT_FALSE(run(compose({random_flip(), random_flip()}), {1, 2, indices}) == run(Transform(), {1, 2, indices}))
      << "two flips with the same draws would cancel";
  EXPECT_TRUE(run(random_flip(0), {1, 2, indices}) == run(Transform(), {1, 2, indices}));
  EXPECT_TRUE(run(compose({random_flip(1), random_flip(1)}), {1, 2, indices}) == run(Transform(), {1, 2, indices}));
}

TEST(Transforms, ConvertAndNormalize) {
  Example batch{{from_vector<uint8_t>({0, 51, 255, 102}, {1, 2, 2})}};
  compose({to_float(), normalize({0.5f, 0.0f}, {0.5f, 2.0f})})(batch, {});
  const std::vector<float> values = batch.input().to_vector<float>();
  const float expected[] = {-1.0f, -0.6f, 0.5f, 0.2f};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(values[i], expected[i], 1e-6);
}

TEST(Transforms, SayWhatIsWrong) {
  const std::vector<int64_t> one{0};
  const auto apply = [&](const Transform& transform, const Tensor& x) {
    Example batch{{x}};
    transform(batch, {0, 0, one});
  };
  EXPECT_CONTAINS(message_of<DTypeError>([&] { apply(to_float(), empty({2})); }), "expected u8, got f32");
  EXPECT_CONTAINS(message_of<DTypeError>([&] {
                    apply(normalize({1}, {1}), empty({1, 1}, {.dtype = u8}));
                  }),
                  "to_float");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { apply(normalize({1, 1}, {1, 1}), empty({1, 3})); }), "2 means");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { apply(random_flip(), empty({1, 3})); }), "[B, C, H, W]");
  EXPECT_CONTAINS(message_of<ShapeError>([&] { apply(random_crop(1), empty({2, 1, 3, 3})); }), "1 indices");
  EXPECT_CONTAINS(message_of<DTypeError>([&] { apply(random_crop(1), empty({1, 1, 3, 3}, {.dtype = f64})); }), "f64");
  Example nothing;
  EXPECT_THROW(to_float()(nothing, {}), ValueError);
  EXPECT_THROW(random_flip(1.5), ValueError);
  EXPECT_THROW(random_crop(-1), ValueError);
  EXPECT_THROW(normalize({1}, {0}), ValueError);
  EXPECT_THROW(normalize({}, {}), ValueError);
}

}  // namespace
}  // namespace tenrec
