// "Who blocked my P": what the kernel says a kernel thread is doing, and the books of calls that held a P unannounced.
#pragma once
#include "runtime/g.hpp"

namespace gmp {

// Is m blocked in the kernel? brief: on something that another M could get on without. sysmon only.
bool in_kernel(M* m, bool brief);

// sysmon has taken the P from m, on which g runs; before g can find out.
void block_begins(M* m, G* g);
// g is back in the runtime. Cheap when it had not blocked.
void block_ends_slow(G* g);
inline void block_ends(G* g) {
  if (GMP_UNLIKELY(g->blocked_call != 0)) block_ends_slow(g);
}
long blocked_calls(); // so far
// GMP_DEBUG=blocktrace=1: the books on stderr, at the process's end.
void blocktrace_report();
// blocktrace=2: a thread of its own unwinds the stacks, for libunwind takes ld.so's locks. Once, at the start.
void blocktrace_start();

} // namespace gmp
