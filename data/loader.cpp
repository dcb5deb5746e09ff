#include "tenrec/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/core/error.h"
#include "tenrec/data/permutation.h"

namespace tenrec {
namespace {

constexpr int kMaxWorkers = 256;

// One batch that is being made or waits for its turn.
struct Slot {
  bool ready = false;
  Example batch;
  std::exception_ptr error;
};

}  // namespace

// The consumer's place is `state`. Workers take batches in order from `next_task` on, up to a window ahead of it, and
// put batch k into slot k mod window. A seek (or the next epoch) adds one to `generation`: what workers still hold of
// an older one is dropped when they come back with it.
struct DataLoader::Impl {
  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  int64_t size = 0;
  LoaderState state;
  std::shared_ptr<const Permutation> order;  // of state.epoch; empty unless shuffled

  std::mutex mutex;
  std::condition_variable task_ready, batch_ready;
  std::vector<std::thread> threads;
  std::vector<Slot> slots;
  uint64_t generation = 0;
  int64_t first_position = 0;  // of task 0 of this generation
  int64_t next_task = 0, consumed = 0, tasks = 0;
  bool stopping = false;

  ~Impl() { stop(); }

  int64_t batches_from(int64_t position) const {
    const int64_t left = size - position;
    return options.drop_last ? left / options.batch_size : (left + options.batch_size - 1) / options.batch_size;
  }

  std::shared_ptr<const Permutation> make_order(uint64_t epoch) const {
    return options.shuffle ? std::make_shared<const Permutation>(size, options.seed, epoch) : nullptr;
  }

  void go_to(LoaderState where) {
    if (!order || where.epoch != state.epoch) order = make_order(where.epoch);
    state = where;
  }

  Example make_batch(const Permutation* permutation, uint64_t epoch, int64_t position) const {
    const int64_t count = std::min(options.batch_size, size - position);
    std::vector<int64_t> indices(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      indices[size_t(i)] = permutation != nullptr ? (*permutation)[position + i] : position + i;
    }
    Example batch = dataset->get_batch(indices);
    options.transform(batch, {options.seed, epoch, indices});
    return batch;
  }

  void start() {
    slots.resize(size_t(options.workers) * size_t(options.prefetch));
    restart(state);
    try {
      for (int i = 0; i < options.workers; ++i) threads.emplace_back([this] { serve(); });
    } catch (const std::system_error& error) {
      stop();
      fail<Error>("DataLoader: a thread cannot be started: ", error.what());
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    task_ready.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    stopping = false;
  }

  // Goes to a place and tells the workers what follows from there on.
  void restart(LoaderState where) {
    {
      const std::lock_guard lock(mutex);
      go_to(where);
      ++generation;
      first_position = state.position;
      next_task = consumed = 0;
      tasks = batches_from(state.position);
      for (Slot& slot : slots) slot = {};
    }
    task_ready.notify_all();
  }

  void serve() {
    const NoGrad guard;
    std::unique_lock lock(mutex);
    for (;;) {
      task_ready.wait(lock, [&] { return stopping || next_task < std::min(tasks, consumed + int64_t(slots.size())); });
      if (stopping) return;
      const int64_t task = next_task++;
      const uint64_t for_generation = generation, epoch = state.epoch;
      const int64_t position = first_position + task * options.batch_size;
      const std::shared_ptr<const Permutation> permutation = order;
      lock.unlock();
      Slot made;
      try {
        made.batch = make_batch(permutation.get(), epoch, position);
      } catch (...) {
        made.error = std::current_exception();
      }
      made.ready = true;
      lock.lock();
      if (for_generation != generation) continue;
      slots[size_t(task) % slots.size()] = std::move(made);
      batch_ready.notify_one();
    }
  }

  Example take() {
    if (threads.empty()) start();
    Slot taken;
    {
      std::unique_lock lock(mutex);
      Slot& slot = slots[size_t(consumed) % slots.size()];
      batch_ready.wait(lock, [&] { return slot.ready; });
      taken = std::exchange(slot, {});
      if (!taken.error) ++consumed;
    }
    if (taken.error) {
      restart(state);  // this batch is made again if it is asked for again
      std::rethrow_exception(taken.error);
    }
    task_ready.notify_one();
    return std::move(taken.batch);
  }
};

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
    : impl_(std::make_unique<Impl>()) {
  if (!dataset) fail<ValueError>("DataLoader: no data set");
  if (options.batch_size < 1) fail<ValueError>("DataLoader: a batch size of ", options.batch_size);
  if (options.workers < 0 || options.workers > kMaxWorkers) {
    fail<ValueError>("DataLoader: ", options.workers, " workers, expected 0 to ", kMaxWorkers);
  }
  if (options.prefetch < 1 || options.prefetch > 1024) {
    fail<ValueError>("DataLoader: prefetch of ", options.prefetch, " batches, expected 1 to 1024");
  }
  impl_->size = dataset->size();
  impl_->dataset = std::move(dataset);
  impl_->options = std::move(options);
  impl_->restart({});
}

DataLoader::~DataLoader() = default;
DataLoader::DataLoader(DataLoader&&) noexcept = default;
DataLoader& DataLoader::operator=(DataLoader&&) noexcept = default;

const Dataset& DataLoader::dataset() const { return *impl_->dataset; }
const LoaderOptions& DataLoader::options() const { return impl_->options; }
int64_t DataLoader::batches() const { return impl_->batches_from(0); }
int64_t DataLoader::examples() const {
  return impl_->options.drop_last ? batches() * impl_->options.batch_size : impl_->size;
}
LoaderState DataLoader::state() const { return impl_->state; }

std::optional<Example> DataLoader::next() {
  Impl& impl = *impl_;
  if (impl.batches_from(impl.state.position) == 0) {
    seek({impl.state.epoch + 1, 0});
    return std::nullopt;
  }
  const NoGrad guard;
  Example batch =
      impl.options.workers > 0 ? impl.take() : impl.make_batch(impl.order.get(), impl.state.epoch, impl.state.position);
  impl.state.position = std::min(impl.state.position + impl.options.batch_size, impl.size);
  return batch;
}

void DataLoader::seek(LoaderState state) {
  Impl& impl = *impl_;
  if (state.position < 0 || state.position > impl.size) {
    fail<ValueError>("DataLoader: position ", state.position, " in a data set of ", impl.size, " examples");
  }
  impl.restart(state);
}

int64_t DataLoader::index_at(uint64_t epoch, int64_t position) const {
  if (position < 0 || position >= impl_->size) {
    fail<IndexError>("DataLoader: position ", position, " in a data set of ", impl_->size, " examples");
  }
  if (!impl_->options.shuffle) return position;
  return epoch == impl_->state.epoch ? (*impl_->order)[position] : (*impl_->make_order(epoch))[position];
}

}  // namespace tenrec
