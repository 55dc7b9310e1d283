// Calls that nobody announced are seen by sysmon from outside, in /proc/self/task/TID/syscall: the call's number, the stack pointer and the
// program counter. The books are kept by number: how often a P was taken because of it, and how long until the G was back.
#include "runtime/blocktrace.hpp"
#include <sys/syscall.h>
#include "runtime/callnames.hpp"
#include "runtime/own_fds.hpp"
#include "runtime/sched.hpp"
#include "runtime/traceback.hpp"

namespace gmp {
namespace {

constexpr int kCalls = 512, kFault = kCalls, kComputing = kCalls + 1, kRows = kCalls + 2;
struct Row {
  std::atomic<long> count;
  std::atomic<int64_t> ns;
};
constinit Row g_rows[kRows]{};


const char* name_of(int row) {
  if (row == kFault) return "page fault";
  if (row == kComputing) return "computing";
  for (const CallName& n : kCallNames)
    if (n.number == row) return n.name;
  return nullptr;
}

// The words of /proc/self/task/TID/syscall: "running", or the number (-1: blocked outside a call), six arguments, sp, pc. False: can't tell. By others
// than sysmon (blocktrace= and schedtrace= only) it takes the lowest free number of the process's for a moment.
bool look(M* m, char* b, size_t size) {
  char path[64];
  format(path, sizeof path, "/proc/self/task/%d/syscall", m->tid);
  return m->tid && read_file(path, b, size) > 0;
}

int row_of(const char* b) {
  if (b[0] == 'r') return kComputing;
  if (b[0] == '-') return kFault;
  int n = 0;
  while (*b >= '0' && *b <= '9' && n < kCalls) n = n * 10 + (*b++ - '0');
  return n < kCalls ? n : kFault;
}

uintptr_t hex(const char* b) {
  uintptr_t v = 0;
  for (b += 2; *b; b++) {
    int d = *b >= '0' && *b <= '9' ? *b - '0' : *b >= 'a' && *b <= 'f' ? *b - 'a' + 10 : -1;
    if (d < 0) break;
    v = v * 16 + uintptr_t(d);
  }
  return v;
}

// sp and pc: the last two words.
bool registers_of(const char* b, uintptr_t* sp, uintptr_t* pc) {
  const char* words[2] = {};
  for (const char* c = b; *c; c++)
    if (*c == ' ') words[0] = words[1], words[1] = c + 1;
  if (!words[0]) return false;
  *sp = hex(words[0]);
  *pc = hex(words[1]);
  return *pc != 0;
}

// ---- stacks: what sysmon has seen, for the tracer. One place: what comes while it is taken is counted only.
struct Seen {
  std::atomic<uint32_t> full{}; // 1: the tracer's to read
  M* m;
  uint64_t goid;
  int row;
  uintptr_t sp, pc, stack_hi;
};
constinit Seen g_seen{};

void show(const Seen& s) {
  uintptr_t pcs[32];
  size_t n = traceback(s.pc, s.sp, s.stack_hi, pcs, 32);
  char b[256];
  uintptr_t sp, pc;
  if (!look(s.m, b, sizeof b) || !registers_of(b, &sp, &pc) || sp != s.sp || pc != s.pc) return; // it went on: what was read is of two minds
  // Each stack once.
  static uint64_t known[256];
  uint64_t h = uint64_t(s.row) + 1;
  for (size_t i = 0; i < n; i++) h = (h ^ pcs[i]) * 0x100000001b3;
  for (size_t i = 0; i < 256; i++) {
    if (known[i] == h) return;
    if (known[i] == 0) {
      known[i] = h;
      break;
    }
    if (i == 255) return;
  }
  const char* name = name_of(s.row);
  if (name) say("blocktrace: G%lu held its P in %s at", s.goid, name);
  else say("blocktrace: G%lu held its P in system call %d at", s.goid, s.row);
  for (size_t i = 0; i < n; i++) {
    char where[200];
    say("  %s", symbolize(pcs[i], where, sizeof where));
  }
}

void* tracer_main(void*) {
  own_thread();
  traceback_load();
  for (;;) {
    futex_wait(&g_seen.full, 0);
    if (g_seen.full.load(std::memory_order_acquire) != 1) continue;
    show(g_seen);
    g_seen.full.store(0, std::memory_order_release);
  }
  return nullptr;
}

} // namespace

bool in_kernel(M* m, bool brief) {
  char b[256];
  if (!look(m, b, sizeof b)) return !brief; // no /proc here: see blocked()
  switch (row_of(b)) {
  case kComputing: return false;
  // The address space's lock, which all that would run instead want too (threads that grow their heaps): those wait their turn.
  case SYS_mmap: case SYS_mprotect: case SYS_munmap: case SYS_brk: case SYS_mremap: case SYS_madvise: return !brief;
  default: return true;
  }
}

void block_begins(M* m, G* g) {
  if (GMP_LIKELY(!g_config.blocktrace && !g_config.schedtrace_ms)) return;
  char b[256];
  if (!look(m, b, sizeof b)) return;
  const int row = row_of(b);
  g_rows[row].count.fetch_add(1, std::memory_order_relaxed);
  g->blocked_at = nanotime();
  g->blocked_call = short(row + 1);
  if (g_config.blocktrace < 2 || row == kComputing || g_seen.full.load(std::memory_order_acquire) != 0) return;
  g_seen.m = m;
  g_seen.goid = g->goid;
  g_seen.row = row;
  g_seen.stack_hi = g->stack_top ? uintptr_t(g->stack_top) : 0;
  if (!registers_of(b, &g_seen.sp, &g_seen.pc)) return;
  g_seen.full.store(1, std::memory_order_release);
  futex_wake(&g_seen.full, 1);
}

void block_ends_slow(G* g) {
  g_rows[g->blocked_call - 1].ns.fetch_add(nanotime() - g->blocked_at, std::memory_order_relaxed);
  g->blocked_call = 0;
}

long blocked_calls() {
  long n = 0;
  for (int i = 0; i <= kFault; i++) n += g_rows[i].count.load(std::memory_order_relaxed);
  return n;
}

void blocktrace_report() {
  say("blocktrace: %ld unannounced calls held a P; %ld times it was computing", blocked_calls(), g_rows[kComputing].count.load());
  bool done[kRows] = {};
  for (;;) {
    int most = -1;
    for (int i = 0; i < kRows; i++)
      if (!done[i] && g_rows[i].count.load() && (most < 0 || g_rows[i].ns.load() > g_rows[most].ns.load())) most = i;
    if (most < 0) return;
    done[most] = true;
    const char* name = name_of(most);
    char number[32];
    if (!name) format(number, sizeof number, "system call %d", most);
    say("blocktrace:   %s: %ld times, %ld us", name ? name : number, g_rows[most].count.load(), long(g_rows[most].ns.load() / 1000));
  }
}

void blocktrace_start() {
  if (g_config.blocktrace < 2) return;
  g_seen.full.store(0, std::memory_order_relaxed); // a fork may have come between
  if (!helper_start(tracer_main, 0)) say("blocktrace=2: no thread for it; counts only");
}

} // namespace gmp
