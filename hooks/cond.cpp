// Condition variables. Ours is one word: the mutex that the waiters came with, null when there are none. A signal moves a waiter to
// the mutex when that is locked, so that nobody is woken only to block again (parking_lot's Condvar, WebKit's idea).
//
// The word changes under the lot's bucket lock of the word's address only. Lost wake-ups cannot be: a waiter is queued before it
// unlocks the mutex, so a signaller that has changed the predicate under the mutex since sees the word.
// A waiter whose wait a signal has ended leaves the queue, runs the handler and queues again. Meanwhile it is a visitor, which the variable
// counts: a post that finds nobody queued is credited to one, and whoever comes back to a credit has been woken.
// Destruction: a waiter that was woken does not touch the variable any more, so it may be destroyed once all were signalled.
#include <cstring>
#include "hooks/cond.hpp"
#include "hooks/shared_layout.hpp"

namespace gmp {

namespace {

GMP_REAL_V(pthread_cond_init, "GLIBC_2.3.2");
GMP_REAL_V(pthread_cond_destroy, "GLIBC_2.3.2");
GMP_REAL_V(pthread_cond_wait, "GLIBC_2.3.2");
GMP_REAL_V(pthread_cond_timedwait, "GLIBC_2.3.2");
GMP_REAL(pthread_cond_clockwait);
GMP_REAL_V(pthread_cond_signal, "GLIBC_2.3.2");
GMP_REAL_V(pthread_cond_broadcast, "GLIBC_2.3.2");

// Under the bucket's lock, but for a look at the word. A handler that never returns (longjmp) leaves its visit behind: posts are slower then.
struct Ours {
  void* state;
  uint32_t visitors, credits; // credits <= visitors
};
Ours& ours(pthread_cond_t* c) { return *reinterpret_cast<Ours*>(c); }

constinit SharedWord g_layout;

GMP_NOINLINE void learn(SharedWord& l) {
  pthread_condattr_t attr;
  pthread_cond_t plain, shared, mono;
  memset(&plain, 0, sizeof plain);
  memset(&shared, 0, sizeof shared);
  memset(&mono, 0, sizeof mono);
  pthread_condattr_init(&attr);
  REAL(pthread_cond_init)(&plain, &attr);
  pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  REAL(pthread_cond_init)(&shared, &attr);
  pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_PRIVATE);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  REAL(pthread_cond_init)(&mono, &attr);
  pthread_condattr_destroy(&attr);
  auto* p = reinterpret_cast<const uint32_t*>(&plain);
  uint32_t where;
  if (!l.find(p, reinterpret_cast<const uint32_t*>(&shared), sizeof plain / 4, &where) || where * 4 < sizeof(Ours))
    die("this libc's condition variables are unknown: unset LD_PRELOAD or use GMP_DISABLE=1");
  l.clock = reinterpret_cast<const uint32_t*>(&mono)[where] & ~l.shared;
  l.offset.store(where * 4, std::memory_order_release);
}

const SharedWord& layout() { return g_layout.get(learn); }

// The word: null, a mutex, or this: waiters that can't be moved (a process-shared mutex, several mutexes, a recursive one held twice), or visitors.
void* const kUnmovable = reinterpret_cast<void*>(1);
std::atomic_ref<void*> state_of(pthread_cond_t* c) { return std::atomic_ref<void*>(ours(c).state); }
// The last one has left the queue.
void none_queued(pthread_cond_t* c) { state_of(c).store(ours(c).visitors ? kUnmovable : nullptr, std::memory_order_relaxed); }

int real_wait(pthread_cond_t* c, pthread_mutex_t* m, const Until* u) {
  if (!u) return REAL(pthread_cond_wait)(c, m);
  return REAL(pthread_cond_clockwait)(c, m, u->clock, u->abs);
}

// A process-shared variable is libc's. libc's wait must not unwind from here, where the P is given away: cancellation is kept off.
int shared_wait(pthread_cond_t* c, pthread_mutex_t* m, const Until* u) {
  test_cancel();
  int state;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
  int r;
  const int kind = mutex_kind(m);
  if (mutex_libcs(kind)) {
    r = with_kernel_tid([&] {
      enter_syscall_waits();
      const int e = real_wait(c, m, u);
      exit_syscall();
      return e;
    });
    if (r == ENOTRECOVERABLE && mutex_kernels(kind)) unlock_from_m(); // no longer held
  } else if ((r = mutex_check_unlock(m, kind)) == 0) {
    // libc can't unlock our mutex, and there is no way to unlock it between its queueing and its sleep. So it waits with a mutex of
    // its own for a short while, and what may have been missed comes out as the spurious wake-up that POSIX allows.
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    own.__data.__lock = 1; // locked, in libc's protocol
    own.__data.__nusers = 1;
    timespec slice;
    clockid_t clock = u ? u->clock : CLOCK_MONOTONIC;
    clock_gettime(clock, &slice);
    if ((slice.tv_nsec += 10'000'000) >= 1'000'000'000) slice.tv_sec++, slice.tv_nsec -= 1'000'000'000;
    bool last = u && (u->abs->tv_sec < slice.tv_sec || (u->abs->tv_sec == slice.tv_sec && u->abs->tv_nsec < slice.tv_nsec));
    Until part{clock, last ? u->abs : &slice};
    mutex_unlock_any(m);
    enter_syscall_waits();
    r = real_wait(c, &own, &part);
    exit_syscall();
    if (r == ETIMEDOUT && !last) r = 0;
    int e = mutex_lock_any(m, nullptr);
    if (e) r = e;
  }
  pthread_setcancelstate(state, nullptr);
  test_cancel();
  return r;
}

} // namespace

int cond_wait(pthread_cond_t* c, pthread_mutex_t* m, const Until* u) {
  if (GMP_UNLIKELY(layout().is_shared(c))) return shared_wait(c, m, u);
  WaitOpts o;
  if (u && !deadline_from(u->clock, u->abs, &o.deadline)) return EINVAL;
  int kind = mutex_kind(m);
  if (kind != 0)
    if (int e = mutex_check_unlock(m, kind)) return e;
  test_cancel();

  // A recursive mutex is given up once only, as glibc does it: held twice, it stays ours while we wait.
  bool movable = !mutex_libcs(kind) && !((kind & kMutexType) == PTHREAD_MUTEX_RECURSIVE && m->__data.__count > 1);
  // Waiting users keep the mutex from being destroyed. (A robust one uses the field otherwise and may always be.)
  bool counted = !mutex_libcs(kind) && !(kind & kMutexRobust);
  if (counted) m->__data.__nusers++;

  auto state = state_of(c);
  void* const mine = movable ? m : kUnmovable;
  uintptr_t token = 0;
  bool unlocked = false, consumed = false, visiting = false;
  Wait w;
  o.token = &token;
  o.ended = &w;
  o.why = WaitReason::Cond;
  auto end_visit = [&] { // true: a post has come meanwhile
    Ours& v = ours(c);
    visiting = false;
    const bool credited = v.credits > 0 && v.credits--;
    __atomic_store_n(&v.visitors, v.visitors - 1, __ATOMIC_RELEASE); // with a credit it may be destroyed from here on
    return credited;
  };
  auto validate = [&] {
    if (GMP_UNLIKELY(visiting) && end_visit()) return false;
    void* s = state.load(std::memory_order_relaxed);
    if (s != mine) state.store(s ? kUnmovable : mine, std::memory_order_relaxed);
    return true;
  };
  auto unlock = [&] {
    if (GMP_UNLIKELY(unlocked)) return;
    unlocked = true;
    if (GMP_UNLIKELY(kind != 0))
      mutex_unlock_any(m);
    else if (mutex_word(m).load(std::memory_order_relaxed) == kMutexLocked)
      mutex_release(m);
    else // who waits has often just signalled, and so moved somebody here: no use trying to swap
      mutex_release_slow(m);
  };
  // Took itself out of a queue: the variable's, or the mutex's after a signal has moved it there. That signal is consumed then.
  auto gone = [&](const void* key, bool last) {
    if (key == c) {
      if (w == Wait::Interrupted) {
        visiting = true;
        ours(c).visitors++;
        state.store(kUnmovable, std::memory_order_relaxed);
      } else if (last) {
        none_queued(c);
      }
    } else {
      consumed = true;
      if (last) mutex_clear_parked(m);
    }
  };
  bool cancelled = false;
  while ((w = wait_on(c, validate, unlock, gone, o)) == Wait::Interrupted && !consumed) {
    // Handlers run before the mutex is ours again, as they would natively, cancellation after (its cleanup handlers own the mutex).
    after_interrupt(true, false);
    if (!visiting) break; // a waker had it out of the queue already
    if (!cancel_pending()) continue;
    // Whoever was signalled does not act on a cancellation here, or the signal would be lost.
    wait_on(c, [&] { return cancelled = !end_visit(), false; }, {}, {}, {});
    break;
  }
  int e = 0;
  if (GMP_LIKELY(unlocked)) {
    if (token == kMutexHandedOver) {
      e = mutex_acquired(m, kind);
    } else if (GMP_LIKELY(kind == 0)) {
      mutex_acquire(m, nullptr);
      mutex_note_owner(m, self()->tid);
    } else {
      e = mutex_lock_any(m, nullptr);
    }
  }
  if (counted) m->__data.__nusers--;
  if (cancelled) test_cancel();
  return e ? e : w == Wait::Timeout && !consumed ? ETIMEDOUT : 0;
}

namespace {

// `all` waiters or one. With the mutex locked they are moved to its queue; else one is woken and, of all, the others wait
// for the mutex behind it.
GMP_NOINLINE void notify(pthread_cond_t* c, bool all) {
  auto state = state_of(c);
  for (;;) {
    void* s = state.load(std::memory_order_relaxed);
    if (!s) return;
    if (s == kUnmovable) {
      if (all) {
        auto none_left = [&](size_t&, size_t&) {
          ours(c).credits = ours(c).visitors;
          none_queued(c);
          return true;
        };
        requeue(c, c, SIZE_MAX, 0, none_left, [](size_t, size_t, size_t) {});
      } else {
        wake_one(c, [c](Unpark u) -> uintptr_t {
          Ours& v = ours(c);
          if (!u.woke && v.credits < v.visitors) v.credits++;
          if (!u.more) none_queued(c);
          return 0;
        });
      }
      return;
    }
    // While the word names the mutex somebody waits who needs it again: it exists. That is certain under the lock only.
    auto* m = static_cast<pthread_mutex_t*>(s);
    bool stale = false, parked = false;
    auto decide = [&](size_t& n_wake, size_t& n_move) {
      if (state.load(std::memory_order_relaxed) != s) {
        stale = true;
        return false;
      }
      parked = mutex_mark_parked_if_locked(m);
      n_wake = parked ? 0 : 1;
      n_move = all ? SIZE_MAX : parked ? 1 : 0;
      if (all) state.store(nullptr, std::memory_order_relaxed); // none will remain
      return true;
    };
    auto after = [&](size_t, size_t moved, size_t left) {
      if (all && moved && !parked) mutex_mark_parked(m);
      if (!all && !left) state.store(nullptr, std::memory_order_relaxed);
    };
    requeue(c, mutex_key(m), 1, all ? SIZE_MAX : 1, decide, after);
    if (!stale) return;
  }
}

int post(pthread_cond_t* c, bool all) {
  if (GMP_UNLIKELY(layout().is_shared(c))) return all ? REAL(pthread_cond_broadcast)(c) : REAL(pthread_cond_signal)(c);
  if (state_of(c).load(std::memory_order_acquire)) notify(c, all);
  return 0;
}

} // namespace

int cond_signal(pthread_cond_t* c) { return GMP_UNLIKELY(native()) ? REAL(pthread_cond_signal)(c) : post(c, false); }
int cond_broadcast(pthread_cond_t* c) { return GMP_UNLIKELY(native()) ? REAL(pthread_cond_broadcast)(c) : post(c, true); }

} // namespace gmp

using namespace gmp;

// libc has most of these in two versions. Who stands before us and passes calls on (faketime, mutrace) asks for one of them by dlvsym, which, unlike
// ld.so for a program, does not take a name without a version for it: it would find libc's, to which the words of a variable mean something else than
// to us. So they are exported in both, under which programs and dlsym find them too.
#define GMP_BOTH_VERSIONS(name)                                                                                        \
  GMP_ALIAS(old_cond_##name, our_cond_##name);                                                                         \
  asm(".symver our_cond_" #name ", pthread_cond_" #name "@@GLIBC_2.3.2, remove");                                      \
  asm(".symver old_cond_" #name ", pthread_cond_" #name "@GLIBC_2.2.5, remove")

// libc's judges the attributes and writes the words that tell clock and sharing.
GMP_HOOK int our_cond_init(pthread_cond_t* c, const pthread_condattr_t* attr) {
  if (attr || native()) return REAL(pthread_cond_init)(c, attr);
  memset(c, 0, sizeof *c);
  return 0;
}

GMP_HOOK int our_cond_destroy(pthread_cond_t* c) {
  if (!native() && !layout().is_shared(c)) {
    while (GMP_UNLIKELY(__atomic_load_n(&ours(c).visitors, __ATOMIC_ACQUIRE) > 0)) sleep_until(nanotime() + 1000000);
    return 0;
  }
  enter_syscall_waits(); // libc waits for waiters that are on their way out
  int r = REAL(pthread_cond_destroy)(c);
  exit_syscall();
  return r;
}

GMP_HOOK int our_cond_signal(pthread_cond_t* c) { return cond_signal(c); }
GMP_HOOK int our_cond_broadcast(pthread_cond_t* c) { return cond_broadcast(c); }

GMP_HOOK int our_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) {
  if (native()) return REAL(pthread_cond_wait)(c, m);
  return cond_wait(c, m, nullptr);
}

GMP_HOOK int our_cond_timedwait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* abs) {
  if (native()) return REAL(pthread_cond_timedwait)(c, m, abs);
  if (uint64_t(abs->tv_nsec) >= 1'000'000'000) return EINVAL;
  Until u{layout().word(c) & layout().clock ? CLOCK_MONOTONIC : CLOCK_REALTIME, abs};
  return cond_wait(c, m, &u);
}

GMP_HOOK int pthread_cond_clockwait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock, const timespec* abs) {
  if (native()) return REAL(pthread_cond_clockwait)(c, m, clock, abs);
  if (uint64_t(abs->tv_nsec) >= 1'000'000'000 || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)) return EINVAL;
  Until u{clock, abs};
  return cond_wait(c, m, &u);
}

GMP_BOTH_VERSIONS(init);
GMP_BOTH_VERSIONS(destroy);
GMP_BOTH_VERSIONS(signal);
GMP_BOTH_VERSIONS(broadcast);
GMP_BOTH_VERSIONS(wait);
GMP_BOTH_VERSIONS(timedwait);
