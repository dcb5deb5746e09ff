#include "tenrec/data/cifar.h"

#include <span>
#include <utility>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

constexpr int64_t kPixels = 3 * 32 * 32;
constexpr int64_t kMaxRecords = 100'000;

// What a record begins with.
struct Label {
  const char* name;
  int classes;
};
constexpr Label kCifar10[] = {{"label", 10}}, kCifar100[] = {{"coarse label", 20}, {"fine label", 100}};

// Appends records to `set`, each with the label that stands at place `used`.
void read_records(BoundedReader& reader, std::span<const Label> labels, size_t used, ImageSet& set) {
  const int64_t size = int64_t(labels.size()) + kPixels;
  if (!reader.compressed()) set.pixels.reserve(set.pixels.size() + size_t(reader.bytes_left_at_most()));
  std::vector<uint8_t> record(static_cast<size_t>(size));
  do {
    reader.read(record.data(), size, "CIFAR record");
    for (size_t i = 0; i < labels.size(); ++i) {
      if (record[i] < labels[i].classes) continue;
      reader.fail(labels[i].name, " of record ", set.size(), " is ", int(record[i]), ", expected 0 to ",
                  labels[i].classes - 1);
    }
    set.labels.push_back(record[used]);
    set.pixels.insert(set.pixels.end(), record.end() - kPixels, record.end());
  } while (!reader.at_end());
}

// The file, plain or with .gz. `names` is what the folder of --data must hold.
BoundedReader open(const std::string& data_set, const std::string& folder, const std::string& name,
                   const std::string& names, size_t labels) {
  std::string path = join_path(folder, name);
  if (!is_file(path)) path += ".gz";
  if (!is_file(path)) {
    fail<IOError>(data_set, ": ", join_path(folder, name),
                  "[.gz] does not exist; --data must name the folder that holds ", names);
  }
  return BoundedReader(path, kMaxRecords * (int64_t(labels) + kPixels));
}

ImageSet empty_set(const std::string& data_set, const std::string& folder, std::vector<std::string> classes) {
  if (!is_folder(folder)) fail<IOError>(data_set, ": ", folder, " is not a folder");
  return {3, 32, 32, {}, {}, std::move(classes)};
}

const std::vector<std::string> kFine{
    "apple",      "aquarium_fish", "baby",         "bear",       "beaver",      "bed",         "bee",
    "beetle",     "bicycle",       "bottle",       "bowl",       "boy",         "bridge",      "bus",
    "butterfly",  "camel",         "can",          "castle",     "caterpillar", "cattle",      "chair",
    "chimpanzee", "clock",         "cloud",        "cockroach",  "couch",       "crab",        "crocodile",
    "cup",        "dinosaur",      "dolphin",      "elephant",   "flatfish",    "forest",      "fox",
    "girl",       "hamster",       "house",        "kangaroo",   "keyboard",    "lamp",        "lawn_mower",
    "leopard",    "lion",          "lizard",       "lobster",    "man",         "maple_tree",  "motorcycle",
    "mountain",   "mouse",         "mushroom",     "oak_tree",   "orange",      "orchid",      "otter",
    "palm_tree",  "pear",          "pickup_truck", "pine_tree",  "plain",       "plate",       "poppy",
    "porcupine",  "possum",        "rabbit",       "raccoon",    "ray",         "road",        "rocket",
    "rose",       "sea",           "seal",         "shark",      "shrew",       "skunk",       "skyscraper",
    "snail",      "snake",         "spider",       "squirrel",   "streetcar",   "sunflower",   "sweet_pepper",
    "table",      "tank",          "telephone",    "television", "tiger",       "tractor",     "train",
    "trout",      "tulip",         "turtle",       "wardrobe",   "whale",       "willow_tree", "wolf",
    "woman",      "worm"};
const std::vector<std::string> kCoarse{"aquatic_mammals",
                                       "fish",
                                       "flowers",
                                       "food_containers",
                                       "fruit_and_vegetables",
                                       "household_electrical_devices",
                                       "household_furniture",
                                       "insects",
                                       "large_carnivores",
                                       "large_man-made_outdoor_things",
                                       "large_natural_outdoor_scenes",
                                       "large_omnivores_and_herbivores",
                                       "medium_mammals",
                                       "non-insect_invertebrates",
                                       "people",
                                       "reptiles",
                                       "small_mammals",
                                       "trees",
                                       "vehicles_1",
                                       "vehicles_2"};

}  // namespace

void read_cifar10_batch(BoundedReader& reader, ImageSet& set) { read_records(reader, kCifar10, 0, set); }

void read_cifar100_batch(BoundedReader& reader, ImageSet& set, Cifar100Labels labels) {
  read_records(reader, kCifar100, labels == Cifar100Labels::fine ? 1 : 0, set);
}

ImageSet read_cifar10(const std::string& folder, Split split) {
  ImageSet set = empty_set("CIFAR-10", folder,
                           {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"});
  std::vector<std::string> files{"test_batch.bin"};
  if (split == Split::train) {
    files.clear();
    for (int batch = 1; batch <= 5; ++batch) files.push_back(concat("data_batch_", batch, ".bin"));
  }
  for (const std::string& file : files) {
    BoundedReader reader =
        open("CIFAR-10", folder, file, "data_batch_1.bin to data_batch_5.bin and test_batch.bin", std::size(kCifar10));
    read_cifar10_batch(reader, set);
  }
  return set;
}

ImageSet read_cifar100(const std::string& folder, Split split, Cifar100Labels labels) {
  ImageSet set = empty_set("CIFAR-100", folder, labels == Cifar100Labels::fine ? kFine : kCoarse);
  BoundedReader reader = open("CIFAR-100", folder, split == Split::train ? "train.bin" : "test.bin",
                              "train.bin and test.bin", std::size(kCifar100));
  read_cifar100_batch(reader, set, labels);
  return set;
}

}  // namespace tenrec
