#include "hooks/fdkeep.hpp"
#include <initializer_list>
#include <fcntl.h>

namespace gmp {
namespace {

struct Slot {
  int fd, hidden;
  uint32_t wgen, hidden_gen;
  uint32_t refs; // 0: free
};
constexpr int kSlots = 256;
constinit Slot g_slots[kSlots]{};
constinit std::atomic<bool> g_lock{false};

// Held for a few loads and stores, and by a closer for one fcntl; nothing in between waits.
void lock() {
  for (int n = 0; g_lock.exchange(true, std::memory_order_acquire); n++)
    if (n < 100) relax();
    else sys(SYS_sched_yield);
}
void unlock() { g_lock.store(false, std::memory_order_release); }

// Out of the way of programs that count on low numbers, below the usual soft limit of 1,024.
int duplicate(int fd) {
  for (int at : {900, 200, 3}) {
    long n = sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, at);
    if (n >= 0 || n == -EBADF) return int(n);
  }
  return -1;
}

} // namespace

// Without a slot or a number the generation stays: the parked Gs leave by themselves, try the number and are told EBADF.
void fd_keep_slow(int fd, FdRec* r) {
  lock();
  Slot* s = g_slots;
  while (s < g_slots + kSlots && s->refs) s++;
  int hidden = s < g_slots + kSlots ? duplicate(fd) : -1;
  if (hidden >= 0 && !fd_rec(hidden)) {
    sys(SYS_close, hidden);
    hidden = -1;
  }
  if (hidden < 0) return unlock();
  fd_created(hidden, r->kind(), kCfgUnknown, false);
  g_fd_table.rec[hidden].born.store(r->born.load(std::memory_order_relaxed), std::memory_order_relaxed);
  uint64_t w = r->waiters.load(std::memory_order_relaxed);
  while (!r->waiters.compare_exchange_weak(w, ((w >> 32) + 1) << 32, std::memory_order_acq_rel)) {}
  if (uint32_t(w)) {
    *s = {fd, hidden, uint32_t(w >> 32), g_fd_table.rec[hidden].state.load(std::memory_order_relaxed) & FdRec::kGenMask, uint32_t(w)};
    hidden = -1;
  }
  unlock();
  if (hidden >= 0) hook_close(hidden); // they had all left meanwhile
}

int fd_keep_find(int fd, uint32_t wgen, int* hidden) {
  lock();
  int i = 0; // the slot was filled under the lock that moved the generation: it is there
  while (!(g_slots[i].refs && g_slots[i].fd == fd && g_slots[i].wgen == wgen)) i++;
  *hidden = g_slots[i].hidden;
  unlock();
  return i;
}

void fd_keep_drop(int slot) {
  lock();
  Slot s = g_slots[slot];
  g_slots[slot].refs--;
  unlock();
  // Closed by the program meanwhile (closefrom)? Then the number is no longer ours.
  if (s.refs == 1 && (g_fd_table.rec[s.hidden].state.load(std::memory_order_acquire) & FdRec::kGenMask) == s.hidden_gen) hook_close(s.hidden);
}

void fd_keep_reset() {
  for (Slot& s : g_slots) {
    if (s.refs) sys(SYS_close, s.hidden); // nobody is blocked in the child
    s.refs = 0;
  }
  g_lock.store(false, std::memory_order_relaxed);
}

} // namespace gmp
