// Giving up a counted reference. Internal.
#pragma once

namespace tenrec::detail {

// Whether it was the last one; `refs` means nothing then. Who holds the only reference need not pay for a locked
// instruction: nobody is left who could make another.
template <class Count>
bool drop_reference(Count& refs) noexcept {
  return __atomic_load_n(&refs, __ATOMIC_ACQUIRE) == 1 || __atomic_sub_fetch(&refs, 1, __ATOMIC_ACQ_REL) == 0;
}

}  // namespace tenrec::detail
