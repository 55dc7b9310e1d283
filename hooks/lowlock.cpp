// Who waits where: a G in program code waits in the lot; g0, kernel threads that are no Gs and a G inside the runtime (making a
// stack may call malloc) wait in the kernel. Either takes the lock with 2 in the word, so one wake for each unlock is enough,
// wherever it goes - but who waits in the kernel is woken in any case: it may be the thread that makes kernel threads, and a G woken in its
// place may need one first.
//     waiter: kernel_waiters += 1; the kernel compares the word with 2
//     waker:  word = 0 (libc's exchange, a full barrier); the lot; kernel_waiters?
#include "hooks/lowlock.hpp"
#include <linux/futex.h>
#include "hooks/fdtable.hpp"
#include "hooks/signal.hpp"

namespace gmp {
namespace {

constinit std::atomic<long> g_kernel_waiters{0};

// libc takes some locks with all signals blocked by a system call of its own (getrandom's buffers and abort's lock in 2.41, sigaction's users): the next G on this
// kernel thread would run like that, and the waiter go on elsewhere without. So the G's mask stands while it waits, and libc's again afterwards.
class LibcMask {
  uint64_t libc_ = 0;
  bool differs_;

public:
  LibcMask() {
    const uint64_t known = get_sigmask(getg());
    sys(SYS_rt_sigprocmask, 0, 0, &libc_, 8);
    differs_ = ((libc_ ^ known) & ~(sigbit(SIGKILL) | sigbit(SIGSTOP))) != 0;
    if (GMP_UNLIKELY(differs_)) sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &known, 0, 8);
  }
  void put_back() const {
    if (GMP_UNLIKELY(differs_)) sys(SYS_rt_sigprocmask, 2, &libc_, 0, 8);
  }
};

// Not the word's own address: a program's late wake of memory that was a lock of another kind must not come here.
const void* key_of(int* word) { return reinterpret_cast<const char*>(word) + 2; }

} // namespace

void lowlock_wait(int* word) {
  while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0) {
    if (io_g() && signal_context_ok()) {
      const LibcMask mask;
      keep_running(true);
      Wait x = wait_on(key_of(word), [&] { return __atomic_load_n(word, __ATOMIC_SEQ_CST) == 2; }, {}, {}, {.why = WaitReason::LibcLock});
      keep_running(false);
      mask.put_back();
      // A handler runs on the way out of the next verb, as it may in the kernel's wait; a cancellation acts at the next point, this is none.
      if (GMP_UNLIKELY(x == Wait::Interrupted)) request_signals(getg());
      continue;
    }
    g_kernel_waiters.fetch_add(1, std::memory_order_seq_cst);
    sys(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, 0);
    g_kernel_waiters.fetch_sub(1, std::memory_order_relaxed);
  }
}

// Between libc's fork and what is run after it (process.cpp). The child has a copy of the lot, with whatever locks were held in it, and nobody
// waits. In the parent the wake may take the G to another kernel thread: it is the one of now that has made the child.
static bool marks_fork_or_is_child() {
  const int pid = self()->forking;
  if (GMP_LIKELY(pid == 0)) return false;
  if (sys(SYS_getpid) != pid) return true;
  has_child();
  return false;
}

void lowlock_wake(int* word) {
  if (marks_fork_or_is_child()) return;
  keep_running(true); // there may be others that it holds
  wake(key_of(word), 1);
  keep_running(false);
  if (g_kernel_waiters.load(std::memory_order_seq_cst) > 0)
    sys(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

void lowlock_wait_for(int* word, int shared) {
  if (!shared) return lowlock_wait(word);
  while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0) sys(SYS_futex, word, FUTEX_WAIT, 2, 0);
}

// Those who wait with a time limit do so in libc's own code and are not counted.
void lowlock_wake_for(int* word, int shared) {
  if (shared) sys(SYS_futex, word, FUTEX_WAKE, 1);
  if (shared || marks_fork_or_is_child()) return;
  keep_running(true); // waiting its turn here it would keep those who wait in the kernel
  const bool nobody = wake(key_of(word), 1) == 0;
  keep_running(false);
  if (nobody || g_kernel_waiters.load(std::memory_order_seq_cst) > 0) sys(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

} // namespace gmp
