// Which word of a condition variable, semaphore or barrier tells that it is shared between processes (libc's then, and the kernel's)?
// The layouts are libc's own affair and have changed (glibc 2.41 moved the condition variable's), so libc is asked: what does its
// init function write with the shared attribute that it does not write without?
#pragma once
#include <pthread.h>
#include "hooks/hook.hpp"

namespace gmp {

struct SharedWord {
  // Byte offset of the word; kUnknown before the first use. Written last, so a reader that sees it sees the masks (acquire).
  static constexpr uint32_t kUnknown = 0;
  std::atomic<uint32_t> offset{kUnknown};
  uint32_t shared = 0; // bits that are set when shared
  uint32_t clock = 0;  // condition variables: bits that mean CLOCK_MONOTONIC

  const SharedWord& get(void (*learn)(SharedWord&)) {
    if (GMP_UNLIKELY(offset.load(std::memory_order_acquire) == kUnknown)) learn(*this);
    return *this;
  }
  uint32_t word(const void* object) const {
    return __atomic_load_n(
      reinterpret_cast<const uint32_t*>(static_cast<const char*>(object) + offset.load(std::memory_order_relaxed)), __ATOMIC_RELAXED);
  }
  bool is_shared(const void* object) const { return word(object) & shared; }

  // `a` private, `b` shared, else the same. They must differ in one word, which is not the first (ours uses that).
  bool find(const uint32_t* a, const uint32_t* b, size_t words, uint32_t* where) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < words; i++) {
      if (a[i] == b[i]) continue;
      if (found || i < 2) return false;
      found = i;
    }
    if (!found || a[found] != 0) return false;
    shared = b[found];
    *where = found;
    return true;
  }
};

} // namespace gmp
