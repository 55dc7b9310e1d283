// A thread blocked in read(2) holds the file, not the number: close() or dup2() by another thread takes the number away and the
// read goes on. A G parked in a hook holds nothing, and trying again on the number could take another connection's data. So a closer
// that finds Gs parked on the number duplicates the description to a number out of the program's sight first; each of
// them goes on there, and the last one closes it.
//
// FdRec::waiters counts them: a closer moves the generation in the same step in which it takes the count, so that every parked G either
// leaves by itself (generation unchanged) or is counted in exactly one slot and finds it.
//
// A call that has done a part of its work must go on with that description, whatever becomes of the number: it is counted from before its first attempt
// to its end, and not only while it is parked (a hold). A handler of the program's may run in between, make such a call of its own, and leave by
// longjmp: so the thread's record knows the hold, the last call that holds has it, and an older one that is still there goes on without.
// Between its look at the generation and the kernel's at the number there is room for a whole close() and open(): with part done an attempt is counted
// as in flight before that look, and a closer that has moved the generation waits for those (seq_cst on both sides: one sees the other). Not for long:
// one that is stuck in the kernel, as behind a splice that has locked the pipe, has its file already.
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
// The slot and number for a G that fd_wait_leave() has sent here; -1: none (a child of fork, which has no slots).
int fd_keep_find(int fd, uint32_t wgen, int* hidden);
void fd_keep_drop(int slot);

// Counts the caller in, and whatever this thread held before out. A number for this hold; 0: the descriptor number has changed hands since wgen.
uint32_t fd_hold(int fd, FdRec*, uint32_t wgen);
inline bool fd_holds(uint32_t hold) { return hold && self()->hold.serial.load(std::memory_order_relaxed) == hold; }
// An attempt that does not wait, on the number that is held; false: not made, the number has gone.
bool fd_in_flight(uint32_t hold, FnRef<long()> attempt, long* result);
void fd_unhold(); // Counts out what this thread holds, if anything.
void fd_keep_reset();

} // namespace gmp
