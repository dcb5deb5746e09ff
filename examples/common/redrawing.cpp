#include "common/redrawing.h"

#include <numeric>

namespace examples {

using namespace tenrec;

Measure column(const std::string& key, const std::string& title, int64_t index) {
  return {key, title, false,
          [index](const Tensor& outputs, const Tensor&) { return sum(select(outputs, 1, index)).item<double>(); }};
}

ImageDataset digit_pictures(const Flags& flags, Split split, int64_t count) {
  return ImageDataset(flags.data.empty() ? make_digits(split, kDigitSeed, 0, count) : read_mnist(flags.data, split),
                      {.mean = {0}, .std = {1}});
}

nlohmann::ordered_json train_redrawing(const Redrawing& run, const Flags& flags) {
  if (flags.download) {
    if (flags.data.empty()) fail<ValueError>("--download needs a folder: --data DIR");
    download_mnist(flags.data);
  }
  DataLoader train_data(
      digit_pictures(flags, Split::train, run.train_size),
      {.batch_size = flags.batch_size > 0 ? flags.batch_size : run.batch_size, .shuffle = true, .seed = flags.seed});
  DataLoader test_data(digit_pictures(flags, Split::test), {.batch_size = 500});
  const int64_t epochs = flags.epochs > 0 ? flags.epochs : run.epochs;
  Adam optimizer(parameters(run.model), {.lr = 1e-3});
  OneCycleLR scheduler(
      optimizer,
      {.max_lr = flags.lr > 0 ? flags.lr : run.lr, .total_steps = epochs * train_data.batches(), .pct_start = 0.1});
  const auto forward = [&](const Tensor& x) {
    Generator fixed(flags.seed);
    return run.forward(x, run.model.is_training() ? nullptr : &fixed);
  };
  const std::string data_name = flags.data.empty() ? "digits" : "mnist";
  return train_supervised({.example = run.example,
                           .model_name = run.model_name,
                           .data_name = data_name,
                           .model = run.model,
                           .forward = forward,
                           .optimizer = optimizer,
                           .scheduler = scheduler,
                           .train = train_data,
                           .test = test_data,
                           .epochs = epochs,
                           .flags = flags,
                           .loss = [](const Tensor& outputs, const Tensor&) { return mean(select(outputs, 1, 0)); },
                           .measures = run.measures});
}

Tensor test_pictures(const Flags& flags, int64_t n) {
  const ImageDataset test = digit_pictures(flags, Split::test, n);
  std::vector<int64_t> indices(size_t(std::min(n, test.size())));
  std::iota(indices.begin(), indices.end(), 0);
  return test.get_batch(indices).input().to(default_device());
}

void save_pictures(const std::string& path, const Tensor& pictures, int64_t columns) {
  write_png(path, make_grid(reshape(pictures, {-1, 1, kDigitSide, kDigitSide}), {.columns = columns}));
}

void save_pairs(const std::string& path, const Tensor& above, const Tensor& below) {
  constexpr int64_t kColumns = 10;
  std::vector<Tensor> rows;
  for (int64_t at = 0; at < above.size(0); at += kColumns)
    for (const Tensor& pictures : {above, below})
      rows.push_back(reshape(slice(pictures, 0, at, at + kColumns), {-1, kDigitSide * kDigitSide}));
  save_pictures(path, cat(rows), kColumns);
}

}  // namespace examples
