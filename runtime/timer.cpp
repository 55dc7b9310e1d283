// Timers: a 4-ary heap for each P, under its lock; idle Ms look into all heaps (findRunnable), so a timer never waits for its P.
// A timer lives in its G and is disarmed by the G itself before the wait ends, so a heap never holds a stale one.
#include <cstring>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

static void place(TimerHeap& h, uint32_t i, Timer* t) {
  h.heap[i] = t;
  t->index = int32_t(i);
}

static void up(TimerHeap& h, uint32_t i) {
  Timer* t = h.heap[i];
  while (i > 0) {
    uint32_t p = (i - 1) / 4;
    if (h.heap[p]->when <= t->when) break;
    place(h, i, h.heap[p]);
    i = p;
  }
  place(h, i, t);
}

static void down(TimerHeap& h, uint32_t i) {
  Timer* t = h.heap[i];
  for (;;) {
    uint32_t c = 4 * i + 1, best = c;
    if (c >= h.n) break;
    for (uint32_t k = c + 1; k < c + 4 && k < h.n; k++)
      if (h.heap[k]->when < h.heap[best]->when) best = k;
    if (h.heap[best]->when >= t->when) break;
    place(h, i, h.heap[best]);
    i = best;
  }
  place(h, i, t);
}

// False: no memory. The process may free some, so the timer goes into a list meanwhile.
static bool grow(TimerHeap& h) {
  uint32_t cap = h.cap ? h.cap * 2 : 512;
  auto** n = static_cast<Timer**>(map_pages(cap * sizeof(Timer*)));
  if (!n) return false;
  if (h.cap) {
    memcpy(n, h.heap, h.n * sizeof(Timer*));
    sys(SYS_munmap, h.heap, h.cap * sizeof(Timer*));
  }
  h.heap = n;
  h.cap = cap;
  return true;
}

constexpr int32_t kLoose = -2;

static void publish_first(TimerHeap& h) {
  int64_t first = h.n ? h.heap[0]->when : 0;
  for (Timer* t = h.loose; GMP_UNLIKELY(t != nullptr); t = t->next)
    if (first == 0 || t->when < first) first = t->when;
  h.first.store(first, std::memory_order_release);
}

static void insert(TimerHeap& h, Timer* t) {
  if (GMP_UNLIKELY(h.n == h.cap) && !grow(h)) {
    t->index = kLoose;
    t->next = h.loose;
    h.loose = t;
    return;
  }
  place(h, h.n++, t);
  up(h, h.n - 1);
}

static void remove_loose(TimerHeap& h, Timer* t) {
  Timer** at = &h.loose;
  while (*at != t) at = &(*at)->next;
  *at = t->next;
  t->index = -1;
}

static void remove_at(TimerHeap& h, uint32_t i) {
  h.heap[i]->index = -1;
  Timer* last = h.heap[--h.n];
  if (i < h.n) {
    place(h, i, last);
    down(h, i);
    up(h, uint32_t(last->index));
  }
}

void timer_add(G* g, int64_t when) {
  if (when == kNoDeadline) return;
  if (when <= 0) when = 1; // 0 means "none" in `first`
  P* p = cur_p();
  Timer* t = &g->timer;
  bool first;
  {
    Locked l(p->timers.lock);
    TimerHeap& h = p->timers;
    t->when = when;
    t->p = p;
    insert(h, t);
    first = t->index == 0 || t->index == kLoose;
    if (first) publish_first(h);
  }
  // This P looks at its heap whenever it schedules. An M that sleeps in the netpoller took its deadline before: tell it, in
  // case this P stays busy.
  if (first && sched.lastpoll.load(std::memory_order_acquire) == 0) {
    int64_t until = sched.polluntil.load(std::memory_order_acquire);
    if (until == 0 || until > when) netpoll_break();
  }
}

void timer_del(G* g) {
  Timer* t = &g->timer;
  P* p = t->p;
  if (!p) return;
  Locked l(p->timers.lock);
  if (t->index >= 0) {
    bool first = t->index == 0;
    remove_at(p->timers, uint32_t(t->index));
    if (first) publish_first(p->timers);
  } else if (GMP_UNLIKELY(t->index == kLoose)) {
    remove_loose(p->timers, t);
    publish_first(p->timers);
  }
  t->p = nullptr;
}

int64_t timers_first(P* p) { return p->timers.first.load(std::memory_order_acquire); }

void timers_move(P* from, P* to) {
  TimerHeap &a = from->timers, &b = to->timers;
  while (a.n || a.loose) {
    Timer* t = a.loose ? a.loose : a.heap[a.n - 1];
    if (a.loose) remove_loose(a, t);
    else remove_at(a, a.n - 1);
    t->p = to;
    insert(b, t);
  }
  publish_first(a);
  publish_first(b);
}

void check_timers(P* p, int64_t now, GList* out) {
  int64_t f = timers_first(p);
  if (f == 0 || f > now) return;
  Locked l(p->timers.lock);
  TimerHeap& h = p->timers;
  auto expire = [out](Timer* t) {
    G* g = reinterpret_cast<G*>(reinterpret_cast<char*>(t) - offsetof(G, timer));
    bool must;
    if (claim(g, Wait::Timeout, &must) && must) out->push(g);
  };
  while (h.n && h.heap[0]->when <= now) {
    Timer* t = h.heap[0];
    remove_at(h, 0);
    expire(t);
  }
  for (Timer *t = h.loose, *next; GMP_UNLIKELY(t != nullptr); t = next) {
    next = t->next;
    if (t->when > now) continue;
    remove_loose(h, t);
    expire(t);
  }
  publish_first(h);
}

} // namespace gmp
