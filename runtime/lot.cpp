// The parking lot: queues of waiters keyed by address, under every lock type (the idea is WebKit's, the details parking_lot's).
//
// A fixed table of 65,536 buckets (virtual: only touched pages cost), each a FIFO of waiters of all addresses that hash there. A
// waiter's record lies on the waiting stack; it is in the queue only while the bucket's lock protects it, and the owner
// takes it out under the same lock before it returns, so no waker ever sees a dead one.
// Foreign threads (no G) wait here too, on a futex inside their record.
#include <linux/futex.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {
namespace {

struct Waiter {
  Waiter *next, *prev;
  const void* key;
  G* g;
  uint64_t since;                   // cycles(), for eventual fairness
  uintptr_t token;
  bool linked;
  std::atomic<uint32_t> foreign;    // 0 waiting, 1 woken (g is null)
};

static_assert(offsetof(Waiter, key) == kWaiterKey);

struct Bucket {
  RtMutex lock;
  Waiter *head, *tail;
};

constexpr unsigned kBits = 16;
union alignas(kPage) Table {
  unsigned char zeros[sizeof(Bucket) << kBits]; // what it is at first: constructors at run time would touch it all
  Bucket bucket[1u << kBits];
  constexpr Table() : zeros{} {}
};
constinit Table table;
static_assert(sizeof table % kPage == 0); // lot_forget_all drops whole pages

Bucket* bucket_of(const void* key) {
  return &table.bucket[(uintptr_t(key) >> 2) * 0x9e3779b97f4a7c15ull >> (64 - kBits)];
}

void push(Bucket* b, Waiter* w) {
  w->next = nullptr;
  w->prev = b->tail;
  (b->tail ? b->tail->next : b->head) = w;
  b->tail = w;
  w->linked = true;
}

// The template thread goes first: a G that is woken in its place (a lock of the program's malloc) may need the kernel thread that it is
// about to make.
void push_first(Bucket* b, Waiter* w) {
  w->prev = nullptr;
  w->next = b->head;
  (b->head ? b->head->prev : b->tail) = w;
  b->head = w;
  w->linked = true;
}

void remove(Bucket* b, Waiter* w) {
  (w->prev ? w->prev->next : b->head) = w->next;
  (w->next ? w->next->prev : b->tail) = w->prev;
  w->linked = false;
}

bool any(Bucket* b, const void* key) {
  for (Waiter* w = b->head; w; w = w->next)
    if (w->key == key) return true;
  return false;
}

// Ends w's wait (w has been removed from the queue) in two steps. After take() nobody else can end it and it stays in place, so the
// token may be written; finish() lets it go. Between the two only the bucket's lock is held.
struct Taken {
  G* g = nullptr;
  bool parked = false;
  std::atomic<uint32_t>* foreign = nullptr;
};
bool take(Waiter* w, Taken* t) {
  *t = Taken{};
  if (w->g) {
    t->g = w->g;
    return claim_reserve(w->g, &t->parked);
  }
  uint32_t z = 0; // foreign: 0 waiting, 2 taken, 1 gone, 3 given up by itself
  t->foreign = &w->foreign;
  return w->foreign.compare_exchange_strong(z, 2);
}
// True: the G must be made runnable, by the caller, once the bucket is unlocked.
bool finish(const Taken& t) {
  if (t.g) return claim_finish(t.g, t.parked);
  // The word may be gone the moment it is 1; a futex wake at a stale address is harmless.
  t.foreign->store(1, std::memory_order_release);
  futex_wake(t.foreign, 1);
  return false;
}

// Chaos: the order of waiters is nobody's promise.
Waiter* later_one(Waiter* w) {
  for (Waiter* n = w->next; n; n = n->next)
    if (n->key == w->key) return n;
  return w;
}

Bucket* lock_bucket_of(Waiter* w) { // follows a requeue
  for (;;) {
    const void* k = __atomic_load_n(&w->key, __ATOMIC_ACQUIRE);
    Bucket* b = bucket_of(k);
    b->lock.lock();
    if (w->key == k) return b;
    b->lock.unlock();
  }
}

} // namespace

void lot_forget_all() { sys(SYS_madvise, &table, sizeof table, 4 /*MADV_DONTNEED*/); }

Wait wait_on(const void* key, FnRef<bool()> validate, FnRef<void()> before_sleep, FnRef<void(const void*, bool)> timed_out,
             const WaitOpts& o) {
  G* g = getg();
  uint8_t prev = g ? enter_rt(g) : 0;
  Waiter w{nullptr, nullptr, key, g, arch::cycles(), 0, false, {0}};
  Wait res;
  Bucket* b = bucket_of(key);
  b->lock.lock();
  if (!validate()) {
    b->lock.unlock();
    if (g) leave_rt(g, prev);
    return Wait::Invalid;
  }
  if (g && !begin_wait(g)) {
    bool last = !any(b, key);
    if (o.ended) *o.ended = Wait::Interrupted;
    if (timed_out) timed_out(key, last);
    b->lock.unlock();
    leave_rt(g, prev);
    return Wait::Interrupted;
  }
  if (GMP_UNLIKELY(!g) && in_template()) push_first(b, &w);
  else push(b, &w);
  b->lock.unlock();
  if (before_sleep) before_sleep();
  if (g) {
    if (o.deadline != kNoDeadline) timer_add(g, o.deadline);
    g->wait_since = w.since;
    res = park(g, o.why, &w);
    if (o.deadline != kNoDeadline) timer_del(g);
  } else {
    res = Wait::Woken;
    while (w.foreign.load(std::memory_order_acquire) != 1) {
      int64_t left = -1;
      if (o.deadline != kNoDeadline) {
        left = o.deadline - nanotime();
        if (left < 0) left = 0;
      }
      long r = left == 0 ? -ETIMEDOUT : futex_wait(&w.foreign, 0, left);
      if (r == -ETIMEDOUT || r == -EINTR) {
        uint32_t z = 0;
        if (w.foreign.compare_exchange_strong(z, 3)) {
          res = r == -EINTR ? Wait::Interrupted : Wait::Timeout;
          break;
        }
      }
      if (w.foreign.load(std::memory_order_relaxed) == 2) relax();
    }
  }
  if (res != Wait::Woken) {
    if (o.ended) *o.ended = res;
    b = lock_bucket_of(&w);
    if (w.linked) {
      remove(b, &w);
      if (timed_out) timed_out(w.key, !any(b, w.key));
    }
    b->lock.unlock();
  }
  if (o.token) *o.token = w.token;
  if (o.addr_now) *o.addr_now = w.key;
  if (g) leave_rt(g, prev);
  return res;
}

void wake_one(const void* key, FnRef<uintptr_t(Unpark)> decide) {
  RtScope rt;
  Bucket* b = bucket_of(key);
  Taken t;
  b->lock.lock();
  Waiter *w = b->head, *n = nullptr;
  bool skipped = false; // an earlier one of this address remains
  for (; w; w = n) {
    n = w->next;
    if (w->key != key) continue;
    if (GMP_UNLIKELY(chaos(4)))
      if (Waiter* later = later_one(w); later != w) w = later, n = b->head, skipped = true;
    remove(b, w);
    if (take(w, &t)) break;
  }
  Unpark u{w != nullptr, skipped, false};
  for (; w && n && !u.more; n = n->next)
    if (n->key == key) u.more = true;
  // (Not to one that may need a kernel thread first: the template thread, which makes it, may want this very lock.)
  if (w) u.fair = ((sched.cycles_per_ms && arch::cycles() - w->since > sched.cycles_per_ms) || chaos(4)) && sched.template_pending.load(std::memory_order_relaxed) == 0;
  uintptr_t token = decide(u);
  bool run = false;
  if (w) {
    w->token = token;
    run = finish(t);
  }
  b->lock.unlock();
  if (run) ready(t.g);
}

size_t wake(const void* key, size_t n) {
  RtScope rt;
  Bucket* b = bucket_of(key);
  size_t woken = 0;
  GList l;
  b->lock.lock();
  for (Waiter *w = b->head, *nx; w && woken < n; w = nx) {
    nx = w->next;
    if (w->key != key) continue;
    Taken t;
    remove(b, w);
    if (!take(w, &t)) continue;
    woken++;
    if (finish(t)) l.push(t.g);
  }
  b->lock.unlock();
  if (l.head && l.head == l.tail) ready(l.head);
  else ready_list(l);
  return woken;
}

size_t requeue(const void* from, const void* to, size_t n_wake, size_t n_requeue, FnRef<bool(size_t&, size_t&)> decide,
               FnRef<void(size_t, size_t, size_t)> after) {
  RtScope rt;
  Bucket *a = bucket_of(from), *b = bucket_of(to);
  Bucket *lo = a < b ? a : b, *hi = a < b ? b : a;
  size_t woken = 0, moved = 0, left = 0;
  GList l;
  lo->lock.lock();
  if (hi != lo) hi->lock.lock();
  if (decide(n_wake, n_requeue)) {
    for (Waiter *w = a->head, *nx; w; w = nx) {
      nx = w->next;
      if (w->key != from) continue;
      if (woken < n_wake) {
        Taken t;
        remove(a, w);
        if (!take(w, &t)) continue;
        woken++;
        if (finish(t)) l.push(t.g);
      } else if (moved < n_requeue) {
        // A waiter whose deadline has just been claimed is moved all the same: it finds its bucket by the key it reads.
        if (from != to) {
          remove(a, w);
          __atomic_store_n(&w->key, to, __ATOMIC_RELEASE);
          push(b, w);
        }
        moved++;
      } else {
        left++;
      }
    }
    after(woken, moved, left);
  }
  if (hi != lo) hi->lock.unlock();
  lo->lock.unlock();
  if (l.head && l.head == l.tail) ready(l.head);
  else ready_list(l);
  return woken + moved;
}

} // namespace gmp
