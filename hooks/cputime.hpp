// Clocks of processor time of single threads, which are Gs (runtime: g_cpu_time).
#pragma once
#include "hooks/hook.hpp"

namespace gmp {

// Is it a clock of a G's? Gone: of one that has ended.
enum class CpuClock { No, Gone, Yes };
CpuClock g_of_clock(clockid_t clock, G** g);
// clock_gettime, clock_getres and getrusage by syscall(). False: not of a G's clock.
bool cpu_raw_call(long n, long a, long b, long* r);
// A timer on a thread's clock is the kernel's, on the clock of a kernel thread that this G then has for itself. (That has counted from its own
// start: absolute times of such a timer are off by what was used elsewhere.) 0 or -errno.
long kernel_clock_for_timer(clockid_t*);

} // namespace gmp
