// Stacks for a dump from within. Nobody is stopped for it, so a stack is copied, the copy found to be of one moment, and then unwound.
#include <cstring>
#include <sys/syscall.h>
#include "preload/dump_print.hpp"
#include "runtime/traceback.hpp"

namespace gmp {

InKernel::InKernel(int tid) {
  char path[48], b[256];
  format(path, sizeof path, "/proc/self/task/%d/syscall", tid);
  long fd = tid ? sys(SYS_openat, -100 /*AT_FDCWD*/, path, 02000000 /*O_CLOEXEC*/, 0) : -1;
  if (fd < 0) return;
  long n = sys(SYS_read, fd, b, sizeof b - 1);
  sys(SYS_close, fd);
  if (n <= 0 || b[0] < '0' || b[0] > '9') return;
  b[n] = 0;
  const char* c = b;
  for (call = 0; *c >= '0' && *c <= '9'; c++) call = call * 10 + (*c - '0');
  uintptr_t words[8] = {};
  for (uintptr_t& w : words) {
    while (*c == ' ') c++;
    if (c[0] == '0' && c[1] == 'x') c += 2;
    for (int d; (d = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : -1) >= 0; c++) w = w * 16 + uintptr_t(d);
  }
  sp = words[6], pc = words[7];
}

// The processor time that a kernel thread has had: whether it has run in between. False: can't tell.
static bool ran_for(int tid, char* b, size_t size) {
  char path[48];
  format(path, sizeof path, "/proc/self/task/%d/schedstat", tid);
  memset(b, 0, size);
  long fd = sys(SYS_openat, -100 /*AT_FDCWD*/, path, 02000000 /*O_CLOEXEC*/, 0);
  if (fd < 0) return false;
  long n = sys(SYS_read, fd, b, size - 1);
  sys(SYS_close, fd);
  return n > 0;
}

size_t dump_stack(const look::Memory& mem, const look::Layout& layout, const look::Thread& t, char* copy, uintptr_t* pcs) {
  const uintptr_t end = t.stack_size ? t.stack_lo + t.stack_size : 0;
  auto take = [&](uintptr_t sp) {
    sys(SYS_madvise, copy, kStackRoom, 4 /*MADV_DONTNEED*/);
    size_t n = end > sp && end - sp < kStackCopy ? end - sp : kStackCopy;
    if (mem.copy(&mem, sp, copy, n)) return n;
    n = kPage - sp % kPage; // near the end of a stack whose end is not known
    while (n < kStackCopy && mem.copy(&mem, sp, copy, n + kPage)) n += kPage;
    return mem.copy(&mem, sp, copy, n) ? n : 0;
  };
  if (t.has_context()) {
    char context[arch::context::size];
    if (!mem.get(t.ctx, &context)) return 0;
    Registers r = saved_registers(context);
    r.rsp = t.ctx + arch::context::size;
    const size_t n = take(r.rsp);
    return n && look::still_so(mem, layout, t) ? traceback_copy(r, copy, n, end, pcs, kDumpFrames) : 0;
  }
  char before[64], after[64];
  if (!t.kernel_tid || !ran_for(t.kernel_tid, before, sizeof before)) return 0;
  const InKernel k(t.kernel_tid);
  const size_t n = k.pc ? take(k.sp) : 0;
  if (!n || !ran_for(t.kernel_tid, after, sizeof after) || memcmp(before, after, sizeof before) != 0) return 0;
  return traceback_copy({k.pc, k.sp, 0, 0, 0, 0, 0, 0}, copy, n, end, pcs, kDumpFrames);
}

} // namespace gmp
