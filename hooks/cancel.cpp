// Cancellation. State, type and the request itself live in libc's word in the TCB: pthread_setcancelstate, pthread_setcanceltype,
// pthread_testcancel and the cleanup handlers of both C forms are libc's own and not hooked, and a request acts in every
// cancellation point of libc, hooked or not. Hooked here is only the request, because libc would send it to a kernel thread by a G's tid.
#include "hooks/signal.hpp"
#include "hooks/thread_libc.hpp"
#include <gnu/libc-version.h>

namespace gmp {

GMP_REAL(pthread_cancel);

// The bits that mean "cancelled", 0 until the first request. They differ between versions of libc (two bits until 2.40, one since), so they
// are learnt by cancelling a made-up thread. Written once (racing writers agree); relaxed: whoever sees a word with the bits was
// cancelled by someone who had stored them, and reads its own word at the next point again.
static constinit std::atomic<uint32_t> g_cancelled{0};

static uint32_t cancelled_bits() {
  uint32_t bits = g_cancelled.load(std::memory_order_relaxed);
  if (bits || !libc_thread_init()) return bits;
  // Cancellation disabled there: then libc has nobody to signal. This also loads libgcc_s, as libc does at the first request.
  alignas(64) static char nobody[8192];
  if (g_libc_thread.size > sizeof nobody) return 0;
  auto* word = reinterpret_cast<std::atomic<uint32_t>*>(nobody + g_libc_thread.cancel);
  *reinterpret_cast<volatile int*>(nobody + g_libc_thread.tid) = 1;
  word->fetch_or(g_libc_thread.cancel_disabled);
  REAL(pthread_cancel)(reinterpret_cast<pthread_t>(nobody));
  stop_signal_install(); // libc has just set its own
  bits = word->load() & ~g_libc_thread.cancel_disabled;
  g_cancelled.store(bits, std::memory_order_relaxed);
  return bits;
}

bool cancel_pending() {
  uint32_t bits = g_cancelled.load(std::memory_order_relaxed);
  if (GMP_LIKELY(!bits)) return false;
  uint32_t word = cancel_word(arch::thread_pointer())->load(std::memory_order_relaxed);
  return (word & (bits | g_libc_thread.cancel_disabled)) == bits;
}

// libc looks again, and does nothing in a thread that is ending already.
void test_cancel() {
  self()->handler_ran = self()->handler_no_restart = false;
  if (GMP_LIKELY(!cancel_pending())) return;
  self()->vfork_child = false; // left from within system()
  pthread_testcancel();
}

bool cancel_async_pending() {
  return cancel_pending() && (cancel_word(arch::thread_pointer())->load(std::memory_order_relaxed) & g_libc_thread.cancel_async);
}

// Since 2.41 libc does not mark its cancellable system calls in the word: its handler looks where the thread stands.
static bool libc_looks_at_pc() {
  const char* v = gnu_get_libc_version(); // "2.36"
  return v[0] == '2' && v[1] == '.' && (v[2] > '4' || (v[2] == '4' && v[3] >= '1'));
}

static void stopped_in_program(int sig, void* info, void* context, void* libc_handler) {
  run_stopped(context);
  if (!cancel_pending()) return;
  if (cancel_async_pending()) {
    set_delivering(false);
    pthread_testcancel(); // does not come back
  }
  if (uintptr_t(libc_handler) > 1) reinterpret_cast<void (*)(int, void*, void*)>(libc_handler)(sig, info, context);
}

void cancel_start() { g_stopped_in_program = stopped_in_program; }

bool cancel_requested(pthread_t t) {
  uint32_t bits = g_cancelled.load(std::memory_order_relaxed);
  return bits && (cancel_word(uintptr_t(t))->load(std::memory_order_relaxed) & bits);
}

} // namespace gmp

using namespace gmp;

// 0 for threads that have ended, as libc says it.
GMP_HOOK int pthread_cancel(pthread_t t) {
  if (native()) return REAL(pthread_cancel)(t);
  uint32_t bits = cancelled_bits();
  if (!bits || t == pthread_self()) return REAL(pthread_cancel)(t);
  G* g = g_of_handle(t);
  if (!g && (mode() != Mode::Running || libc_thread(t))) {
    const int r = REAL(pthread_cancel)(t);
    stop_signal_install();
    return r;
  }
  if (!g || thread_at(t)->life.load(std::memory_order_relaxed) == Thread::Dead) return 0;
  // Before the interrupt, which is ordered: a target that goes to wait later sees either.
  uint32_t old = cancel_word(uintptr_t(t))->fetch_or(bits, std::memory_order_seq_cst);
  if ((old & bits) == bits || (old & g_libc_thread.cancel_disabled) || interrupt(g)) return 0;
  // In program code that may be left anywhere, or in a system call inside libc (fgets, getaddrinfo).
  if ((old & g_libc_thread.cancel_async) || libc_looks_at_pc()) stop_running(g);
  return 0;
}
