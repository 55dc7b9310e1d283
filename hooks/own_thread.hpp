// Calls that change what the kernel keeps for each of its threads: the G gets a kernel thread of its own (runtime: own_m), and they are made there.
#pragma once
#include "hooks/thread.hpp"

namespace gmp {

// The raw call, by the calling thread for itself.
template <class... A> inline long own_sys(long n, A... a) {
  G* g = getg();
  if (!g) return sys(n, a...);
  self()->own_sched_only = false;
  return own_m(g, [&](int) { return sys(n, a...); });
}

// Is it such a call, with these arguments? For syscall() and prctl().
bool own_thread_call(long n, long a, long b);
// All of a call by number, with ids of ours in its arguments. False: it is none of these.
bool own_raw_call(long n, long a, long b, long c, long d, long e, long f, long* r);
bool sched_raw_call(long n, long a, long b, long c, long d, long* r);

// Of a kernel-like id of a thread (0: the caller): which G is meant? Kernel: none of ours, the number is the kernel's to judge.
enum class Whose { G, Gone, Kernel };
Whose thread_of_tid(int tid, G** g);
// The kernel thread that shows g's state: to ask the kernel about it.
int state_tid(const G* g);

} // namespace gmp
