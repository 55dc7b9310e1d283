// The run queue of a P: a ring of 256 with one producer (the owner) and many consumers (owner and stealers), and runnext.
//
// Pairing: the owner publishes a slot by the release store to tail, a consumer reads tail with acquire and takes slots by a
// CAS on head (release: the slot has been read; the owner's acquire load of head sees it free). Indices wrap around 2^32;
// only differences count. Model-checked by tests/model/runq_model.cpp.
#pragma once
#include "runtime/sched.hpp"

namespace gmp::runq {

inline bool empty(P* p) {
  // Head, tail and runnext are read at different times; a G that moves from runnext to the ring in between must not be missed.
  for (;;) {
    uint32_t h = p->head.load(std::memory_order_acquire), t = p->tail.load(std::memory_order_acquire);
    G* n = p->runnext.load(std::memory_order_acquire);
    if (t == p->tail.load(std::memory_order_acquire)) return h == t && n == nullptr;
  }
}

inline bool ring_empty(P* p) { return p->head.load(std::memory_order_acquire) == p->tail.load(std::memory_order_acquire); }

// Owner only.
inline bool has_room(P* p) { return p->tail.load(std::memory_order_relaxed) - p->head.load(std::memory_order_acquire) < kRunq; }

inline uint32_t length(P* p) {
  uint32_t h = p->head.load(std::memory_order_acquire), t = p->tail.load(std::memory_order_acquire);
  return t - h + (p->runnext.load(std::memory_order_relaxed) != nullptr);
}

// Owner only. False: full.
inline bool put_local(P* p, G* g) {
  uint32_t h = p->head.load(std::memory_order_acquire), t = p->tail.load(std::memory_order_relaxed);
  if (t - h >= kRunq) return false;
  p->runq[t % kRunq].store(g, std::memory_order_relaxed);
  p->tail.store(t + 1, std::memory_order_release);
  return true;
}

// Half of a full queue and g go to the global one. False: stealers were faster, there is room now.
inline bool put_overflow(P* p, G* g) {
  uint32_t h = p->head.load(std::memory_order_acquire), t = p->tail.load(std::memory_order_relaxed);
  if (t - h < kRunq) return false;
  uint32_t n = kRunq / 2;
  G* batch[kRunq / 2];
  for (uint32_t i = 0; i < n; i++) batch[i] = p->runq[(h + i) % kRunq].load(std::memory_order_relaxed);
  if (!p->head.compare_exchange_strong(h, h + n, std::memory_order_acq_rel)) return false;
  Locked l(sched.lock);
  for (uint32_t i = 0; i < n; i++) globrunqput(batch[i]);
  globrunqput(g);
  return true;
}

// Owner only. next: runs next; what was there goes to the tail.
inline void put(P* p, G* g, bool next) {
  if (next) {
    p->runnext_at.store(arch::cycles(), std::memory_order_relaxed);
    g = p->runnext.exchange(g, std::memory_order_acq_rel);
    if (!g) return;
  }
  while (!put_local(p, g))
    if (put_overflow(p, g)) return;
}

// Owner only. runnext goes first, but not for ever: two Gs that hand each other the CPU through it would starve the ring.
inline G* get(P* p) {
  if (p->runnext.load(std::memory_order_relaxed)) {
    if (p->next_streak++ < 16 || ring_empty(p)) {
      if (G* g = p->runnext.exchange(nullptr, std::memory_order_acq_rel)) return g;
    } else if (G* g = p->runnext.exchange(nullptr, std::memory_order_acq_rel)) {
      p->next_streak = 0;
      if (put_local(p, g)) {
      } else return g;
    }
  } else {
    p->next_streak = 0;
  }
  for (;;) {
    uint32_t h = p->head.load(std::memory_order_acquire), t = p->tail.load(std::memory_order_relaxed);
    if (t == h) return nullptr;
    G* g = p->runq[h % kRunq].load(std::memory_order_relaxed);
    if (p->head.compare_exchange_weak(h, h + 1, std::memory_order_acq_rel)) return g;
  }
}

// Owner only. The next but one of the ring is asked for from memory: with many Gs it is not in a cache. Only the address is used: a stealer may
// have taken that G, and run it to its end, meanwhile.
inline void prefetch(P* p) {
  uint32_t h = p->head.load(std::memory_order_relaxed), t = p->tail.load(std::memory_order_relaxed);
  if (t - h >= 2) __builtin_prefetch(p->runq[(h + 1) % kRunq].load(std::memory_order_relaxed));
}

// Takes half of victim's queue into p's (which is empty but for what ready_list put there); returns one of them.
// runnext only when asked, and only when it has lain there for a while: its P is about to run it.
inline G* steal(P* p, P* victim, bool take_next) {
  for (;;) {
    uint32_t h = victim->head.load(std::memory_order_acquire), t = victim->tail.load(std::memory_order_acquire);
    uint32_t n = t - h;
    n = n - n / 2;
    if (n == 0) {
      if (!take_next) return nullptr;
      G* g = victim->runnext.load(std::memory_order_acquire);
      if (!g) return nullptr;
      if (arch::cycles() - victim->runnext_at.load(std::memory_order_relaxed) < sched.cycles_per_ms / 100) return nullptr;
      if (!victim->runnext.compare_exchange_strong(g, nullptr, std::memory_order_acq_rel)) continue;
      return g;
    }
    if (n > kRunq / 2) continue; // head and tail were read at different times
    uint32_t pt = p->tail.load(std::memory_order_relaxed), ph = p->head.load(std::memory_order_acquire);
    uint32_t room = kRunq - (pt - ph);
    if (n > room) n = room;
    if (n == 0) return nullptr;
    for (uint32_t i = 0; i < n; i++)
      p->runq[(pt + i) % kRunq].store(victim->runq[(h + i) % kRunq].load(std::memory_order_relaxed), std::memory_order_relaxed);
    if (!victim->head.compare_exchange_strong(h, h + n, std::memory_order_acq_rel)) continue;
    // The last one is returned, the others become visible.
    G* g = p->runq[(pt + n - 1) % kRunq].load(std::memory_order_relaxed);
    p->tail.store(pt + n - 1, std::memory_order_release);
    return g;
  }
}

} // namespace gmp::runq
