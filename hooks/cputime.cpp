// CLOCK_THREAD_CPUTIME_ID, pthread_getcpuclockid and RUSAGE_THREAD: what a G itself has used, wherever it ran.
//
// The id of another thread's clock is like the kernel's (the thread's id, negated, above three bits of kind) with a kind that the kernel does not
// have: 7 is "per thread" and "of a descriptor" at once. So none of ours can be taken for a clock of the kernel's.
#include "hooks/cputime.hpp"
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <elf.h>
#include <cstring>

namespace gmp {

namespace {

constexpr int64_t kSecond = 1000000000;
constexpr unsigned kKind = 7, kIdBits = 0x0fffffff;

GMP_REAL(clock_gettime);
GMP_REAL(pthread_getcpuclockid);

clockid_t clock_of(const G* g) { return clockid_t(~(unsigned(gtid(g)) & kIdBits) << 3 | kKind); }
bool ours(clockid_t clock) { return clock < 0 && (unsigned(clock) & 7) == kKind; }

timespec from_ns(int64_t ns) { return {ns / kSecond, ns % kSecond}; }

// The kernel's own code for clocks, which libc calls too: found without libc's dlsym, which allocates.
using Clock = int (*)(clockid_t, timespec*);
Clock find_vdso_clock() {
  auto* base = reinterpret_cast<const char*>(getauxval(AT_SYSINFO_EHDR));
  if (!base) return nullptr;
  auto* head = reinterpret_cast<const Elf64_Ehdr*>(base);
  auto* segment = reinterpret_cast<const Elf64_Phdr*>(base + head->e_phoff);
  const Elf64_Dyn* dynamic = nullptr;
  uintptr_t slide = 0;
  for (int i = 0; i < head->e_phnum; i++) {
    if (segment[i].p_type == PT_LOAD && !slide) slide = uintptr_t(base) + segment[i].p_offset - segment[i].p_vaddr;
    if (segment[i].p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const Elf64_Dyn*>(base + segment[i].p_offset);
  }
  const Elf64_Sym* symbols = nullptr;
  const char* names = nullptr;
  const uint32_t* hash = nullptr;
  for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
    const uintptr_t at = dynamic->d_un.d_ptr + slide;
    if (dynamic->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const Elf64_Sym*>(at);
    if (dynamic->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(at);
    if (dynamic->d_tag == DT_HASH) hash = reinterpret_cast<const uint32_t*>(at);
  }
  if (!symbols || !names || !hash) return nullptr;
  for (uint32_t i = 0; i < hash[1]; i++) // nchain: the number of symbols
    if (symbols[i].st_shndx != SHN_UNDEF && strcmp(names + symbols[i].st_name, "__vdso_clock_gettime") == 0)
      return reinterpret_cast<Clock>(symbols[i].st_value + slide);
  return nullptr;
}

constinit std::atomic<Clock> g_clock{nullptr};

GMP_NOINLINE Clock learn_clock() {
  Clock c = find_vdso_clock();
  if (!c) c = [](clockid_t clock, timespec* t) { return REAL(clock_gettime)(clock, t) == 0 ? 0 : -errno; };
  g_clock.store(c, std::memory_order_relaxed);
  return c;
}

GMP_NOINLINE int cpu_clock(clockid_t clock, timespec* out) {
  G* g;
  switch (g_of_clock(clock, &g)) {
  case CpuClock::Yes: *out = from_ns(g_cpu_time(g)); return 0;
  case CpuClock::Gone: return int(ret(-EINVAL));
  case CpuClock::No: break;
  }
  return int(ret(sys(SYS_clock_gettime, clock, out)));
}

// The kernel thread tells how much of it was the kernel's, and the other figures.
long rusage_of_g(rusage* out) {
  const long r = sys(SYS_getrusage, RUSAGE_THREAD, out);
  if (r < 0) return r;
  auto us = [](const timeval& t) { return t.tv_sec * 1000000 + t.tv_usec; };
  auto put = [](timeval* t, int64_t v) { t->tv_sec = v / 1000000, t->tv_usec = v % 1000000; };
  const int64_t user = us(out->ru_utime), both = user + us(out->ru_stime), mine = g_cpu_time(getg()) / 1000;
  const int64_t mine_user = both > 0 ? int64_t(double(mine) * double(user) / double(both)) : mine;
  put(&out->ru_utime, mine_user);
  put(&out->ru_stime, mine - mine_user);
  return 0;
}

} // namespace

CpuClock g_of_clock(clockid_t clock, G** g) {
  *g = getg();
  if (!*g) return CpuClock::No;
  if (clock == CLOCK_THREAD_CPUTIME_ID || clock == clock_of(*g)) return CpuClock::Yes;
  if (!ours(clock)) return CpuClock::No;
  const int id = int(~unsigned(clock) >> 3 & kIdBits);
  if (!(*g = g_of_gtid(0x20000000 | id))) *g = g_of_gtid(0x30000000 | id);
  return *g ? CpuClock::Yes : CpuClock::Gone;
}

bool cpu_raw_call(long n, long a, long b, long* r) {
  if (n == SYS_getrusage && a == RUSAGE_THREAD && b) return *r = rusage_of_g(reinterpret_cast<rusage*>(b)), true;
  G* g;
  if ((n != SYS_clock_gettime && n != SYS_clock_getres) || g_of_clock(clockid_t(a), &g) != CpuClock::Yes) return false;
  if (n == SYS_clock_gettime && b) *reinterpret_cast<timespec*>(b) = from_ns(g_cpu_time(g));
  else if (b) *reinterpret_cast<timespec*>(b) = {0, 1};
  *r = n == SYS_clock_gettime && !b ? -EFAULT : 0;
  return true;
}

long kernel_clock_for_timer(clockid_t* clock) {
  G* g;
  switch (GMP_UNLIKELY(*clock == CLOCK_THREAD_CPUTIME_ID || ours(*clock)) ? g_of_clock(*clock, &g) : CpuClock::No) {
  case CpuClock::Yes: {
    int tid = 0;
    if (const long r = own_m(g, [&tid](int t) -> long { return tid = t, 0; }); r < 0) return r;
    *clock = cpu_clock_of(tid);
    return 0;
  }
  case CpuClock::Gone: return -EINVAL;
  case CpuClock::No: break;
  }
  return 0;
}

} // namespace gmp

using namespace gmp;

// Programs read the time often: as fast as libc's own.
GMP_HOOK int clock_gettime(clockid_t clock, timespec* out) noexcept {
  if (GMP_UNLIKELY(clock == CLOCK_THREAD_CPUTIME_ID || ours(clock))) return cpu_clock(clock, out);
  Clock c = g_clock.load(std::memory_order_relaxed);
  if (GMP_UNLIKELY(!c)) c = learn_clock();
  return int(ret(c(clock, out)));
}

GMP_HOOK int clock_getres(clockid_t clock, timespec* out) noexcept {
  G* g;
  switch (GMP_UNLIKELY(ours(clock)) ? g_of_clock(clock, &g) : CpuClock::No) {
  case CpuClock::Yes:
    if (out) *out = {0, 1};
    return 0;
  case CpuClock::Gone: return int(ret(-EINVAL));
  case CpuClock::No: break;
  }
  return int(ret(sys(SYS_clock_getres, clock, out)));
}

GMP_HOOK int pthread_getcpuclockid(pthread_t t, clockid_t* clock) noexcept {
  G* g = native() ? nullptr : g_of_handle(t);
  if (!g) return native() || t == pthread_self() ? REAL(pthread_getcpuclockid)(t, clock) : ESRCH;
  *clock = clock_of(g);
  return 0;
}

GMP_HOOK int getrusage(__rusage_who_t who, rusage* out) noexcept {
  if (GMP_UNLIKELY(int(who) == RUSAGE_THREAD) && getg() && out) return int(ret(rusage_of_g(out)));
  return int(ret(sys(SYS_getrusage, int(who), out)));
}
