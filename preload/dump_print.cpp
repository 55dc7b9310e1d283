#include "preload/dump_print.hpp"
#include <sys/mman.h>
#include <sys/syscall.h>
#include "runtime/callnames.hpp"
#include "runtime/traceback.hpp"

namespace gmp {
namespace {

// A line without "gmp: " before it.
template <class... A> void out(const char* fmt, A... a) {
  char b[2048];
  size_t n = format(b, sizeof b - 1, fmt, a..., 0); // one too many: some have none
  b[n++] = '\n';
  sys(SYS_write, 2, b, n);
}

// The program may be short of memory, which is no reason for it to die.
void* map(size_t bytes) {
  long r = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return r < 0 ? nullptr : reinterpret_cast<void*>(r);
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
      if (!(t = static_cast<look::Thread*>(map(bytes)))) return false;
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
  default: {
    const InKernel k(t.kernel_tid);
    const char* name = "";
    for (const CallName& c : kCallNames)
      if (c.number == k.call) name = c.name;
    format(b, size, "%s%s%s on M%d (tid %d)%s", k.call >= 0 || t.status == GStatus::Syscall ? "in a call" : "running", *name ? ": " : "", name, t.m_id,
           t.kernel_tid, t.robbed ? ", its P taken meanwhile" : "");
  }
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
  auto* copy = static_cast<char*>(map(kStackRoom));
  if (!copy) return;
  struct Known { uint64_t hash, goid; };
  static Known known[1024];
  int used = 0;
  for (int i = 0; i < all.n; i++) {
    const look::Thread& t = all.t[i];
    uintptr_t pcs[kDumpFrames];
    const size_t n = dump_stack(all.mem, all.layout, t, copy, pcs);
    if (n == 0) continue;
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
  sys(SYS_munmap, copy, kStackRoom);
}

void dump(const All& all) {
  out("gmp: dump of process %d: %d threads", all.mem.pid, all.n);
  circles(all);
  for (int i = all.n - 1; i >= 0; i--) { // the list has the newest first
    char name[48], state[1400];
    look::describe_name(all.t[i], name, sizeof name);
    state_of(all, all.t[i], state, sizeof state);
    char own[64];
    look::describe_own(all.t[i], own, sizeof own);
    out("%s tid %d: %s%s", name, all.t[i].tid, state, own);
  }
}

} // namespace

void dump_print() {
  All all;
  if (!all.take()) return say("the threads can't be listed now");
  dump(all);
  stacks(all);
  all.drop();
}

} // namespace gmp
