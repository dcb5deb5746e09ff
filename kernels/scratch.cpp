#include "tenrec/kernels/scratch.h"

#include <algorithm>
#include <new>
#include <vector>

#include "tenrec/core/error.h"

namespace tenrec::kernels {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kFirstBlock = size_t(1) << 20;

struct Block {
  char* data;
  size_t size;
};

// Blocks are filled in order. When the stack is empty again and held more than one block, they become one of their
// joint size: after a few calls of the largest kernel there is one block and nothing is allocated any more.
struct Stack {
  std::vector<Block> blocks;
  size_t block = 0, used = 0;  // the block being filled, and how much of it is taken

  ~Stack() { clear(); }

  void clear() {
    for (const Block& b : blocks) ::operator delete (b.data, std::align_val_t{kAlign});
    blocks.clear();
  }

  void add(size_t size) {
    auto* data = static_cast<char*>(::operator new (size, std::align_val_t{kAlign}, std::nothrow));
    if (!data) fail<OutOfMemoryError>("scratch memory: could not allocate ", size, " bytes");
    blocks.push_back({data, size});
  }

  void* take(size_t size) {
    size = (size + kAlign - 1) / kAlign * kAlign;
    if (blocks.empty()) add(std::max(size, kFirstBlock));
    while (used + size > blocks[block].size) {
      if (block + 1 == blocks.size()) add(std::max(size, 2 * blocks[block].size));
      ++block;
      used = 0;
    }
    char* result = blocks[block].data + used;
    used += size;
    return result;
  }

  void release(size_t to_block, size_t to_used) {
    block = to_block;
    used = to_used;
    if (block != 0 || used != 0 || blocks.size() < 2) return;
    size_t total = 0;
    for (const Block& b : blocks) total += b.size;
    clear();
    auto* data = static_cast<char*>(::operator new (total, std::align_val_t{kAlign}, std::nothrow));
    if (data) blocks.push_back({data, total});  // a destructor must not throw: without it the next take() tries again
  }
};

thread_local Stack stack;

}  // namespace

Scratch::Scratch() : block_(stack.block), used_(stack.used) {}
Scratch::~Scratch() { stack.release(block_, used_); }
void* Scratch::bytes(size_t size) { return stack.take(size); }

}  // namespace tenrec::kernels
