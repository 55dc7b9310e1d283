// Sending signals, and the family's system calls by number.
#pragma once
#include "hooks/signal.hpp"

namespace gmp {

G* g_of_tid(int tid); // null: no G's
// kill, tkill, tgkill, rt_sigqueueinfo and rt_tgsigqueueinfo: the raw result.
long send_call(long n, long a, long b, long c, long d);
long make_timer(clockid_t clock, const sigevent* event, int* id);
// syscall(): true when the call is one of this family's, and served.
bool signal_raw_call(long n, long a, long b, long c, long d, long* r);

} // namespace gmp
