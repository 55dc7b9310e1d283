// What the user may set in the environment:
//   GMP_MAXPROCS=N        number of Ps
//   GMP_STACK=BYTES       cap on stack sizes, with K, M or G after it
//   GMP_DEBUG=key=value,...  schedtrace=MS scheddetail=0|1 blocktrace=0|1|2 chaos=SEED verbose=0|1 detours=0|1 preempt=0|1
//                         maxms=N dumpsig=N deadlock=report|abort
//   GMP_DISABLE=1         run natively
//   GMP_CHILDREN=0        programs that this one starts run natively
#pragma once
#include "runtime/gmp.hpp"

namespace gmp {

enum class Settings { Good, Disabled, Bad };

// Reads them into `config`. Bad: one line on stderr has said which and what to do; nothing of `config` counts then.
// Runs before libc's own start-up code: nothing but plain memory reads and, on Bad, one write.
// children: shall programs that this one starts be served too?
Settings read_settings(char** envp, Config& config, bool& children);

// GMP_CHILDREN=0: takes this library out of LD_PRELOAD, for the children's sake.
void leave_children_alone(char** envp);

} // namespace gmp
