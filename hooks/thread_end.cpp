// The end of a thread, in libc's order: thread_local destructors, key destructors, the process if it was the last, then the G.
#include <cstdlib>
#include "hooks/fdkeep.hpp"
#include "hooks/mutex.hpp"
#include "hooks/signal.hpp"
#include "hooks/thread_libc.hpp"
#include "hooks/tid_address.hpp"

namespace gmp {

// On g0: the G's stack is free. Release: the joiner that sees Exited sees the result and all that the thread wrote. Once Exited is
// set without Detached the G is the joiner's, who may have freed it by the time of the wake: the address alone is used there.
static void on_dead(G* g, void*) {
  Thread* t = thread_at(thread_pointer_of(g));
  t->life.store(Thread::Dead, std::memory_order_seq_cst); // pairs with to_g(), which adds, then looks
  if (GMP_UNLIKELY(t->sig_pending.load(std::memory_order_seq_cst))) drop_pending(of_thread(g), ~0ull);
  tid_address_clear(t);
  uint32_t before = t->join.fetch_or(Thread::Exited, std::memory_order_acq_rel);
  if (before & Thread::Detached) free_g(g);
  else if (before & Thread::Joining) wake(&t->join, 1);
}

void thread_finish(bool main_landing) {
  if (!main_landing && g_libc_thread.call_tls_dtors) g_libc_thread.call_tls_dtors();
  run_key_destructors();
  robust_owner_died();
  fd_unhold(); // of a call that was left by longjmp or cancelled anywhere
  tcache_flush();
  // Without a G: the only thread of a child that was forked in a G.
  if (!getg() || g_alive.fetch_sub(1, std::memory_order_acq_rel) == 1) exit(0);
  // It may be the last to take a signal: then nobody does any more.
  G *g = getg(), *m = main_g();
  if (g == m || !alive(m) || GMP_UNLIKELY(~get_sigmask(g) & get_sigmask(m) & ~kUnblockable)) change_g_mask(~0ull);
  exit_g(on_dead, nullptr);
}

// exit of this thread alone, by syscall(): nothing of the program's or of libc's runs.
void thread_vanish(int status) {
  robust_owner_died();
  fd_unhold();
  if (g_alive.fetch_sub(1, std::memory_order_acq_rel) == 1) sys(SYS_exit_group, status);
  exit_g(on_dead, nullptr);
}

} // namespace gmp
