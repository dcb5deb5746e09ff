#include "common/mistakes.h"

namespace examples {

using namespace tenrec;

void save_mistakes(const std::string& path, const Supervised& run, const ImageDataset& test) {
  constexpr size_t kMost = 50;
  eval(run.model);
  const std::vector<std::string>& names = test.images().classes;
  std::vector<int64_t> wrong;
  std::vector<std::string> captions;
  int64_t at = 0;
  run.test.seek({});
  for (const Example& batch : run.test) {
    const std::vector<int64_t> seen = predicted_classes(predict(run, batch.input()));
    const std::vector<int64_t> is = batch.target().to_vector<int64_t>();
    for (size_t i = 0; i < seen.size(); ++i, ++at) {
      if (seen[i] == is[i] || wrong.size() == kMost) continue;
      wrong.push_back(at);
      captions.push_back(names[size_t(is[i])] + " > " + names[size_t(seen[i])]);
    }
  }
  image_grid(test.images(), wrong, captions, {.title = "Wrongly classified: is > seen"}).save(path);
}

}  // namespace examples
