// Read-write locks. Our protocol in glibc's 56 bytes: one word with the count of readers, __cur_writer for the EDEADLK checks, and
// the public fields __flags (the kind, which static initialisers set) and __shared.
//
//   WRITER           a writer holds it
//   WRITERS_PARKED   writers may be queued on key_w, READERS_PARKED: readers on key_r
//   READER * n       n readers hold it
//
// A parked bit is set by a waiter before it queues, while something blocks it, and checked again under the bucket's lock; it is taken
// back under that lock. Unlocking with a parked bit set is done under the lock, too: either the lock is handed over (token 1; readers
// always, so that a writer's unlock lets in all that wait) or it is released and the woken writer competes. So when the lock is
// free and a bit is set, somebody woken is on the way to take it, and his unlock looks at the bits again.
#include "hooks/mutex.hpp"
#include "hooks/rwlock.hpp"

namespace gmp {

namespace {

constexpr unsigned kWriter = 1, kWritersParked = 2, kReadersParked = 4, kReader = 8;
constexpr unsigned kTooMany = 1u << 31; // as glibc: 2^28 readers
constexpr uintptr_t kGranted = 1;
using Lock = pthread_rwlock_t;

std::atomic_ref<unsigned> word_of(Lock* l) { return std::atomic_ref<unsigned>(l->__data.__readers); }
const void* key_r(Lock* l) { return &l->__data.__writers; }
const void* key_w(Lock* l) { return &l->__data.__wrphase_futex; }
// Waiting writers go before new readers. (PTHREAD_RWLOCK_PREFER_WRITER_NP means nothing in glibc either.)
bool writers_first(const Lock* l) { return l->__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP; }

bool reader_may(unsigned s, bool wf) { return !(s & kWriter) && !(wf && (s & kWritersParked)); }
bool writer_may(unsigned s) { return !(s & kWriter) && s < kReader; }
bool i_write(const Lock* l) { return __atomic_load_n(&l->__data.__cur_writer, __ATOMIC_RELAXED) == mutex_self(); }
void set_writer(Lock* l, int tid) { __atomic_store_n(&l->__data.__cur_writer, tid, __ATOMIC_RELAXED); }

void drop_bit(Lock* l, unsigned bit) { word_of(l).fetch_and(~bit, std::memory_order_relaxed); }

// Lets in the readers that wait although nothing blocks them any more. Does not touch the lock unless a waiter was found: it
// may be gone.
void admit_readers(Lock* l) {
  auto word = word_of(l);
  const bool wf = writers_first(l);
  bool again = true;
  auto decide = [&](Unpark u) -> uintptr_t {
    again = false;
    if (!u.woke) return 0;
    unsigned s = word.load(std::memory_order_relaxed), n;
    bool may;
    do {
      may = reader_may(s, wf);
      n = (u.more ? s : s & ~kReadersParked) + (may ? kReader : 0);
    } while (!word.compare_exchange_weak(s, n, std::memory_order_acq_rel, std::memory_order_relaxed));
    again = may && u.more;
    return may ? kGranted : 0; // 0: a writer came in between; the reader queues again
  };
  while (again) wake_one(key_r(l), decide);
}

// Gives up `held` (kWriter, or kReader by the last reader) to waiting readers. False: there were none, and nothing was given up.
bool pass_to_readers(Lock* l, unsigned held) {
  auto word = word_of(l);
  bool passed = false, more = false;
  wake_one(key_r(l), [&](Unpark u) -> uintptr_t {
    passed = u.woke, more = u.more;
    unsigned s = word.load(std::memory_order_relaxed), n;
    do {
      n = u.woke ? s - held + kReader : s;
      if (!u.more) n &= ~kReadersParked;
    } while (!word.compare_exchange_weak(s, n, std::memory_order_acq_rel, std::memory_order_relaxed));
    return kGranted;
  });
  if (passed && more) admit_readers(l);
  return passed;
}

// The same to a waiting writer; or, when other readers hold the lock as well by now, just gives up.
bool pass_to_writer(Lock* l, unsigned held) {
  auto word = word_of(l);
  const bool wf = writers_first(l);
  bool passed = false;
  wake_one(key_w(l), [&](Unpark u) -> uintptr_t {
    unsigned s = word.load(std::memory_order_relaxed), n;
    bool hand;
    do {
      bool last = s - held < kReader;
      passed = u.woke || !last;
      hand = u.woke && last && (wf || u.fair);
      n = (passed ? s - held : s) | (hand ? kWriter : 0);
      if (!u.more) n &= ~kWritersParked;
    } while (!word.compare_exchange_weak(s, n, std::memory_order_acq_rel, std::memory_order_relaxed));
    return hand ? kGranted : 0;
  });
  return passed;
}

GMP_NOINLINE void unlock_slow(Lock* l) {
  auto word = word_of(l);
  const bool wf = writers_first(l);
  for (;;) {
    unsigned s = word.load(std::memory_order_relaxed);
    const unsigned held = s & kWriter ? kWriter : kReader;
    const bool last = held == kWriter || s - kReader < kReader;
    if (last && (s & kReadersParked) && !(wf && (s & kWritersParked))) {
      if (pass_to_readers(l, held)) return;
    } else if (last && (s & kWritersParked)) {
      if (pass_to_writer(l, held)) return;
    } else if (word.compare_exchange_weak(s, s - held, std::memory_order_release, std::memory_order_relaxed)) {
      return;
    }
  }
}

bool try_read(std::atomic_ref<unsigned> word, bool wf, int* result) {
  unsigned s = word.load(std::memory_order_relaxed);
  while (reader_may(s, wf)) {
    *result = s >= kTooMany ? EAGAIN : 0;
    if (*result || word.compare_exchange_weak(s, s + kReader, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  }
  return false;
}

bool try_write(std::atomic_ref<unsigned> word) {
  unsigned s = word.load(std::memory_order_relaxed);
  while (writer_may(s))
    if (word.compare_exchange_weak(s, s | kWriter, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

GMP_NOINLINE int read_slow(Lock* l, int64_t deadline) {
  auto word = word_of(l);
  const bool wf = writers_first(l);
  if (i_write(l)) return EDEADLK;
  for (;;) {
    int r;
    if (try_read(word, wf, &r)) return r;
    if (deadline != kNoDeadline && deadline <= nanotime()) return ETIMEDOUT;
    unsigned s = word.load(std::memory_order_relaxed);
    if (reader_may(s, wf) || !word.compare_exchange_weak(s, s | kReadersParked, std::memory_order_relaxed)) continue;
    uintptr_t token = 0;
    auto validate = [&] {
      unsigned v = word.load(std::memory_order_relaxed);
      return (v & kReadersParked) && !reader_may(v, wf);
    };
    auto gone = [&](const void*, bool last_one) {
      if (last_one) drop_bit(l, kReadersParked);
    };
    Wait w = wait_on(key_r(l), validate, {}, gone, WaitOpts{deadline, &token, nullptr, WaitReason::ReadLock});
    if (w == Wait::Woken && token == kGranted) return 0;
    if (w == Wait::Timeout) return ETIMEDOUT;
    if (w == Wait::Interrupted) after_interrupt(true, false);
  }
}

GMP_NOINLINE int write_slow(Lock* l, int64_t deadline) {
  auto word = word_of(l);
  if (i_write(l)) return EDEADLK;
  for (;;) {
    if (try_write(word)) break;
    if (deadline != kNoDeadline && deadline <= nanotime()) return ETIMEDOUT;
    unsigned s = word.load(std::memory_order_relaxed);
    if (writer_may(s) || !word.compare_exchange_weak(s, s | kWritersParked, std::memory_order_relaxed)) continue;
    uintptr_t token = 0;
    auto validate = [&] {
      unsigned v = word.load(std::memory_order_relaxed);
      return (v & kWritersParked) && !writer_may(v);
    };
    auto gone = [&](const void*, bool last_one) {
      if (last_one) drop_bit(l, kWritersParked);
    };
    Wait w = wait_on(key_w(l), validate, {}, gone, WaitOpts{deadline, &token, nullptr, WaitReason::WriteLock});
    if (w == Wait::Woken && token == kGranted) break;
    if (w == Wait::Timeout || w == Wait::Interrupted) {
      // Readers that waited for nothing but this writer.
      unsigned v = word.load(std::memory_order_relaxed);
      if ((v & kReadersParked) && reader_may(v, writers_first(l))) admit_readers(l);
      if (w == Wait::Timeout) return ETIMEDOUT;
      after_interrupt(true, false);
    }
  }
  set_writer(l, mutex_self());
  return 0;
}

} // namespace

int rwlock_read(Lock* l, int64_t deadline) {
  int r;
  if (GMP_LIKELY(try_read(word_of(l), writers_first(l), &r))) return r;
  return read_slow(l, deadline);
}

int rwlock_write(Lock* l, int64_t deadline) {
  unsigned s = 0;
  if (GMP_LIKELY(word_of(l).compare_exchange_strong(s, kWriter, std::memory_order_acquire, std::memory_order_relaxed))) {
    set_writer(l, mutex_self());
    return 0;
  }
  return write_slow(l, deadline);
}

int rwlock_try_read(Lock* l) {
  int r;
  return try_read(word_of(l), writers_first(l), &r) ? r : EBUSY;
}

int rwlock_try_write(Lock* l) {
  if (!try_write(word_of(l))) return EBUSY;
  set_writer(l, mutex_self());
  return 0;
}

void rwlock_unlock(Lock* l) {
  auto word = word_of(l);
  unsigned s = word.load(std::memory_order_relaxed);
  if (s & kWriter) {
    set_writer(l, 0);
    s = kWriter;
    if (GMP_LIKELY(word.compare_exchange_strong(s, 0, std::memory_order_release, std::memory_order_relaxed))) return;
    return unlock_slow(l);
  }
  if (s < kReader) return; // not locked
  while (s >= 2 * kReader || !(s & (kWritersParked | kReadersParked)))
    if (word.compare_exchange_weak(s, s - kReader, std::memory_order_release, std::memory_order_relaxed)) return;
  unlock_slow(l);
}

} // namespace gmp
