// setuid and its family in a process with threads: libc sends signal 33 to every thread it knows but the caller, and waits for each to say that
// it has made the call, by a bit in its own struct pthread. The handler finds that struct by the thread pointer, which on an M is its
// G's: the bit would stay set, and the caller ask for ever. So the handler runs on the TCB that libc has asked under this kernel thread's id. That
// is g0's; for the first kernel thread also main's (one of them is the caller's when main calls from elsewhere); and a G's for which libc's mutex
// functions run just now (swap_libc_tid). The other Gs are in libc's list too, with ids that the kernel does not know: libc passes over them.
#include <dlfcn.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

constexpr int kSetxid = 33;
constexpr int kAsked = 0x40; // libc's SETXID_BITMASK in cancelhandling

static size_t g_cancel_offset; // of cancelhandling in struct pthread; 0: unknown

static bool asked(uintptr_t tcb) { return g_cancel_offset && (*reinterpret_cast<volatile int*>(tcb + g_cancel_offset) & kAsked); }

static arch::KernelAction g_libc_setxid;

// No thread-local may be touched while the thread pointer is another's: noinline, and nothing kept over it.
static GMP_NOINLINE void run_on(uintptr_t tp, uintptr_t back, int sig, void* info, void* context) {
  arch::set_thread_pointer(tp);
  reinterpret_cast<void (*)(int, void*, void*)>(g_libc_setxid.handler)(sig, info, context);
  arch::set_thread_pointer(back);
}

static void on_setxid(int sig, void* info, void* context) {
  const uintptr_t here = arch::thread_pointer();
  M* m = t_g ? t_g->m : t_m; // set before the thread pointer is, on every way to a G
  uintptr_t tp = m ? m->g0_tp : here;
  if (m && !asked(tp)) tp = m->id == 0 && asked(g_main.tp) ? g_main.tp : asked(here) ? here : tp;
  run_on(tp, here, sig, info, context);
}

void setxid_install() {
  arch::KernelAction was{}, ours = arch::kernel_action(on_setxid, 4 /*SA_SIGINFO*/ | 0x10000000 /*SA_RESTART*/);
  sys(SYS_rt_sigaction, kSetxid, 0, &was, 8);
  if (was.handler == ours.handler || uintptr_t(was.handler) <= 1) return;
  g_libc_setxid = was;
  if (auto* d = static_cast<uint32_t*>(dlsym(RTLD_DEFAULT, "_thread_db_pthread_cancelhandling"))) g_cancel_offset = d[2];
  sys(SYS_rt_sigaction, kSetxid, &ours, 0, 8);
}

} // namespace gmp
