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
constexpr int kFlights = 256; // by number: a closer may wait for a neighbour's, which is as short
constinit std::atomic<int> g_flights[kFlights]{};
constexpr int64_t kLongestFlight = 10000000; // ns: a few of the kernel's slices, for one that was put aside before it got there
std::atomic<int>& flights(int fd) { return g_flights[fd % kFlights]; }

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
  if (auto& h = self()->hold; h.serial.load(std::memory_order_relaxed) && h.fd == fd) fd_unhold(); // of a write that a handler has left, most likely
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
  while (!r->waiters.compare_exchange_weak(w, ((w >> 32) + 1) << 32, std::memory_order_seq_cst)) {}
  if (uint32_t(w)) {
    *s = {fd, hidden, uint32_t(w >> 32), g_fd_table.rec[hidden].state.load(std::memory_order_relaxed) & FdRec::kGenMask, uint32_t(w)};
    hidden = -1;
  }
  unlock();
  if (hidden >= 0) hook_close(hidden); // they had all left meanwhile
  int64_t until = 0;
  for (int n = 0; flights(fd).load(std::memory_order_seq_cst) != 0; n++) {
    if (n < 100) {
      relax();
      continue;
    }
    if (!until) until = nanotime() + kLongestFlight;
    if (nanotime() > until) break;
    sys(SYS_sched_yield);
  }
}

int fd_keep_find(int fd, uint32_t wgen, int* hidden) {
  lock();
  int i = 0; // the slot was filled under the lock that moved the generation: it is there
  while (i < kSlots && !(g_slots[i].refs && g_slots[i].fd == fd && g_slots[i].wgen == wgen)) i++;
  *hidden = i < kSlots ? g_slots[i].hidden : fd;
  if (i == kSlots) i = -1;
  unlock();
  return i;
}

// The record and the count change together, undisturbed: a handler in between would find the one without the other.
uint32_t fd_hold(int fd, FdRec* r, uint32_t wgen) {
  fd_unhold();
  return uint32_t(undisturbed([&]() -> long {
    auto& h = self()->hold;
    if (h.serial.load(std::memory_order_relaxed) || !fd_wait_enter(r, wgen)) return 0; // or a handler has left something just now: without, then
    h.rec = r;
    h.fd = fd;
    h.wgen = wgen;
    h.flies = false;
    if (++h.last == 0) h.last = 1;
    h.serial.store(h.last, std::memory_order_relaxed);
    return h.last;
  }));
}

static void land() {
  auto& h = self()->hold;
  if (!h.flies) return;
  flights(h.fd).fetch_sub(1, std::memory_order_release);
  h.flies = false;
  keep_running(false);
}

bool fd_in_flight(uint32_t hold, FnRef<long()> attempt, long* result) {
  auto& h = self()->hold;
  const bool ours = undisturbed([&]() -> long {
    if (!fd_holds(hold)) return false;
    keep_running(true); // a closer waits
    h.flies = true;
    flights(h.fd).fetch_add(1, std::memory_order_seq_cst);
    if (uint32_t(h.rec->waiters.load(std::memory_order_seq_cst) >> 32) == h.wgen) return true;
    land();
    return false;
  });
  if (!ours) return false;
  *result = attempt();
  undisturbed([&]() -> long {
    if (fd_holds(hold)) land(); // else a handler's call has
    return 0;
  });
  return true;
}

void fd_unhold() {
  auto& h = self()->hold;
  if (h.serial.load(std::memory_order_relaxed) == 0) return;
  int fd;
  uint32_t wgen;
  if (!undisturbed([&]() -> long {
        if (h.serial.load(std::memory_order_relaxed) == 0) return false; // a handler's call has
        land();
        h.serial.store(0, std::memory_order_relaxed);
        fd = h.fd;
        wgen = h.wgen;
        return !fd_wait_leave(h.rec, wgen);
      }))
    return;
  int hidden;
  if (const int slot = fd_keep_find(fd, wgen, &hidden); slot >= 0) fd_keep_drop(slot);
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
  for (auto& n : g_flights) n.store(0, std::memory_order_relaxed);
  auto& h = self()->hold; // a handler forks while its thread writes
  if (h.serial.exchange(0, std::memory_order_relaxed) && h.flies) keep_running(false);
  h.flies = false;
  g_lock.store(false, std::memory_order_relaxed);
}

} // namespace gmp
