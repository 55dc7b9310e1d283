// The memory of stacks: one mapping for each G, guard at the low end.
//
// MAP_STACK keeps huge pages away (a parked 8 MB stack cost 2 MB with THP). The guard is a guard marker where the kernel has
// them (Linux 6.13): it does not split the mapping, so neighbouring stacks stay one VMA and a million of them fit under
// vm.max_map_count. Older kernels: mprotect, as long as half the map count lasts, then no guard, with one warning.
// Lengths are never a multiple of 2 MB: the top pages of one stack and the guard marker of the next then share a page table.
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace gmp {

static std::atomic<int> guard_kind; // 0 unknown, 1 markers, 2 mprotect, 3 none
static std::atomic<long> guards_left;

static long max_map_count() {
  char b[32];
  long fd = sys(SYS_openat, AT_FDCWD, "/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC), n = 0, v = 0;
  if (fd < 0) return 65530;
  n = sys(SYS_read, fd, b, sizeof b);
  sys(SYS_close, fd);
  for (long i = 0; i < n && b[i] >= '0' && b[i] <= '9'; i++) v = v * 10 + (b[i] - '0');
  return v > 0 ? v : 65530;
}

static void install_guard(char* lo, size_t len) {
  int k = guard_kind.load(std::memory_order_relaxed);
  if (k <= 1) {
    if (sys(SYS_madvise, lo, len, MADV_GUARD_INSTALL) == 0) {
      guard_kind.store(1, std::memory_order_relaxed);
      return;
    }
    if (k == 1) return; // a single failure (memory): the stack works without
    guards_left.store(max_map_count() / 4, std::memory_order_relaxed); // each guard splits one mapping in two
    guard_kind.store(2, std::memory_order_relaxed);
    k = 2;
  }
  if (k == 2) {
    if (guards_left.fetch_sub(1, std::memory_order_relaxed) > 0 && sys(SYS_mprotect, lo, len, PROT_NONE) == 0) return;
    if (guard_kind.exchange(3) == 2)
      say("vm.max_map_count is used up: further thread stacks have no guard page (raise vm.max_map_count, or use Linux 6.13)");
  }
}

// Stacks are executable, as ld.so makes them, when a module asks for it (GCC's nested functions) or says nothing about it. For one that dlopen
// brings ld.so changes the stacks it knows; ours follow when code on one of them faults.
static int g_prot = PROT_READ | PROT_WRITE;
static constinit std::atomic<bool> g_late_exec{false};
static int wanted_prot() {
  int prot = PROT_READ | PROT_WRITE;
  auto look = [](dl_phdr_info* info, size_t, void* prot) {
    if (info->dlpi_addr == getauxval(AT_SYSINFO_EHDR)) return 0;
    unsigned flags = PF_X;
    for (int i = 0; i < info->dlpi_phnum; i++)
      if (info->dlpi_phdr[i].p_type == PT_GNU_STACK) flags = info->dlpi_phdr[i].p_flags;
    if (flags & PF_X) *static_cast<int*>(prot) |= PROT_EXEC;
    return 0;
  };
  dl_iterate_phdr(look, &prot);
  return prot;
}
void stack_learn() { g_prot = wanted_prot(); }

// In a signal handler, perhaps on the M's own stack, which the G must not leave: no verb, for a verb may run handlers, or park a G that has lost its P.
// The caller has blocked all signals; in_rt has whoever waits for a lock of ld.so's wait in the kernel.
bool stack_made_executable(G* g, uintptr_t pc) {
  if (g->exec_retried) return false;
  struct Inside {
    G* g;
    const uint8_t was;
    explicit Inside(G* x) : g(x), was(x->in_rt.load(std::memory_order_relaxed)) { g->in_rt.store(1, std::memory_order_relaxed); }
    ~Inside() { g->in_rt.store(was, std::memory_order_relaxed); }
  } inside_rt(g);
  const int prot = g_late_exec.load(std::memory_order_relaxed) ? 0 : wanted_prot(); // ld.so's lock is not taken within ours
  Locked l(sched.allg_lock);
  auto inside = [pc](const G* x) { return x->map && pc >= uintptr_t(x->stack_lo) && pc < uintptr_t(x->stack_top); };
  G* owner = sched.allg;
  while (owner && !inside(owner)) owner = owner->all_next;
  if (!owner || owner->user_stack) return false;
  auto allow = [](const G* x) {
    if (x->map && !x->user_stack) sys(SYS_mprotect, x->stack_lo, align_up(uintptr_t(x->stack_top), kPage) - uintptr_t(x->stack_lo), g_prot);
  };
  if (!g_late_exec.load(std::memory_order_relaxed)) {
    if (g_prot & PROT_EXEC) return false;
    if (!(prot & PROT_EXEC)) return false;
    g_prot = prot;
    g_late_exec.store(true, std::memory_order_relaxed);
    for (G* x = sched.allg; x; x = x->all_next) allow(x);
  } else {
    allow(owner); // mapped before, listed after
  }
  g->exec_retried = true;
  return true;
}

char* map_stack(size_t len, size_t guard) {
  long r = sys(SYS_mmap, 0, len, g_prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (r < 0) return nullptr;
  if (guard) install_guard(reinterpret_cast<char*>(r), guard);
  return reinterpret_cast<char*>(r);
}

void stack_trim(G* g) {
  if (g->user_stack || !g->map) return;
  // All but the page that the next thread's first frames touch anyway.
  char* hi = reinterpret_cast<char*>((uintptr_t(g->stack_top) - 1) & ~(kPage - 1));
  if (hi > g->stack_lo) sys(SYS_madvise, g->stack_lo, hi - g->stack_lo, MADV_DONTNEED);
}

// Room for one signal frame on top of what the program asked for: natively its handlers may have had an alternate stack, and a
// minimum-size stack must still take one. 3.4 KB with AVX-512, 11.6 KB with AMX live; the kernel tells.
size_t signal_slack() {
  static std::atomic<size_t> cached;
  size_t s = cached.load(std::memory_order_relaxed);
  if (s) return s;
  s = align_up(getauxval(51 /*AT_MINSIGSTKSZ*/), kPage);
  if (s < (12u << 10)) s = 12u << 10;
  cached.store(s, std::memory_order_relaxed);
  return s;
}

size_t default_stack_size() {
  static std::atomic<size_t> cached;
  size_t s = cached.load(std::memory_order_relaxed);
  if (s) return s;
  rlimit64 rl{};
  s = 8u << 20;
  if (sys(SYS_prlimit64, 0, RLIMIT_STACK, 0, &rl) == 0 && rl.rlim_cur != RLIM64_INFINITY && rl.rlim_cur >= 16384)
    s = align_up(rl.rlim_cur, kPage);
  if (g_config.stack_cap && s > g_config.stack_cap) s = g_config.stack_cap;
  cached.store(s, std::memory_order_relaxed);
  return s;
}

// Whole pages, as natively: programs protect pages at the low end (the JVM's guard zones). The top page's end may hold TLS, as it
// does there. A shell is used again for the same size only, so such a zone lies where the next thread's is.
StackBounds stack_bounds(const G* g) {
  if (!g->map) return {nullptr, 0, 0};
  if (g->user_stack) return {g->stack_lo, g->stack_size, g->guard_size};
  size_t size = align_up(g->asked_size, kPage);
  char* top = reinterpret_cast<char*>(align_up(uintptr_t(g->stack_top), kPage));
  return {top - size, size, g->guard_size};
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
