// A picture of what a classifier gets wrong.
#pragma once

#include "common/supervised.h"

namespace examples {

// The first 50 wrongly classified pictures of the test set, each with "what it is > what was seen". `test` is the data
// set that run.test goes through.
void save_mistakes(const std::string& path, const Supervised& run, const tenrec::ImageDataset& test);

}  // namespace examples
