// Batches from a data set, in an order that is a pure function of (seed, epoch).
//
//   DataLoader loader(digits(Split::train), {.batch_size = 64, .shuffle = true, .seed = 1, .workers = 2});
//   for (int epoch = 0; epoch < 5; ++epoch)
//     for (const Example& batch : loader) step(batch.input(), batch.target());
//
// Threads prepare batches ahead; they change when a batch is ready, never what it holds. Where the loader stands is two
// numbers (LoaderState): seek() goes there at once, so a resumed run sees the batches that the stopped one would have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "tenrec/data/dataset.h"
#include "tenrec/data/transforms.h"

namespace tenrec {

struct LoaderOptions {
  int64_t batch_size = 1;
  bool shuffle = false;
  bool drop_last = false;  // leave out a last batch that is not full
  uint64_t seed = 0;       // of the order and of random transforms
  int workers = 0;         // threads; 0: batches are made when asked for, on the caller's thread
  int prefetch = 2;        // batches ahead for each worker
  Transform transform = {};
};

// Where a loader stands: the epoch and the examples of it that have been handed out.
struct LoaderState {
  uint64_t epoch = 0;
  int64_t position = 0;
  friend bool operator==(const LoaderState&, const LoaderState&) = default;
};

class DataLoader {
 public:
  // ValueError for options that make no sense.
  DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options = {});
  template <class D>
  requires std::is_base_of_v<Dataset, D> DataLoader(D dataset, LoaderOptions options = {})
      : DataLoader(std::shared_ptr<const Dataset>(std::make_shared<D>(std::move(dataset))), std::move(options)) {}
  ~DataLoader();
  DataLoader(DataLoader&&) noexcept;
  DataLoader& operator=(DataLoader&&) noexcept;

  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  // Batches in a whole epoch.
  int64_t batches() const;
  // Examples in a whole epoch: less than the data set's size if drop_last leaves some out.
  int64_t examples() const;

  // The next batch of this epoch; empty at its end, and the call after that begins the next epoch. An exception of the
  // data set or of a transform is thrown here, whichever thread it happened on; the loader stays before that batch.
  std::optional<Example> next();

  LoaderState state() const;
  // Goes to a place in O(1). ValueError if the position is not within the data set.
  void seek(LoaderState state);
  // The index in the data set of the example at a place of the epoch's order.
  int64_t index_at(uint64_t epoch, int64_t position) const;

  // Range-for over the rest of the epoch.
  class Iterator;
  Iterator begin();
  std::default_sentinel_t end() { return {}; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class DataLoader::Iterator {
 public:
  explicit Iterator(DataLoader& loader) : loader_(&loader), batch_(loader.next()) {}
  const Example& operator*() const { return *batch_; }
  const Example* operator->() const { return &*batch_; }
  Iterator& operator++() {
    batch_.reset();  // its memory can serve the next batch
    batch_ = loader_->next();
    return *this;
  }
  friend bool operator==(const Iterator& it, std::default_sentinel_t) { return !it.batch_; }

 private:
  DataLoader* loader_;
  std::optional<Example> batch_;
};

inline DataLoader::Iterator DataLoader::begin() { return Iterator(*this); }

}  // namespace tenrec
