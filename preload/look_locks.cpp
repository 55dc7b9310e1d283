// Who waits for whom: the locks that Gs wait for, as hooks/ leaves them in memory.
#include <cstring>
#include <pthread.h>
#include "preload/look.hpp"

namespace gmp::look {
namespace {

// hooks/mutex.hpp and hooks/rwlock.cpp have the meaning of the words.
constexpr int kLocked = 1, kParked = 2, kRobust = 16;
constexpr unsigned kWriter = 1, kReader = 8;
using Mutex = decltype(pthread_mutex_t::__data);
using RwLock = decltype(pthread_rwlock_t::__data);

bool read_mutex(const Memory& mem, uint64_t at, Mutex* m) {
  memset(static_cast<void*>(m), 0, sizeof *m);
  return mem.copy(&mem, at, m, offsetof(Mutex, __kind) + sizeof m->__kind);
}
int holder(const Mutex& m) { return !(m.__lock & kLocked) ? 0 : m.__kind & kRobust ? int(m.__nusers) : m.__owner; }

// The lot's keys are places in the lock.
uint64_t lock_of(const Thread& t) {
  switch (t.reason) {
  case WaitReason::ReadLock: return t.what - offsetof(RwLock, __writers);
  case WaitReason::WriteLock: return t.what - offsetof(RwLock, __wrphase_futex);
  case WaitReason::Futex: return t.what - 3;
  case WaitReason::LibcLock: return t.what - 2;
  default: return t.what;
  }
}

// A condition variable's first word is the waiters' mutex, or 1; once the waiter has been moved the key is the mutex itself.
bool moved_to_mutex(uint64_t word) {
  return (uint32_t(word) == (kLocked | kParked) || uint32_t(word) == kParked) && (word & 7) != 0 && word != 1;
}
bool waits_for_mutex(const Memory& mem, const Thread& t) {
  uint64_t word;
  return t.reason == WaitReason::Mutex || (t.reason == WaitReason::Cond && mem.get(t.what, &word) && moved_to_mutex(word));
}
const char* lock_name(const Memory& mem, const Thread& t) {
  if (waits_for_mutex(mem, t)) return "mutex";
  return t.reason == WaitReason::ReadLock || t.reason == WaitReason::WriteLock ? "rwlock" : "lock";
}

int holder_of(const Memory& mem, const Thread& t) {
  if (waits_for_mutex(mem, t)) {
    Mutex m;
    return read_mutex(mem, t.what, &m) ? holder(m) : 0;
  }
  if (t.reason == WaitReason::ReadLock || t.reason == WaitReason::WriteLock) {
    RwLock l;
    return mem.get(lock_of(t), &l) && (l.__readers & kWriter) ? l.__cur_writer : 0;
  }
  return 0;
}

template <class Less> void sort(int* a, int n, Less less) { // heap sort: no recursion, no allocation
  auto sift = [&](int i, int end) {
    for (int c; (c = 2 * i + 1) < end; i = c) {
      if (c + 1 < end && less(a[c], a[c + 1])) c++;
      if (!less(a[i], a[c])) return;
      int s = a[i];
      a[i] = a[c], a[c] = s;
    }
  };
  for (int i = n / 2; i-- > 0;) sift(i, n);
  for (int end = n; end-- > 1;) {
    int s = a[0];
    a[0] = a[end], a[end] = s;
    sift(0, end);
  }
}

// The first place whose key is not below `key`.
template <class Key> int place(const int* a, int n, uint64_t key, Key of) {
  int lo = 0, hi = n;
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (of(a[mid]) < key) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

} // namespace

void link(const Memory& mem, Thread* t, int n, int* by_tid, int* by_tp) {
  auto tid = [&](int i) { return uint64_t(uint32_t(t[i].tid)); };
  auto tp = [&](int i) { return t[i].tp; };
  for (int i = 0; i < n; i++) by_tid[i] = by_tp[i] = i;
  sort(by_tid, n, [&](int a, int b) { return tid(a) < tid(b); });
  sort(by_tp, n, [&](int a, int b) { return tp(a) < tp(b); });
  for (int i = 0; i < n; i++) {
    if (!t[i].asleep()) continue;
    if (t[i].reason == WaitReason::Join) { // the key lies in the thread's static TLS, which ends at its thread pointer
      int at = place(by_tp, n, t[i].what, tp);
      if (at < n && tp(by_tp[at]) - t[i].what < 1 << 20) t[i].blocker = by_tp[at];
      continue;
    }
    t[i].holder_tid = holder_of(mem, t[i]);
    if (t[i].holder_tid <= 0) continue;
    int at = place(by_tid, n, uint64_t(uint32_t(t[i].holder_tid)), tid);
    if (at < n && t[by_tid[at]].tid == t[i].holder_tid) t[i].blocker = by_tid[at];
  }
}

void circles(const Thread* t, int n, int* mark, FnRef<void(int)> found) {
  auto next = [&](int i) { return t[i].asleep() && !t[i].until ? t[i].blocker : -1; };
  for (int i = 0; i < n; i++) mark[i] = -1;
  for (int i = 0; i < n; i++) { // mark: from which start it was first reached
    int at = i;
    while (at >= 0 && mark[at] < 0) mark[at] = i, at = next(at);
    if (at >= 0 && mark[at] == i) found(at);
  }
}

size_t describe_link(const Memory& mem, const Thread* t, int i, char* b, size_t size) {
  char me[40], other[40];
  describe_name(t[i], me, sizeof me);
  describe_name(t[t[i].blocker], other, sizeof other);
  if (t[i].reason == WaitReason::Join) return format(b, size, "%s waits for the end of %s", me, other);
  return format(b, size, "%s waits for %s 0x%lx held by %s", me, lock_name(mem, t[i]), lock_of(t[i]), other);
}

static size_t describe_holder(const Memory& mem, const Thread* all, const Thread& t, char* b, size_t size) {
  char other[40];
  if (t.blocker >= 0) {
    describe_name(all[t.blocker], other, sizeof other);
    return format(b, size, ", held by %s", other);
  }
  if (t.holder_tid > 0) return format(b, size, ", held by thread %d, which is none of these", t.holder_tid);
  if (waits_for_mutex(mem, t)) {
    Mutex m;
    return read_mutex(mem, t.what, &m) && (m.__lock & kLocked) ? format(b, size, ", holder unknown") : format(b, size, ", free again");
  }
  RwLock l;
  if (mem.get(lock_of(t), &l) && l.__readers >= kReader) return format(b, size, ", held by %u readers", l.__readers / kReader);
  return 0;
}

size_t describe_wait(const Memory& mem, const Thread* all, int n, const Thread& t, FnRef<void(int, char*, size_t)> descriptor, char* b, size_t size) {
  size_t k = 0;
  auto put = [&](auto... a) { k += k < size ? format(b + k, size - k, a..., 0) : 0; };
  const unsigned long at = lock_of(t);
  (void)n;
  switch (t.reason) {
  case WaitReason::Mutex: put("mutex 0x%lx", at); break;
  case WaitReason::ReadLock: put("rwlock 0x%lx to read", at); break;
  case WaitReason::WriteLock: put("rwlock 0x%lx to write", at); break;
  case WaitReason::Cond: {
    uint64_t word;
    if (waits_for_mutex(mem, t)) put("mutex 0x%lx, the condition having been signalled", at);
    else if (mem.get(t.what, &word) && word > 1) put("condition variable 0x%lx with mutex 0x%lx", at, word);
    else put("condition variable 0x%lx", at);
    break;
  }
  case WaitReason::Semaphore: put("semaphore 0x%lx", at); break;
  case WaitReason::Barrier: put("barrier 0x%lx", at); break;
  case WaitReason::Once: put("pthread_once 0x%lx, which another thread runs", at); break;
  case WaitReason::Futex: put("futex 0x%lx", at); break;
  case WaitReason::LibcLock: put("lock inside libc 0x%lx (malloc's, stdio's ...)", at); break;
  case WaitReason::Room: put("kernel thread for a blocking call"); break;
  case WaitReason::Lot: put("lock 0x%lx", at); break;
  case WaitReason::Sleep: put("sleep"); break;
  case WaitReason::Signal: put("signal"); break;
  case WaitReason::Join: {
    char other[40] = "another thread";
    if (t.blocker >= 0) describe_name(all[t.blocker], other, sizeof other);
    put("end of %s", other);
    break;
  }
  case WaitReason::PollRead:
  case WaitReason::PollWrite: {
    char what[200] = "";
    descriptor(int(t.what), what, sizeof what);
    put("%s descriptor %d%s%s", t.reason == WaitReason::PollRead ? "read from" : "write to", int(t.what), *what ? " " : "", what);
    break;
  }
  case WaitReason::PollMany: {
    put("poll of");
    for (unsigned i = 0; i < t.items && k < size - 40; i++) {
      PollItem item;
      char what[200] = "";
      if (!mem.get(t.what + i * sizeof item, &item)) break;
      descriptor(item.fd, what, sizeof what);
      put("%s descriptor %d%s%s%s", i ? "," : "", item.fd, item.events & 4 /*EPOLLOUT*/ ? item.events & 1 ? " (read, write)" : " (write)" : "", *what ? " " : "", what);
    }
    break;
  }
  case WaitReason::None: put("nothing"); break;
  }
  if (waits_for_mutex(mem, t) || t.reason == WaitReason::ReadLock || t.reason == WaitReason::WriteLock)
    k += k < size ? describe_holder(mem, all, t, b + k, size - k) : 0;
  return k;
}

} // namespace gmp::look
