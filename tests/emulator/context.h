// A place on a stack that can be left and gone back to: where a fiber or the scheduler waits. The sanitizers are told
// of each change by their own calls. For simt.cpp alone: the assembly below may stand in one object.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstddef>

// A function of which ThreadSanitizer could not say to which fiber it belongs.
#define SIMT_UNSEEN __attribute__((noinline, no_sanitize("thread")))

namespace tenrec::simt {

#if defined(__x86_64__)
// Much quicker than swapcontext, which asks the operating system for the mask of signals, and which
// AddressSanitizer takes for a reason to clean the whole stack. What a call may not change is kept on the stack left.
extern "C" void tenrec_simt_change_stack(void** left, void* entered);
__asm__(
    ".text\n.type tenrec_simt_change_stack, @function\ntenrec_simt_change_stack:\n"
    "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n  ret\n"
    ".size tenrec_simt_change_stack, . - tenrec_simt_change_stack\n");
class Context {
 public:
  // To begin with entry() on an empty stack.
  void prepare(void* stack, size_t size, void (*entry)()) {
    void** top = reinterpret_cast<void**>(static_cast<char*>(stack) + size);
    top[-1] = nullptr;  // entry's own return, which does not happen
    top[-2] = reinterpret_cast<void*>(entry);
    std::fill(top - 8, top - 2, nullptr);
    stack_ = top - 8;
  }
  SIMT_UNSEEN void change_to(Context& other) { tenrec_simt_change_stack(&stack_, other.stack_); }

 private:
  void* stack_ = nullptr;
};
#else
class Context {
 public:
  void prepare(void* stack, size_t size, void (*entry)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = size;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }
  SIMT_UNSEEN void change_to(Context& other) { swapcontext(&context_, &other.context_); }

 private:
  ucontext_t context_;
};
#endif

}  // namespace tenrec::simt
