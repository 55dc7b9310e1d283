// What the lock families share of the mutex: its word, its kinds, and how a condition variable gives it up and takes it back.
//
// Our own protocol in glibc's 40 bytes. Static initialisers are public, so __kind is where glibc has it and 0 is "free"; __owner and
// __count mean the same. The lock word is parking_lot's: LOCKED, and PARKED while somebody may be queued on the word's address.
//   fast lock    0 -> LOCKED
//   fast unlock  LOCKED -> 0, which fails when PARKED is set; then the word is changed under the lot's bucket lock
// PARKED is set by a waiter (or by a signaller that moves waiters here) before anybody queues and taken back only under the
// bucket's lock, when the last one has left. So an unlocker that sees no PARKED owes no wake-up.
#pragma once
#include <pthread.h>
#include "hooks/hook.hpp"
#include "hooks/thread.hpp"

namespace gmp {

inline constexpr int kMutexLocked = 1, kMutexParked = 2;

// __kind: the two low bits are the type (PTHREAD_MUTEX_*_NP), the others as in glibc. kMutexShared stands only on process-shared
// mutexes here; glibc sets it on every robust one, pthread_mutex_init takes it off again where it isn't meant.
inline constexpr int kMutexType = 3, kMutexRobust = 16, kMutexInherit = 32, kMutexProtect = 64, kMutexShared = 128;
// libc's own, in the kernel: those in which other processes, or the kernel, read the owner's id, and those that raise its priority. The G is
// locked to its kernel thread while it holds one (mutex_kernel.cpp).
inline constexpr bool mutex_kernels(int kind) {
  return (kind & kMutexProtect) || ((kind & kMutexShared) && (kind & (kMutexRobust | kMutexInherit)));
}
// Not our protocol: libc's.
inline constexpr bool mutex_libcs(int kind) { return kind & (kMutexShared | kMutexProtect); }
inline constexpr int kMutexElision = 0x300; // hints that mean nothing here

// __owner of a robust mutex, besides a thread id (glibc's values for the first two; it keeps the third in its lock word).
inline constexpr int kOwnerInconsistent = 0x7fffffff, kOwnerNotRecoverable = 0x7ffffffe, kOwnerDied = 0x7ffffffd;

// Token of a waiter that was given the still locked word.
inline constexpr uintptr_t kMutexHandedOver = 1;

inline std::atomic_ref<int> mutex_word(pthread_mutex_t* m) { return std::atomic_ref<int>(m->__data.__lock); }
inline const void* mutex_key(const pthread_mutex_t* m) { return &m->__data.__lock; }
inline int mutex_kind(const pthread_mutex_t* m) {
  return __atomic_load_n(&m->__data.__kind, __ATOMIC_RELAXED) & ~kMutexElision;
}
inline int mutex_self() {
  int t = self()->tid;
  return GMP_LIKELY(t != 0) ? t : self_tid();
}

// libc's __libc_single_threaded, which is not in every libc that loads us; a no before the constructor has run.
extern const char* g_single_threaded;

// The one thread there is needs no locked instruction (glibc saves it too). The flag is false for good once a second thread of any
// kind has been made.
inline bool mutex_alone() { return *g_single_threaded && mode() == Mode::Unstarted; }

// When a timed call gives up. The time is looked at only by who has to wait, as glibc does.
struct Until {
  clockid_t clock;
  const timespec* abs;
};

// A plain mutex's holder, for debuggers and dumps alone, and only while it is locked: nobody takes it back. (No __owner on the fast paths
// before the first thread is made.)
inline void mutex_note_owner(pthread_mutex_t* m, int tid) { __atomic_store_n(&m->__data.__owner, tid, __ATOMIC_RELAXED); }

// The bare word, without owner. The timed one gives 0, ETIMEDOUT or EINVAL; the others cannot fail.
inline bool mutex_try_word(pthread_mutex_t* m) {
  auto word = mutex_word(m);
  int w = word.load(std::memory_order_relaxed);
  while (!(w & kMutexLocked))
    if (word.compare_exchange_weak(w, w | kMutexLocked, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}
int mutex_acquire_slow(pthread_mutex_t*, const Until*);
void mutex_release_slow(pthread_mutex_t*);
inline int mutex_acquire(pthread_mutex_t* m, const Until* u) {
  int w = 0;
  if (GMP_LIKELY(mutex_word(m).compare_exchange_strong(w, kMutexLocked, std::memory_order_acquire, std::memory_order_relaxed)))
    return 0;
  return mutex_acquire_slow(m, u);
}
inline void mutex_release(pthread_mutex_t* m) {
  int w = kMutexLocked;
  if (GMP_LIKELY(mutex_word(m).compare_exchange_strong(w, 0, std::memory_order_release, std::memory_order_relaxed))) return;
  mutex_release_slow(m);
}

// Whole mutexes of any kind, process-shared ones too, in any mode: what pthread_mutex_lock and so on do.
int mutex_lock_any(pthread_mutex_t*, const Until*);
int mutex_trylock_any(pthread_mutex_t*);
int mutex_unlock_any(pthread_mutex_t*);
int mutex_destroy(pthread_mutex_t*);
// Owner's bookkeeping once the word is ours: 0, EOWNERDEAD or (released again) ENOTRECOVERABLE.
int mutex_acquired(pthread_mutex_t*, int kind);
// 0, or EPERM when the calling thread may not unlock it.
int mutex_check_unlock(pthread_mutex_t*, int kind);

// For condition variables, under the lot's bucket locks of both.
inline bool mutex_mark_parked_if_locked(pthread_mutex_t* m) {
  auto word = mutex_word(m);
  int w = word.load(std::memory_order_relaxed);
  while (w & kMutexLocked)
    if (word.compare_exchange_weak(w, w | kMutexParked, std::memory_order_relaxed)) return true;
  return false;
}
inline void mutex_mark_parked(pthread_mutex_t* m) { mutex_word(m).fetch_or(kMutexParked, std::memory_order_relaxed); }
inline void mutex_clear_parked(pthread_mutex_t* m) { mutex_word(m).fetch_and(~kMutexParked, std::memory_order_relaxed); }

// Those of mutex_kernels(), and libc's functions on them (mutex_kernel.cpp).
int kernel_mutex_lock(pthread_mutex_t*, int kind, bool wait, const Until*);
int kernel_mutex_unlock(pthread_mutex_t*);
int kernel_mutex_tid(); // whose the calling thread's are: a kernel thread's id
// f() with that in the TCB, from where libc takes it.
template <class F> inline int with_kernel_tid(F f) {
  G* g = getg();
  const int tid = g ? own_m_tid(g) : 0;
  if (!tid) return f();
  const int was = swap_libc_tid(tid), r = f();
  swap_libc_tid(was);
  return r;
}

// Robust mutexes (mutex_robust.cpp).
int robust_acquired(pthread_mutex_t*);
void robust_unlink(pthread_mutex_t*);
// At a thread's end, on the thread, after its last code of the program has run: the mutexes it still holds go to their next
// owners with EOWNERDEAD.
void robust_owner_died();

} // namespace gmp
