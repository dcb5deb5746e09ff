#include "tenrec/data/image_folder.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/autograd/ops/shape.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/image.h"

namespace tenrec {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

bool is_picture(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

// The entries of a folder, by name.
std::vector<fs::path> list(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!is_hidden(it->path())) entries.push_back(it->path());
  }
  if (error) fail<IOError>(folder.string(), ": ", error.message());
  std::sort(entries.begin(), entries.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return entries;
}

// All pictures below a folder. Links to folders are not followed: they may lead back.
void collect(const fs::path& folder, std::vector<std::string>& paths) {
  for (const fs::path& entry : list(folder)) {
    std::error_code error;
    if (fs::is_directory(fs::symlink_status(entry, error)))
      collect(entry, paths);
    else if (is_picture(entry) && is_file(entry.string()))
      paths.push_back(entry.string());
  }
}

// The largest part of the middle that has the ratio of height to width, scaled to them.
Tensor cover(const Tensor& image, int64_t height, int64_t width) {
  const int64_t h = image.size(1), w = image.size(2);
  const double ratio = double(height) / double(width);
  const auto part_h = std::clamp<int64_t>(std::llround(double(w) * ratio), 1, h);
  const auto part_w = std::clamp<int64_t>(std::llround(double(h) / ratio), 1, w);
  const Tensor part = narrow(narrow(image, 1, (h - part_h) / 2, part_h), 2, (w - part_w) / 2, part_w);
  return part_h == height && part_w == width ? contiguous(part) : resize_image(part, height, width);
}

}  // namespace

ImageFolder::ImageFolder(const std::string& folder, const ImageFolderOptions& options) : options_(options) {
  if (options.channels != 1 && options.channels != 3) {
    fail<ValueError>("ImageFolder: ", options.channels, " channels, expected 1 or 3");
  }
  if (options.height < 0 || options.width < 0 || (options.height == 0) != (options.width == 0)) {
    fail<ValueError>("ImageFolder: pictures of ", options.width, "x", options.height, ", expected two sides or none");
  }
  if (!is_folder(folder)) fail<IOError>("ImageFolder: ", folder, " is not a folder");
  for (const fs::path& entry : list(folder)) {
    if (!is_folder(entry.string())) continue;
    const size_t before = paths_.size();
    collect(entry, paths_);
    if (paths_.size() == before) fail<IOError>(entry.string(), ": a class without a .png, .jpg or .jpeg");
    labels_.resize(paths_.size(), int64_t(classes_.size()));
    classes_.push_back(entry.filename().string());
  }
  if (classes_.empty()) fail<IOError>(folder, ": no classes; pictures must be in one subfolder for each");
}

const std::string& ImageFolder::path(int64_t index) const {
  check_index("ImageFolder", index);
  return paths_[size_t(index)];
}

int64_t ImageFolder::label(int64_t index) const {
  check_index("ImageFolder", index);
  return labels_[size_t(index)];
}

Example ImageFolder::get(int64_t index) const {
  const NoGrad off;
  Tensor image = read_image(path(index), options_.channels);
  if (options_.height > 0) image = cover(image, options_.height, options_.width);
  return {{image, full({}, label(index), {.dtype = DType::i64, .device = kCpu})}};
}

}  // namespace tenrec
