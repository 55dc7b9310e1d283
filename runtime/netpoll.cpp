// The netpoller: one epoll instance, edge-triggered, and a record for each descriptor with lists of waiters.
//
// Readiness is an event count for each direction. A caller reads the count, tries its operation, and on EAGAIN waits for the
// count to move: an edge that comes in between has moved it, so none is lost and no "ready" flag can go stale. An edge
// wakes one waiter that will consume (and who, having succeeded, passes the baton: two arrivals may share an edge) and all
// that only look (poll, select). Interest in EPOLLOUT is added when first wanted: unix sockets would report one
// for every message the peer reads.
#include <initializer_list>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <alloca.h>
#include "runtime/sched.hpp"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

namespace gmp {
namespace {

struct Waiter {
  Waiter *next, *prev;
  G* g;
  bool linked, observer;
};

struct FdRec {
  RtMutex lock;
  uint32_t interest;                // EPOLLIN/EPOLLOUT asked of epoll; 0: not registered
  std::atomic<bool> hup;
  bool unpollable;                  // EPERM: a regular file
  std::atomic<bool> once;           // see poll_once
  std::atomic<bool> own;            // the runtime's own descriptor
  std::atomic<uint32_t> seq[2];
  std::atomic<Waiter*> head[2];     // atomic for the unlocked look of poll_pass
  Waiter* tail[2];
};

constexpr int kMaxFds = 1 << 20;
FdRec* recs;
int epfd = -1, breakfd = -1;
std::atomic<bool> registered_any;
std::atomic<int> linked;          // waiters in all lists
std::atomic<bool> break_pending;
std::atomic<int> own_high{-1};
bool no_pwait2;

FdRec* rec_of(int fd) { return fd >= 0 && fd < kMaxFds && recs ? &recs[fd] : nullptr; }

void link(FdRec* r, int d, Waiter* w) {
  w->next = nullptr;
  w->prev = r->tail[d];
  if (w->prev) w->prev->next = w;
  else r->head[d].store(w, std::memory_order_relaxed);
  r->tail[d] = w;
  w->linked = true;
  linked.fetch_add(1, std::memory_order_relaxed);
}

void unlink(FdRec* r, int d, Waiter* w) {
  if (!w->linked) return;
  if (w->prev) w->prev->next = w->next;
  else r->head[d].store(w->next, std::memory_order_relaxed);
  if (w->next) w->next->prev = w->prev;
  else r->tail[d] = w->prev;
  w->linked = false;
  linked.fetch_sub(1, std::memory_order_relaxed);
}

// r->lock held. Adds to what epoll watches; the kernel reports at once what is ready already.
bool want(FdRec* r, int fd, uint32_t ev) {
  bool once = r->once.load(std::memory_order_relaxed);
  if ((r->interest & ev) == ev && !once) return true;
  if (r->unpollable || epfd < 0) return false;
  epoll_event e{};
  // EPOLLPRI: a read stops short at TCP's urgent mark with data behind it (see poll_hup's users).
  e.events = r->interest | ev | EPOLLPRI | EPOLLRDHUP | EPOLLET | (once ? uint32_t(EPOLLONESHOT) : 0u);
  e.data.u64 = uint32_t(fd);
  long rc = sys(SYS_epoll_ctl, epfd, r->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
  if (rc == -ENOENT) rc = sys(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, fd, &e); // the number was closed by a path nobody hooked
  if (rc == -EEXIST) rc = sys(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, fd, &e); // a dup kept the old registration alive
  if (rc < 0) {
    if (rc == -EPERM) r->unpollable = true;
    return false;
  }
  r->interest |= ev;
  registered_any.store(true, std::memory_order_relaxed);
  return true;
}

// r->lock held: one consumer and all observers (all: everybody, after a hang-up).
void wake_waiters(FdRec* r, int d, bool all, GList* out) {
  bool consumer = false;
  for (Waiter *w = r->head[d].load(std::memory_order_relaxed), *n; w; w = n) {
    n = w->next;
    if (consumer && !w->observer && !all) continue;
    bool must, observer = w->observer;
    G* g = w->g; // a waiter that has not slept yet is gone, with its record, the moment it is claimed
    unlink(r, d, w);
    if (!claim(g, Wait::Woken, &must)) continue; // timed out meanwhile: the next one then
    if (must) out->push(g);
    if (!observer) consumer = true;
  }
}

void on_event(uint32_t fd, uint32_t ev, GList* out) {
  FdRec* r = &recs[fd];
  Locked l(r->lock);
  bool bad = ev & (EPOLLHUP | EPOLLERR);
  if (ev & (EPOLLHUP | EPOLLERR | EPOLLRDHUP | EPOLLPRI)) r->hup.store(true, std::memory_order_relaxed);
  if (ev & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    r->seq[0].fetch_add(1, std::memory_order_release);
    wake_waiters(r, 0, bad || (ev & EPOLLRDHUP), out);
  }
  if (ev & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
    r->seq[1].fetch_add(1, std::memory_order_release);
    wake_waiters(r, 1, bad, out);
  }
}

} // namespace

bool netpoll_init() {
  if (!recs && !(recs = static_cast<FdRec*>(map_pages(sizeof(FdRec) * kMaxFds)))) return false;
  epfd = int(sys(SYS_epoll_create1, EPOLL_CLOEXEC));
  breakfd = int(sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
  // Out of the program's way: a shell closes or dups low numbers, a server may assume that its listener is fd 3.
  for (int* f : {&epfd, &breakfd}) {
    if (*f < 0) return false;
    for (int at : {1000, 200}) { // not higher: the kernel's table grows with the highest number
      long n = sys(SYS_fcntl, *f, 1030 /*F_DUPFD_CLOEXEC*/, at);
      if (n < 0) continue;
      sys(SYS_close, *f);
      *f = int(n);
      break;
    }
  }
  poll_own(epfd, true);
  poll_own(breakfd, true);
  // Level-triggered: a poller that does not block leaves the event for the one who does. (An edge would be eaten by it, and
  // break_pending would then say for ever that a break is under way.)
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = ~0ull;
  return sys(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, breakfd, &e) == 0;
}

void netpoll_forget_all() { // fork's child: the instance is shared with the parent, so it is dropped, not emptied
  if (epfd >= 0) sys(SYS_close, epfd);
  if (breakfd >= 0) sys(SYS_close, breakfd);
  epfd = breakfd = -1;
  recs = nullptr;
  registered_any.store(false);
  linked.store(0);
  break_pending.store(false);
}

NetpollFds netpoll_fds() { return {epfd, breakfd}; }

void poll_own(int fd, bool own) {
  FdRec* r = rec_of(fd);
  if (!r) return;
  r->own.store(own, std::memory_order_relaxed);
  int high = own_high.load(std::memory_order_relaxed);
  while (fd > high && !own_high.compare_exchange_weak(high, fd, std::memory_order_relaxed)) {}
}
int poll_owned_high() { return own_high.load(std::memory_order_relaxed); }
bool poll_owns(int fd) {
  FdRec* r = rec_of(fd);
  return r && r->own.load(std::memory_order_relaxed);
}

bool netpoll_any() { return registered_any.load(std::memory_order_relaxed); }

bool netpoll_awaited() { return linked.load(std::memory_order_relaxed) > 0; }

void netpoll_break() {
  if (break_pending.exchange(true)) return;
  uint64_t one = 1;
  sys(SYS_write, breakfd, &one, 8);
}

void netpoll(int64_t delay, GList* out) {
  epoll_event ev[128];
  long n;
  sched.polls.fetch_add(1, std::memory_order_relaxed);
  if (delay > 0 && !no_pwait2) {
    timespec ts{delay / 1000000000, delay % 1000000000};
    n = sys(SYS_epoll_pwait2, epfd, ev, 128, &ts, 0, 8);
    if (n == -ENOSYS) {
      no_pwait2 = true;
      n = 0;
    }
  } else {
    long ms = delay < 0 ? -1 : delay == 0 ? 0 : delay / 1000000 + 1;
    n = sys(SYS_epoll_wait, epfd, ev, 128, ms);
  }
  sched.lastpoll_tsc.store(arch::cycles(), std::memory_order_relaxed);
  // With thousands of descriptors every record, waiter and G is a cache miss: ask for them ahead of time, one link of the chain at a time.
  auto ahead = [&](long i) -> FdRec* { return i < n && ev[i].data.u64 != ~0ull ? &recs[uint32_t(ev[i].data.u64)] : nullptr; };
  for (long i = 0; i < 6; i++)
    if (FdRec* r = ahead(i)) __builtin_prefetch(r, 1);
  for (long i = 0; i < n; i++) {
    if (FdRec* r = ahead(i + 6)) __builtin_prefetch(r, 1);
    if (FdRec* r = ahead(i + 3)) __builtin_prefetch(r->head[0].load(std::memory_order_relaxed), 1);
    if (ev[i].data.u64 == ~0ull) {
      if (delay != 0) { // only the one who blocks is meant
        uint64_t v;
        sys(SYS_read, breakfd, &v, 8);
        break_pending.store(false);
      }
      continue;
    }
    on_event(uint32_t(ev[i].data.u64), ev[i].events, out);
  }
}

// ---------------------------------------------------------------- verbs

bool poll_open(int fd) {
  FdRec* r = rec_of(fd);
  if (!r) return false;
  if (GMP_LIKELY(r->interest & EPOLLIN)) return true;
  RtScope rt;
  Locked l(r->lock);
  return want(r, fd, EPOLLIN);
}

void poll_once(int fd) {
  if (FdRec* r = rec_of(fd); r && !r->once.load(std::memory_order_relaxed)) r->once.store(true, std::memory_order_relaxed);
}

uint32_t poll_seq(int fd, Dir d) { return recs[fd].seq[int(d)].load(std::memory_order_acquire); }

bool poll_hup(int fd) { return recs[fd].hup.load(std::memory_order_relaxed); }

Wait poll_wait(int fd, Dir dir, uint32_t seq, int64_t deadline) {
  G* g = getg();
  FdRec* r = &recs[fd];
  int d = int(dir);
  uint8_t prev = enter_rt(g);
  Waiter w{nullptr, nullptr, g, false, false};
  Wait res = Wait::Woken;
  r->lock.lock();
  if (GMP_UNLIKELY(!want(r, fd, d ? EPOLLOUT : EPOLLIN))) {
    r->lock.unlock(); // the number has been closed: the caller's next try says so
  } else if (r->seq[d].load(std::memory_order_relaxed) != seq) {
    r->lock.unlock();
  } else if (!begin_wait(g)) {
    r->lock.unlock();
    res = Wait::Interrupted;
  } else {
    link(r, d, &w);
    r->lock.unlock();
    if (deadline != kNoDeadline) timer_add(g, deadline);
    g->wait_since = arch::cycles();
    res = park(g, d ? WaitReason::PollWrite : WaitReason::PollRead, reinterpret_cast<void*>(intptr_t(fd)));
    if (deadline != kNoDeadline) timer_del(g);
    if (res != Wait::Woken) {
      Locked l(r->lock);
      unlink(r, d, &w);
    }
  }
  leave_rt(g, prev);
  return res;
}

void poll_pass(int fd, Dir dir) {
  FdRec* r = rec_of(fd);
  int d = int(dir);
  if (!r || GMP_LIKELY(!r->head[d].load(std::memory_order_relaxed))) return;
  RtScope rt;
  GList l;
  {
    Locked k(r->lock);
    for (Waiter *w = r->head[d].load(std::memory_order_relaxed), *n; w; w = n) {
      n = w->next;
      if (w->observer) continue;
      bool must;
      G* g = w->g;
      unlink(r, d, w);
      if (!claim(g, Wait::Woken, &must)) continue;
      if (must) l.push(g);
      break;
    }
  }
  ready_list(l);
}

void poll_nudge(int fd, Dir dir) {
  FdRec* r = rec_of(fd);
  int d = int(dir);
  if (!r || !(r->interest & (d ? EPOLLOUT : EPOLLIN))) return; // nobody has waited there yet
  r->seq[d].fetch_add(1, std::memory_order_seq_cst);
  // One who is about to wait and has seen the old number is found by the kernel's edge.
  if (!r->head[d].load(std::memory_order_relaxed)) return;
  RtScope rt;
  GList l;
  {
    Locked k(r->lock);
    wake_waiters(r, d, false, &l);
  }
  if (l.head && l.head == l.tail) ready(l.head);
  else ready_list(l);
}

bool poll_prepare(PollItem* it, size_t n) {
  RtScope rt;
  for (size_t i = 0; i < n; i++) {
    if (it[i].fd < 0) continue; // poll ignores negative descriptors
    FdRec* r = rec_of(it[i].fd);
    if (!r) return false;
    Locked l(r->lock);
    // POLLPRI, POLLRDHUP and errors arrive with the read side.
    if (!want(r, it[i].fd, (it[i].events & EPOLLOUT ? EPOLLIN | EPOLLOUT : EPOLLIN) | (it[i].events & EPOLLPRI))) return false;
    it[i].seq_r = r->seq[0].load(std::memory_order_relaxed);
    it[i].seq_w = r->seq[1].load(std::memory_order_relaxed);
  }
  return true;
}

bool poll_numbers(PollItem* it, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const FdRec* r = rec_of(it[i].fd);
    const uint32_t ev = EPOLLIN | (it[i].events & (EPOLLOUT | EPOLLPRI));
    if (!r || (r->interest & ev) != ev || r->once.load(std::memory_order_relaxed)) return false;
    it[i].seq_r = r->seq[0].load(std::memory_order_acquire);
    it[i].seq_w = r->seq[1].load(std::memory_order_acquire);
  }
  return true;
}

Wait poll_wait_many(PollItem* it, size_t n, int64_t deadline) {
  G* g = getg();
  auto* w = static_cast<Waiter*>(alloca(n * 2 * sizeof(Waiter))); // callers keep n small (hooks/poll.cpp: 64)
  uint8_t prev = enter_rt(g);
  Wait res = Wait::Interrupted;
  if (begin_wait(g)) {
    size_t done = 0;
    bool moved = false;
    for (; done < n && !moved; done++) {
      FdRec* r = it[done].fd >= 0 ? rec_of(it[done].fd) : nullptr;
      for (int d = 0; d < 2; d++) w[done * 2 + d] = Waiter{nullptr, nullptr, g, false, true};
      if (!r) continue;
      Locked l(r->lock);
      link(r, 0, &w[done * 2]);
      if (it[done].events & EPOLLOUT) link(r, 1, &w[done * 2 + 1]);
      moved = r->seq[0].load(std::memory_order_relaxed) != it[done].seq_r ||
              ((it[done].events & EPOLLOUT) && r->seq[1].load(std::memory_order_relaxed) != it[done].seq_w);
    }
    bool must;
    if (moved) claim(g, Wait::Woken, &must); // or somebody else has by now: park returns at once either way
    if (deadline != kNoDeadline) timer_add(g, deadline);
    g->wait_since = arch::cycles();
    g->wait_n = uint16_t(n);
    res = park(g, WaitReason::PollMany, it);
    if (deadline != kNoDeadline) timer_del(g);
    for (size_t i = 0; i < done; i++) {
      FdRec* r = it[i].fd >= 0 ? rec_of(it[i].fd) : nullptr;
      if (!r) continue;
      Locked l(r->lock);
      unlink(r, 0, &w[i * 2]);
      unlink(r, 1, &w[i * 2 + 1]);
    }
  }
  leave_rt(g, prev);
  return res;
}

long poll_unseen(int fd, FnRef<long()> look) {
  FdRec* r = rec_of(fd);
  if (!r || !r->interest) return look();
  RtScope rt;
  Locked l(r->lock);
  const uint32_t interest = r->interest;
  epoll_event e{};
  sys(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, fd, &e);
  const long result = look();
  r->interest = 0;
  want(r, fd, interest);
  return result;
}

void poll_forget(int fd) {
  FdRec* r = rec_of(fd);
  if (r) r->once.store(false, std::memory_order_relaxed);
  if (!r || !r->interest) {
    if (r) r->unpollable = false;
    return;
  }
  RtScope rt;
  GList l;
  {
    Locked k(r->lock);
    // The kernel drops the registration with the last reference. A dup or another process may hold one: events for the old
    // description are then taken for the new one's, which costs a futile try and nothing else - but EPOLL_CTL_DEL is cheap
    // against a close, and keeps strangers out.
    epoll_event e{};
    sys(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, fd, &e);
    r->interest = 0;
    r->unpollable = false;
    r->hup.store(false, std::memory_order_relaxed);
    for (int d = 0; d < 2; d++) {
      r->seq[d].fetch_add(1, std::memory_order_release);
      wake_waiters(r, d, true, &l);
    }
  }
  ready_list(l);
}

} // namespace gmp
