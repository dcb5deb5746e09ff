// Pictures in folders: one folder a class.
//
//   FOLDER/cat/001.png  FOLDER/cat/more/002.jpg  FOLDER/dog/x.jpeg
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tenrec/data/dataset.h"

namespace tenrec {

struct ImageFolderOptions {
  int64_t channels = 3;  // 1 or 3
  // What each picture is brought to: the largest part of its middle that has their ratio, scaled. Both 0: as they are,
  // and a batch needs pictures of one size.
  int64_t height = 0, width = 0;
};

// {image u8 [C, H, W], class i64 0-d}. Classes are the subfolders in the order of their names' bytes; in a class the
// pictures (.png, .jpg, .jpeg in any case) are in the order of their paths, subfolders included; other files and names
// that begin with a dot are passed over. A picture is read when it is asked for, so a loader's workers decode in
// parallel, and a broken one is an IOError there that names it. On construction: IOError if the folder is missing, has
// no classes, or one without pictures.
class ImageFolder : public Dataset {
 public:
  explicit ImageFolder(const std::string& folder, const ImageFolderOptions& options = {});
  int64_t size() const override { return int64_t(paths_.size()); }
  Example get(int64_t index) const override;
  const std::vector<std::string>& classes() const { return classes_; }
  const std::string& path(int64_t index) const;
  int64_t label(int64_t index) const;

 private:
  ImageFolderOptions options_;
  std::vector<std::string> classes_, paths_;
  std::vector<int64_t> labels_;
};

}  // namespace tenrec
