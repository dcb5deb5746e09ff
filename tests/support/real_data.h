// Where tests find real data: the folder that TENREC_DATA_DIR names. Without it they are skipped, and say so.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tenrec/core/bounded_reader.h"

namespace tenrec::testing {

// The folder of one data set, empty if there is none.
inline std::string real_data_folder(const char* name) {
  const char* root = std::getenv("TENREC_DATA_DIR");
  if (root == nullptr) return "";
  const std::string folder = join_path(root, name);
  return is_folder(folder) ? folder : "";
}

}  // namespace tenrec::testing

// Defines `folder`, or skips the test.
#define FIND_DATA(name)                                                 \
  const std::string folder = ::tenrec::testing::real_data_folder(name); \
  if (folder.empty()) GTEST_SKIP() << "skipped, no data (TENREC_DATA_DIR names no folder with " << name << ")"
