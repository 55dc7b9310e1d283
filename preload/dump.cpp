// A kernel thread of its own prints: libunwind and dladdr take ld.so's locks and call malloc, which a G may hold for ever. So states and
// waits are printed first, by what needs none of those, and stacks after them; whoever waits for the report does not wait for ever.
#include "preload/dump.hpp"
#include <csignal>
#include <pthread.h>
#include <sys/syscall.h>
#include "hooks/start.hpp"
#include "preload/look.hpp"
#include "runtime/traceback.hpp"

namespace gmp {
namespace {

enum : uint32_t { kDump = 1, kDeadlock = 2 };
constinit std::atomic<uint32_t> g_wanted{0}, g_done{0};
bool g_told; // the deadlock
constexpr size_t kFrames = 32;

// A line without "gmp: " before it.
template <class... A> void out(const char* fmt, A... a) {
  char b[2048];
  size_t n = format(b, sizeof b - 1, fmt, a...);
  b[n++] = '\n';
  sys(SYS_write, 2, b, n);
}

// Also where process_vm_readv is filtered.
bool read_here(const look::Memory* m, uint64_t at, void* to, size_t n) {
  static bool filtered;
  if (!filtered && look::read_process(m, at, to, n)) return true;
  long fd = sys(SYS_openat, -100 /*AT_FDCWD*/, "/proc/self/mem", 02000000 /*O_CLOEXEC*/, 0);
  if (fd < 0) return false;
  bool done = sys(SYS_pread64, fd, to, n, at) == long(n);
  sys(SYS_close, fd);
  filtered |= done;
  return done;
}

constexpr auto what_is = [](int fd, char* to, size_t size) {
  char path[40];
  format(path, sizeof path, "/proc/self/fd/%d", fd);
  long n = sys(SYS_readlink, path, to, size - 1);
  to[n > 0 ? n : 0] = 0;
};

struct All {
  look::Memory mem{read_here, 0};
  look::Layout layout;
  look::Thread* t = nullptr;
  int *a = nullptr, *b = nullptr, n = 0;
  size_t bytes = 0;

  bool take() {
    mem.pid = int(sys(SYS_getpid));
    if (look::learn(mem, uint64_t(debug_record()), &layout)) return false;
    for (int round = 0; round < 10; round++) {
      const int room = int(g_count()) + 256;
      drop();
      bytes = align_up(size_t(room) * (sizeof *t + 2 * sizeof(int)), kPage);
      t = static_cast<look::Thread*>(map_pages(bytes));
      a = reinterpret_cast<int*>(t + room), b = a + room;
      n = look::read_all(mem, layout, t, room);
      if (n < 0 || n > room) continue;
      look::link(mem, t, n, a, b);
      return true;
    }
    drop();
    return false;
  }
  void drop() {
    if (t) sys(SYS_munmap, t, bytes);
    t = nullptr;
  }
};

void state_of(const All& all, const look::Thread& t, char* b, size_t size) {
  char what[1024] = "";
  switch (t.status) {
  case GStatus::Waiting: {
    look::describe_wait(all.mem, all.t, all.n, t, what_is, what, sizeof what);
    char since[40] = "", until[40] = "";
    if (t.since && all.layout.per_ms) look::describe_time(int64_t(double(arch::cycles() - t.since) * 1e6 / double(all.layout.per_ms)), since, sizeof since);
    if (t.until && t.until != kNoDeadline) look::describe_time(t.until - nanotime(), until, sizeof until);
    format(b, size, "waiting %s: %s%s%s%s", since, what, *until ? ", at most " : "", until, *until ? " more" : "");
    break;
  }
  case GStatus::Runnable: format(b, size, "runnable"); break;
  default:
    format(b, size, "%s on M%d (tid %d)%s", t.status == GStatus::Syscall ? "in a call" : "running", t.m_id, t.kernel_tid,
           t.robbed ? ", its P taken meanwhile" : "");
  }
}

void circles(const All& all) {
  look::circles(all.t, all.n, all.a, [&](int start) {
    out("deadlock:");
    int i = start;
    do {
      char b[256];
      look::describe_link(all.mem, all.t, i, b, sizeof b);
      out("  %s", b);
      i = all.t[i].blocker;
    } while (i != start);
  });
}

// Each different stack once; the others refer to it.
void stacks(const All& all) {
  if (!traceback_load()) return;
  struct Known { uint64_t hash, goid; };
  static Known known[1024];
  int used = 0;
  for (int i = 0; i < all.n; i++) {
    const look::Thread& t = all.t[i];
    if (!t.has_context()) continue;
    uintptr_t pcs[kFrames];
    const size_t n = traceback_context(reinterpret_cast<const void*>(t.ctx), pcs, kFrames);
    if (!look::still_so(all.mem, all.layout, t)) continue; // it went on: what was read is of two minds
    uint64_t h = n;
    for (size_t k = 0; k < n; k++) h = (h ^ pcs[k]) * 0x100000001b3;
    char name[48], where[300];
    look::describe_name(t, name, sizeof name);
    int seen = 0;
    while (seen < used && known[seen].hash != h) seen++;
    if (seen < used) {
      out("%s: stack as G%lu's", name, known[seen].goid);
      continue;
    }
    if (used < 1024) known[used++] = {h, t.goid};
    out("%s: stack", name);
    for (size_t k = 0; k < n; k++) out("  %s", symbolize(pcs[k], where, sizeof where));
  }
}

void dump(const All& all) {
  out("gmp: dump of process %d: %d threads", all.mem.pid, all.n);
  circles(all);
  for (int i = all.n - 1; i >= 0; i--) { // the list has the newest first
    char name[48], state[1400];
    look::describe_name(all.t[i], name, sizeof name);
    state_of(all, all.t[i], state, sizeof state);
    out("%s tid %d: %s", name, all.t[i].tid, state);
  }
}

// Signals whose handlers may wake somebody. Faults come from the program itself.
size_t handled_signals(char* b, size_t size) {
  constexpr uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGILL - 1) | 1ull << (SIGFPE - 1) | 1ull << (SIGTRAP - 1) |
                              1ull << (SIGSYS - 1) | 1ull << (SIGABRT - 1);
  size_t n = 0;
  *b = 0;
  for (int sig = 1; sig <= 64; sig++)
    if (!(faults >> (sig - 1) & 1) && program_handles(sig)) n += format(b + n, size - n, n ? ", %d" : "%d", sig);
  return n;
}

[[noreturn]] void abort_now() {
  struct { void* handler; unsigned long flags; void* restorer; unsigned long mask; } dfl = {};
  sys(SYS_rt_sigaction, SIGABRT, &dfl, 0, 8);
  uint64_t none = 0;
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
  for (;;) sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), SIGABRT);
}

void serve(uint32_t wanted) {
  All all;
  if (!all.take()) return say("the threads can't be listed now");
  dump(all);
  stacks(all);
  all.drop();
  if (wanted & kDeadlock) {
    g_done.store(1, std::memory_order_release);
    futex_wake(&g_done, 1);
  }
}

void* dumper_main(void*) {
  own_thread();
  traceback_load();
  for (;;) {
    uint32_t wanted = g_wanted.exchange(0, std::memory_order_acquire);
    if (wanted) serve(wanted);
    else futex_wait(&g_wanted, 0);
  }
  return nullptr;
}

void want(uint32_t what) {
  g_wanted.fetch_or(what, std::memory_order_release);
  futex_wake(&g_wanted, 1);
}

void on_signal(int, void*, void*) {
  if (mode() == Mode::Running) want(kDump);
  else say("dump of process %d: no thread has been made yet", int(sys(SYS_getpid)));
}

// sysmon.
void all_asleep_now() {
  if (g_told) return;
  g_told = true;
  char handled[256];
  const bool may_wake = handled_signals(handled, sizeof handled) != 0;
  if (may_wake) say("all threads are asleep, for ever unless a signal comes (the program handles %s)", handled);
  else say("all threads are asleep: deadlock");
  want(kDeadlock);
  const int64_t until = nanotime() + 5000000000; // a lock of ld.so or malloc may be what all wait for
  while (!g_done.load(std::memory_order_acquire) && nanotime() < until) futex_wait(&g_done, 0, 100000000);
  if (g_config.deadlock == Config::Deadlock::Abort && !may_wake) abort_now();
}

// Most signals are the program's Gs'; the dumper takes none but the one that asks.
void dumper_start() {
  g_wanted.store(0, std::memory_order_relaxed); // a fork may have come between
  g_done.store(0, std::memory_order_relaxed);
  g_told = false;
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
  unsigned long t;
  uint64_t block = ~(1ull << 31 | 1ull << 32 | (g_config.dumpsig ? 1ull << (g_config.dumpsig - 1) : 0)), old = 0;
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &block, &old, 8);
  if (g_real_pthread_create(&t, &a, dumper_main, nullptr) != 0) say("no kernel thread for dumps: dumpsig and deadlock are off");
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
  pthread_attr_destroy(&a);
}

} // namespace

void dump_start_up() {
  if (g_config.dumpsig && !dump_signal_take(g_config.dumpsig, on_signal)) g_config.dumpsig = 0;
  if (!g_config.dumpsig && g_config.deadlock == Config::Deadlock::Off) return;
  g_scheduler_started = dumper_start;
  if (g_config.deadlock != Config::Deadlock::Off) g_all_asleep = all_asleep_now;
}

} // namespace gmp
