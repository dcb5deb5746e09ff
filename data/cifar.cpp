#include "tenrec/data/cifar.h"

#include <utility>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

constexpr int64_t kPixels = 3 * 32 * 32;
constexpr int64_t kRecord = 1 + kPixels;
constexpr int64_t kMaxBytes = 100'000 * kRecord;

void append_batch(const std::string& folder, const std::string& name, ImageSet& set) {
  std::string path = join_path(folder, name);
  if (!is_file(path)) path += ".gz";
  if (!is_file(path)) {
    fail<IOError>("CIFAR-10: ", join_path(folder, name),
                  "[.gz] does not exist; --data must name the folder that holds ",
                  "data_batch_1.bin to data_batch_5.bin and test_batch.bin");
  }
  BoundedReader reader(path, kMaxBytes);
  read_cifar10_batch(reader, set);
}

}  // namespace

void read_cifar10_batch(BoundedReader& reader, ImageSet& set) {
  uint8_t record[kRecord];
  if (!reader.compressed()) {
    set.pixels.reserve(set.pixels.size() + size_t(reader.bytes_left_at_most()));
  }
  do {
    reader.read(record, kRecord, "CIFAR-10 record");
    if (record[0] > 9) reader.fail("label of record ", set.size(), " is ", int(record[0]), ", expected 0 to 9");
    set.labels.push_back(record[0]);
    set.pixels.insert(set.pixels.end(), record + 1, record + kRecord);
  } while (!reader.at_end());
}

ImageSet read_cifar10(const std::string& folder, Split split) {
  if (!is_folder(folder)) fail<IOError>("CIFAR-10: ", folder, " is not a folder");
  ImageSet set{3, 32, 32, {}, {}, {}};
  set.classes = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  if (split == Split::test) {
    append_batch(folder, "test_batch.bin", set);
    return set;
  }
  for (int batch = 1; batch <= 5; ++batch) append_batch(folder, "data_batch_" + std::to_string(batch) + ".bin", set);
  return set;
}

}  // namespace tenrec
