// What autoencoders share: digits with pixels in [0, 1], the training of a model that draws them again, grids of
// pictures as PNG.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/supervised.h"

namespace examples {

struct Redrawing {
  std::string example, model_name;
  tenrec::Module& model;
  // Pictures [n, 1, 28, 28] to what is said of each, [n, k]; the mean of column 0 is to become small. Noise comes from
  // the generator (the default one if it is null).
  std::function<tenrec::Tensor(const tenrec::Tensor& x, tenrec::Generator* generator)> forward;
  std::vector<Measure> measures;  // of columns
  int64_t epochs;                 // and batch size and learning rate, unless flags say otherwise
  int64_t batch_size = 128;
  double lr = 3e-3;
  int64_t train_size = -1;  // of the procedural digits; -1: all
};

// The mean of a column.
Measure column(const std::string& key, const std::string& title, int64_t index);

// MNIST's pictures if --data was given, else the procedural digits, `count` of them (-1: all).
tenrec::ImageDataset digit_pictures(const Flags& flags, tenrec::Split split, int64_t count = -1);
// Trains on them and returns the JSON line's object. Each test draws the same noise, so that what it gives depends on
// the weights alone.
nlohmann::ordered_json train_redrawing(const Redrawing& run, const Flags& flags);

// The first n pictures of the test set, [n, 1, 28, 28], on the default device.
tenrec::Tensor test_pictures(const Flags& flags, int64_t n);
// Writes pictures of 784 values as a PNG with so many in a row.
void save_pictures(const std::string& path, const tenrec::Tensor& pictures, int64_t columns);
// Rows of ten, each picture with its counterpart below.
void save_pairs(const std::string& path, const tenrec::Tensor& above, const tenrec::Tensor& below);

}  // namespace examples
