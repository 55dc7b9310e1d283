// A thread blocked in read(2) holds the file, not the number: close() or dup2() by another thread takes the number away and the
// read goes on. A G parked in a hook holds nothing, and trying again on the number could take another connection's data. So a closer
// that finds Gs parked on the number duplicates the description to a number out of the program's sight first; each of
// them goes on there, and the last one closes it.
//
// FdRec::waiters counts them: a closer moves the generation in the same step in which it takes the count, so that every parked G either
// leaves by itself (generation unchanged) or is counted in exactly one slot and finds it.
#pragma once
#include "hooks/fdtable.hpp"

namespace gmp {

inline uint32_t fd_wait_generation(const FdRec* r) { return uint32_t(r->waiters.load(std::memory_order_acquire) >> 32); }

// False: the number has changed hands since.
inline bool fd_wait_enter(FdRec* r, uint32_t wgen) {
  uint64_t w = r->waiters.load(std::memory_order_relaxed);
  do
    if (GMP_UNLIKELY(uint32_t(w >> 32) != wgen)) return false;
  while (!r->waiters.compare_exchange_weak(w, w + 1, std::memory_order_acq_rel));
  return true;
}
// False: the caller is in a slot.
inline bool fd_wait_leave(FdRec* r, uint32_t wgen) {
  uint64_t w = r->waiters.load(std::memory_order_relaxed);
  do
    if (GMP_UNLIKELY(uint32_t(w >> 32) != wgen)) return false;
  while (!r->waiters.compare_exchange_weak(w, w - 1, std::memory_order_acq_rel));
  return true;
}

// By closers, before the number goes.
void fd_keep_slow(int fd, FdRec*);
inline void fd_keep(int fd, FdRec* r) {
  if (GMP_UNLIKELY(uint32_t(r->waiters.load(std::memory_order_acquire)))) fd_keep_slow(fd, r);
}
// The slot and number for a G that fd_wait_leave() has sent here.
int fd_keep_find(int fd, uint32_t wgen, int* hidden);
void fd_keep_drop(int slot);
void fd_keep_reset();

} // namespace gmp
