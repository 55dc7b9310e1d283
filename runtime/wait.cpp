// The claim: exactly one waker ends a wait (g.hpp says why), and the wait's two ends.
#include "runtime/sched.hpp"

namespace gmp {

// Pairing: the waiter's exchange on g->wait and load of g->intr against interrupt()'s store to intr and CAS on wait; both
// sequentially consistent, so that either interrupt() sees Waiting or the waiter sees intr.
bool begin_wait(G* g) {
  g->wait.exchange(waitword::Waiting, std::memory_order_seq_cst);
  if (GMP_UNLIKELY(g->intr.load(std::memory_order_seq_cst))) {
    g->intr.exchange(0, std::memory_order_seq_cst);
    cancel_wait(g);
    return false;
  }
  return true;
}

void cancel_wait(G* g) { g->wait.store(waitword::Running, std::memory_order_relaxed); }

bool claim(G* g, Wait reason, bool* must_ready) {
  uint32_t w = g->wait.load(std::memory_order_relaxed);
  const uint32_t c = waitword::Claimed | uint32_t(reason) << 8;
  while (w == waitword::Waiting || w == waitword::Parked)
    if (g->wait.compare_exchange_weak(w, c, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      *must_ready = w == waitword::Parked;
      if (*must_ready) g->status.store(GStatus::Runnable, std::memory_order_relaxed);
      return true;
    }
  return false;
}

// The claim in two steps, for wakers that write into the waiter's stack in between (lot.cpp). A parked G stays put until it is made
// runnable, so the claim can be final at once; one on its way to sleep is reserved: it sleeps, or waits, for finish.
bool claim_reserve(G* g, bool* parked) {
  uint32_t w = g->wait.load(std::memory_order_relaxed);
  for (;;) {
    if (w != waitword::Waiting && w != waitword::Parked) return false;
    *parked = w == waitword::Parked;
    uint32_t to = *parked ? waitword::Claimed | uint32_t(Wait::Woken) << 8 : waitword::Reserved;
    if (g->wait.compare_exchange_weak(w, to, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  }
}

bool claim_finish(G* g, bool parked) {
  if (!parked)
    parked = g->wait.exchange(waitword::Claimed | uint32_t(Wait::Woken) << 8, std::memory_order_acq_rel) == waitword::ReservedParked;
  if (parked) g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  return parked;
}

// On g0 or on the next G's stack, this one's registers saved: from here on a claimer may run it elsewhere, so g is not touched after the CAS.
static bool commit_park(M* m, G* g) {
  g->status.store(GStatus::Waiting, std::memory_order_relaxed);
  m->p->parks++;
  uint32_t w = waitword::Waiting;
  if (g->wait.compare_exchange_strong(w, waitword::Parked, std::memory_order_acq_rel)) return false;
  if (w == waitword::Reserved && g->wait.compare_exchange_strong(w, waitword::ReservedParked, std::memory_order_acq_rel)) return false;
  return true; // claimed in between: run on
}

Wait park(G* g, WaitReason reason, const void* what) {
  if (!(g->wait.load(std::memory_order_relaxed) & waitword::Claimed)) {
    g->reason = reason;
    g->wait_addr = what;
    switch_out(g, commit_park);
    g->reason = WaitReason::None;
  }
  uint32_t w = g->wait.load(std::memory_order_acquire);
  GMP_ASSERT(w & waitword::Claimed);
  g->wait.store(waitword::Running, std::memory_order_relaxed);
  Wait r = Wait(w >> 8);
  // A full barrier before the caller looks at what the interrupt was for: a later interrupt() either is seen there or leaves intr set.
  if (r == Wait::Interrupted) g->intr.exchange(0, std::memory_order_seq_cst);
  return r;
}

Wait sleep_until(int64_t deadline) {
  G* g = getg();
  if (!g) { // foreign: a futex that nobody wakes
    std::atomic<uint32_t> w{0};
    for (;;) {
      int64_t left = deadline - nanotime();
      if (left <= 0) return Wait::Timeout;
      if (futex_wait(&w, 0, left) == -EINTR) return Wait::Interrupted;
    }
  }
  uint8_t prev = enter_rt(g);
  Wait r = Wait::Interrupted;
  if (begin_wait(g)) {
    timer_add(g, deadline);
    g->wait_since = arch::cycles();
    r = park(g, deadline == kNoDeadline ? WaitReason::Signal : WaitReason::Sleep, nullptr);
    timer_del(g);
  }
  leave_rt(g, prev);
  return r;
}

void interrupt_call(G* g) {
  RtScope rt;
  uint32_t w = g->wait.load(std::memory_order_seq_cst);
  if ((w == waitword::Waiting || w == waitword::Parked) && !g->stoppable.load(std::memory_order_seq_cst)) return;
  g->intr.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (g->stoppable.load(std::memory_order_seq_cst)) stop_running(g);
}

bool interrupt(G* g) {
  RtScope rt;
  g->intr.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (claim_and_ready(g, Wait::Interrupted)) return true;
  return g->stoppable.load(std::memory_order_seq_cst) && stop_running(g);
}

} // namespace gmp
