#include "tenrec/data/idx.h"

#include <algorithm>
#include <utility>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

constexpr uint8_t kUnsignedByte = 0x08;
constexpr int64_t kMnistSide = 28;

std::string find_idx(const std::string& folder, const std::string& base, const std::string& kind) {
  const std::string names[] = {base + "-" + kind + "-ubyte", base + "." + kind + "-ubyte"};
  for (const std::string& name : names) {
    for (const char* suffix : {"", ".gz"}) {
      const std::string path = join_path(folder, name + suffix);
      if (is_file(path)) return path;
    }
  }
  fail<IOError>("MNIST: ", join_path(folder, names[0]), "[.gz] does not exist; --data must name the folder that holds ",
                "the four original files");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape) text += concat(text.empty() ? "" : "x", n);
  return text;
}

void check_labels(const std::string& path, const std::vector<uint8_t>& labels, size_t classes) {
  const auto bad = std::find_if(labels.begin(), labels.end(), [&](uint8_t label) { return label >= classes; });
  if (bad == labels.end()) return;
  fail<IOError>(path, ": label ", bad - labels.begin(), " is ", int(*bad), ", expected 0 to ", int(classes) - 1);
}

}  // namespace

IdxArray read_idx(BoundedReader& reader, int64_t max_bytes) {
  uint8_t magic[4];
  reader.read(magic, 4, "IDX magic");
  if (magic[0] != 0 || magic[1] != 0) {
    reader.fail("not an IDX file: it starts with bytes ", int(magic[0]), " ", int(magic[1]), ", expected 0 0");
  }
  if (magic[2] != kUnsignedByte) reader.fail("IDX element type is ", int(magic[2]), ", expected 8 (unsigned byte)");
  if (magic[3] < 1 || magic[3] > 4) reader.fail("IDX has ", int(magic[3]), " dimensions, expected 1 to 4");
  IdxArray array;
  for (int i = 0; i < magic[3]; ++i) array.shape.push_back(reader.read_be32("IDX dimension"));
  const int64_t bytes = reader.checked_product(array.shape, max_bytes, "IDX size " + shape_text(array.shape));
  reader.append_to(array.data, bytes, "IDX data of shape " + shape_text(array.shape));
  reader.expect_end("the IDX data");
  return array;
}

IdxArray read_idx(const std::string& path, int64_t max_bytes) {
  BoundedReader reader(path, max_bytes + 20);
  return read_idx(reader, max_bytes);
}

ImageSet read_mnist(const std::string& folder, Split split) {
  if (!is_folder(folder)) fail<IOError>("MNIST: ", folder, " is not a folder");
  const std::string base = split == Split::train ? "train" : "t10k";
  const std::string image_path = find_idx(folder, base + "-images", "idx3");
  const std::string label_path = find_idx(folder, base + "-labels", "idx1");
  IdxArray labels = read_idx(label_path);
  IdxArray images = read_idx(image_path);
  if (labels.shape.size() != 1) fail<IOError>(label_path, ": shape is ", shape_text(labels.shape), ", expected labels");
  if (images.shape.size() != 3 || images.shape[1] != kMnistSide || images.shape[2] != kMnistSide) {
    fail<IOError>(image_path, ": shape is ", shape_text(images.shape), ", expected Nx28x28");
  }
  if (images.shape[0] != labels.shape[0]) {
    fail<IOError>(image_path, ": holds ", images.shape[0], " images, but ", label_path, " holds ", labels.shape[0],
                  " labels");
  }
  if (images.shape[0] == 0) fail<IOError>(image_path, ": holds no images");
  ImageSet set{1, kMnistSide, kMnistSide, std::move(images.data), std::move(labels.data), {}};
  for (int digit = 0; digit < 10; ++digit) set.classes.push_back(std::to_string(digit));
  check_labels(label_path, set.labels, set.classes.size());
  return set;
}

ImageSet read_fashion_mnist(const std::string& folder, Split split) {
  ImageSet set = read_mnist(folder, split);
  set.classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                 "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  return set;
}

}  // namespace tenrec
