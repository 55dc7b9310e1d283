// Who am I: thread ids, names, bounds of the stack. pthread_self and pthread_equal are libc's: the handle is the TCB's
// address. libc's own versions of what stands here ask the kernel about the tid in the TCB, which a G's never is.
#include <cstdarg>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include "hooks/own_thread.hpp"
#include "hooks/thread.hpp"
#include "hooks/thread_libc.hpp"
#include "hooks/tid_address.hpp"

namespace gmp {

GMP_REAL(pthread_getattr_np);
GMP_REAL(pthread_setname_np);
GMP_REAL(pthread_getname_np);

static constexpr size_t kNameSize = 16; // the kernel's TASK_COMM_LEN

static int fetch_tid() {
  G* g = getg();
  int tid = !g ? int(sys(SYS_gettid))
            : g == main_g() ? int(sys(SYS_getpid))
                            : gtid(g);
  return self()->tid = tid;
}

int self_tid() {
  int tid = self()->tid;
  return GMP_LIKELY(tid != 0) ? tid : fetch_tid();
}

// Main's name is the process's comm: what ps shows. Its G may be on any kernel thread, so by way of /proc.
static int main_comm(char* buf, size_t size, bool write) {
  char path[48];
  format(path, sizeof path, "/proc/self/task/%d/comm", thread_at(thread_pointer_of(main_g()))->tid);
  long fd = sys(SYS_openat, AT_FDCWD, path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
  if (fd < 0) return int(-fd);
  long n;
  do n = sys(write ? SYS_write : SYS_read, fd, buf, size);
  while (n == -EINTR);
  sys(SYS_close, fd);
  if (n < 0) return int(-n);
  if (write) return size_t(n) == size ? 0 : EIO;
  if (n > 0 && buf[n - 1] == '\n') n--;
  buf[size_t(n) < size ? size_t(n) : size - 1] = 0;
  return 0;
}

static int set_g_name(G* g, const char* name, size_t length) {
  char copy[kNameSize];
  memcpy(copy, name, length);
  copy[length] = 0;
  set_name(g, copy);
  return g == main_g() ? main_comm(copy, length, true) : 0;
}

// Main's comes from the kernel: others may have written it.
static int get_g_name(G* g, char* buf, size_t size) {
  if (g == main_g()) return main_comm(buf, size, false);
  get_name(g, buf);
  return 0;
}

// As libc fills it: the stack without its guard, the guard as asked for, the state, and the affinity.
static int attr_of_g(G* g, pthread_t t, pthread_attr_t* attr) {
  if (g == main_g() && !stack_bounds(g).lo) {
    int error = REAL(pthread_getattr_np)(t, attr);
    if (error) return error;
  } else {
    StackBounds b = stack_bounds(g);
    if (int error = pthread_attr_init(attr)) return error;
    pthread_attr_setstack(attr, b.lo, b.size);
    pthread_attr_setguardsize(attr, b.guard);
  }
  Thread* th = thread_at(t);
  bool detached = th->join.load(std::memory_order_relaxed) & Thread::Detached;
  pthread_attr_setdetachstate(attr, detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
  sched_param param{};
  int policy = 0;
  read_sched(g, &policy, &param.sched_priority);
  pthread_attr_setschedpolicy(attr, policy);
  pthread_attr_setschedparam(attr, &param);
  unsigned char mask[128] = {};
  if (sys(SYS_sched_getaffinity, state_tid(g), sizeof mask, mask) < 0) return 0; // more processors than we keep: left out
  int error = pthread_attr_setaffinity_np(attr, sizeof mask, reinterpret_cast<cpu_set_t*>(mask));
  if (error) pthread_attr_destroy(attr);
  return error;
}

} // namespace gmp

using namespace gmp;

// Before threads exist, and on foreign ones, the kernel is asked each time: a child of vfork or of a raw clone shares our memory.
GMP_HOOK pid_t gettid() { return getg() ? self_tid() : int(sys(SYS_gettid)); }

GMP_HOOK int sched_yield() {
  if (GMP_LIKELY(getg() != nullptr)) {
    yield();
    return 0;
  }
  return int(ret(sys(SYS_sched_yield)));
}
GMP_ALIAS(__sched_yield, sched_yield);
// The header makes pthread_yield another word for sched_yield; old binaries import it.
GMP_HOOK int old_pthread_yield() __asm__("pthread_yield");
GMP_HOOK int old_pthread_yield() { return sched_yield(); }

GMP_HOOK void thrd_yield() {
  if (getg()) yield();
  else sys(SYS_sched_yield);
}

GMP_HOOK int pthread_getattr_np(pthread_t t, pthread_attr_t* attr) {
  G* g = native() ? nullptr : g_of_handle(t);
  if (g) return attr_of_g(g, t, attr);
  return native() || t == pthread_self() ? REAL(pthread_getattr_np)(t, attr) : ESRCH;
}

GMP_HOOK int pthread_setname_np(pthread_t t, const char* name) {
  G* g = native() ? nullptr : g_of_handle(t);
  if (!g) return native() || t == pthread_self() ? REAL(pthread_setname_np)(t, name) : ESRCH;
  size_t length = strlen(name);
  return length >= kNameSize ? ERANGE : set_g_name(g, name, length);
}

GMP_HOOK int pthread_getname_np(pthread_t t, char* buf, size_t size) {
  G* g = native() ? nullptr : g_of_handle(t);
  if (!g) return native() || t == pthread_self() ? REAL(pthread_getname_np)(t, buf, size) : ESRCH;
  return size < kNameSize ? ERANGE : get_g_name(g, buf, size);
}

// prctl(PR_SET_NAME) is the other way to name oneself. What is the kernel thread's is set on one of the caller's own.
GMP_HOOK int prctl(int option, ...) {
  va_list list;
  va_start(list, option);
  unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long), c = va_arg(list, unsigned long),
                d = va_arg(list, unsigned long);
  va_end(list);
  G* g = getg();
  if (g && a && option == PR_SET_NAME) {
    auto* name = reinterpret_cast<const char*>(a);
    return int(ret(-set_g_name(g, name, strnlen(name, kNameSize - 1)))); // the kernel cuts a long one
  }
  if (g && a && option == PR_GET_NAME) return int(ret(-get_g_name(g, reinterpret_cast<char*>(a), kNameSize)));
  on_own_m();
  // PR_GET_TID_ADDRESS: not every kernel has it, and the address may be bad
  const long r = g && own_thread_call(SYS_prctl, option, long(a)) ? own_sys(SYS_prctl, option, a, b, c, d) : sys(SYS_prctl, option, a, b, c, d);
  if (g && r == 0 && option == PR_GET_TID_ADDRESS) *reinterpret_cast<int**>(a) = tid_address();
  return int(ret(r));
}
