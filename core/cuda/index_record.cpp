#include "tenrec/core/cuda/index_record.h"

#include <atomic>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "tenrec/core/cuda/runtime.h"
#include "tenrec/core/module_scope.h"

namespace tenrec::cuda {
namespace {

struct OfStream {
  IndexRecord* record;
  IndexSearch* search;
  int device;
};

// Who checks, by number. Kernel parameters carry the number, and a captured graph keeps it, so an entry stays for ever.
struct Site {
  std::string op, module;
  auto operator<=>(const Site&) const = default;
};

// Never destroyed, as streams are not.
struct Records {
  std::mutex mutex;
  std::map<cudaStream_t, OfStream> streams;
  std::map<Site, int64_t> numbers;
  std::vector<const Site*> sites;  // site i + 1

  static Records& instance() {
    static auto* const records = new Records;
    return *records;
  }

  // Makes the stream's record if it has none yet.
  const OfStream& of(cudaStream_t stream) {
    if (const auto at = streams.find(stream); at != streams.end()) return at->second;
    void *record = nullptr, *search = nullptr;
    TENREC_CUDA_CHECK(cudaMallocHost(&record, sizeof(IndexRecord)));
    TENREC_CUDA_CHECK(cudaMalloc(&search, sizeof(IndexSearch)));
    auto* const shared = static_cast<IndexSearch*>(search);
    TENREC_CUDA_CHECK(cudaMemsetAsync(&shared->first, 0xff, sizeof(shared->first), stream));  // kNone
    TENREC_CUDA_CHECK(cudaMemsetAsync(&shared->blocks_done, 0, sizeof(shared->blocks_done), stream));
    return streams[stream] = {new (record) IndexRecord, shared, device()};
  }

  // Past a bound the module is left out: ops are few, but a program may make modules without end.
  int64_t number_of(Site site) {
    constexpr size_t kMost = 10000;
    auto at = numbers.find(site);
    if (at == numbers.end() && sites.size() >= kMost) at = numbers.find(site = {site.op, ""});
    if (at == numbers.end()) {
      at = numbers.emplace(std::move(site), int64_t(sites.size()) + 1).first;
      sites.push_back(&at->first);
    }
    return at->second;
  }

  // The error that is noted, which is then cleared; empty if nothing is.
  std::string take(IndexRecord& record) {
    const std::atomic_ref site(record.site);
    const int64_t number = site.load(std::memory_order_acquire);
    if (number == 0) return {};
    const Site& from = *sites[size_t(number - 1)];
    std::string text = tenrec::detail::index_error(from.op, record.rule, record.index, record.position);
    if (!from.module.empty()) text += concat(" [in module ", from.module, "]");
    site.store(0, std::memory_order_release);
    return text;
  }
};

}  // namespace

IndexNote index_note(const char* op) {
  const cudaStream_t current = stream();
  Site site{op, tenrec::detail::current_module_path()};
  Records& records = Records::instance();
  const std::lock_guard lock(records.mutex);
  const OfStream& of_stream = records.of(current);
  return {of_stream.record, of_stream.search, records.number_of(std::move(site))};
}

namespace detail {

void add_index_record(cudaStream_t stream) {
  Records& records = Records::instance();
  const std::lock_guard lock(records.mutex);
  records.of(stream);
}

void look_at_index_record(cudaStream_t stream) {
  Records& records = Records::instance();
  std::string text;
  {
    const std::lock_guard lock(records.mutex);
    if (const auto at = records.streams.find(stream); at != records.streams.end())
      text = records.take(*at->second.record);
  }
  if (!text.empty()) throw IndexError(text);
}

// One error at a time: what else is noted is found by the next look.
void look_at_index_records(int device) {
  Records& records = Records::instance();
  std::string text;
  {
    const std::lock_guard lock(records.mutex);
    for (const auto& [stream, of_stream] : records.streams)
      if (text.empty() && of_stream.device == device) text = records.take(*of_stream.record);
  }
  if (!text.empty()) throw IndexError(text);
}

}  // namespace detail

}  // namespace tenrec::cuda
