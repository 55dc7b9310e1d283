// The alternate signal stack of each M (Go's gsignal). The kernel enters it for a fault, because the G's own stack may be used up; it
// belongs to the kernel thread, so nothing that could wait runs there: the frame goes on to where the thread would have had it
// (hooks/signal_stack.cpp), before the program's handler is called.
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

constexpr size_t kSize = 32 << 10; // a frame with AMX state takes 12 KB

// By the thread itself, with no G on it.
void gsignal_install(M* m) {
  if (!m->gsignal) {
    long r = sys(SYS_mmap, 0, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r < 0) return; // a fault on a stack without room then kills without a word
    m->gsignal = reinterpret_cast<char*>(r); // for good, as the record
  }
  struct { void* sp; int flags; size_t size; } s{m->gsignal, 0, kSize};
  sys(SYS_sigaltstack, &s, 0);
}

bool on_gsignal(const G* g, const void* sp) {
  const M* m = g->m;
  return m && m->gsignal && size_t(static_cast<const char*>(sp) - m->gsignal) < kSize;
}

StackExtent stack_extent(const G* g) {
  if (g->map) return {uintptr_t(g->stack_lo), uintptr_t(g->stack_top), g->user_stack ? 0 : g->guard_size};
  // Main's grows down to its limit; the kernel keeps a gap of 1 MB below it free. The program's name lies at its very top.
  rlimit64 rl{};
  if (sys(SYS_prlimit64, 0, RLIMIT_STACK, 0, &rl) != 0 || rl.rlim_cur == RLIM64_INFINITY) return {};
  const uintptr_t top = align_up(getauxval(AT_EXECFN), kPage);
  return {top - rl.rlim_cur, top, 1 << 20};
}

} // namespace gmp
