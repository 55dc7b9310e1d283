// syscall(): system calls by number. Most go straight to the kernel. Those that may block give the P away meanwhile, and a few mean
// something else in a G: private futexes, the thread's id, closing a descriptor.
#include <initializer_list>
#include "hooks/fdtable.hpp"
#include "hooks/cputime.hpp"
#include "hooks/futex.hpp"
#include "hooks/own_thread.hpp"
#include "hooks/process.hpp"
#include "hooks/signal_send.hpp"
#include "hooks/thread.hpp"
#include "hooks/tid_address.hpp"

namespace gmp {

namespace {

constexpr long kNumbers = 512;

// Newer than Debian 12's headers, or absent from them.
constexpr long kFutexWaitv = 449, kFutexWait = 455, kEpollPwait2 = 441, kProcessMadvise = 440, kProcessMrelease = 448;

struct Bits {
  uint64_t word[kNumbers / 64] = {};
  constexpr bool has(long n) const { return uint64_t(n) < kNumbers && (word[n / 64] >> (n % 64) & 1); }
};

constexpr Bits may_block() {
  Bits b;
  for (long n : {
         (long)SYS_read, (long)SYS_write, (long)SYS_readv, (long)SYS_writev, (long)SYS_pread64, (long)SYS_pwrite64, (long)SYS_preadv,
         (long)SYS_pwritev, (long)SYS_preadv2, (long)SYS_pwritev2, (long)SYS_open, (long)SYS_openat, (long)SYS_openat2, (long)SYS_creat,
         (long)SYS_poll, (long)SYS_ppoll, (long)SYS_select, (long)SYS_pselect6, (long)SYS_epoll_wait, (long)SYS_epoll_pwait,
         (long)SYS_pause, (long)SYS_nanosleep, (long)SYS_clock_nanosleep, (long)SYS_sendfile, (long)SYS_splice, (long)SYS_tee,
         (long)SYS_vmsplice, (long)SYS_copy_file_range, (long)SYS_connect, (long)SYS_accept, (long)SYS_accept4, (long)SYS_sendto,
         (long)SYS_recvfrom, (long)SYS_sendmsg, (long)SYS_recvmsg, (long)SYS_sendmmsg, (long)SYS_recvmmsg, (long)SYS_wait4,
         (long)SYS_waitid, (long)SYS_flock, (long)SYS_fcntl, (long)SYS_ioctl, (long)SYS_fsync, (long)SYS_fdatasync, (long)SYS_sync,
         (long)SYS_syncfs, (long)SYS_sync_file_range, (long)SYS_msync, (long)SYS_fallocate, (long)SYS_ftruncate, (long)SYS_truncate,
         (long)SYS_msgsnd, (long)SYS_msgrcv, (long)SYS_semop, (long)SYS_semtimedop, (long)SYS_mq_timedsend, (long)SYS_mq_timedreceive,
         (long)SYS_rt_sigsuspend, (long)SYS_rt_sigtimedwait, (long)SYS_io_getevents, (long)SYS_io_pgetevents, (long)SYS_io_submit,
         (long)SYS_io_uring_enter, (long)SYS_getdents, (long)SYS_getdents64, (long)SYS_open_by_handle_at, (long)SYS_rename, (long)SYS_renameat,
         (long)SYS_renameat2, (long)SYS_unlink, (long)SYS_unlinkat, (long)SYS_mount, (long)SYS_umount2, (long)SYS_finit_module,
         (long)SYS_rmdir, (long)SYS_mlock, (long)SYS_mlock2, (long)SYS_mlockall, (long)SYS_getrandom, (long)SYS_swapon, (long)SYS_swapoff,
         (long)SYS_quotactl, (long)SYS_init_module, (long)SYS_delete_module, (long)SYS_fsconfig, (long)SYS_syslog, (long)SYS_readahead,
         (long)SYS_process_vm_readv, (long)SYS_process_vm_writev,
         kFutexWaitv, kFutexWait, kEpollPwait2, kProcessMadvise, kProcessMrelease,
       })
    b.word[n / 64] |= uint64_t(1) << (n % 64);
  return b;
}
constinit const Bits g_may_block = may_block();

// What the kernel keeps for each of its threads, or knows by a thread's id.
constexpr Bits of_the_thread() {
  Bits b;
  for (long n : {
         (long)SYS_prctl, (long)SYS_setuid, (long)SYS_setgid, (long)SYS_setreuid, (long)SYS_setregid, (long)SYS_setresuid, (long)SYS_setresgid,
         (long)SYS_setgroups, (long)SYS_setfsuid, (long)SYS_setfsgid, (long)SYS_capset, (long)SYS_setns, (long)SYS_set_mempolicy,
         (long)SYS_ioperm, (long)SYS_iopl, (long)SYS_pkey_alloc, (long)SYS_keyctl, (long)SYS_unshare, (long)SYS_personality,
         (long)SYS_seccomp, (long)SYS_arch_prctl, (long)SYS_ptrace, (long)SYS_setpriority, (long)SYS_getpriority, (long)SYS_ioprio_set,
         (long)SYS_ioprio_get, (long)SYS_sched_setaffinity, (long)SYS_sched_getaffinity, (long)SYS_sched_setscheduler,
         (long)SYS_sched_getscheduler, (long)SYS_sched_setparam, (long)SYS_sched_getparam, (long)SYS_sched_rr_get_interval,
         (long)SYS_sched_setattr, (long)SYS_sched_getattr, (long)SYS_clock_gettime, (long)SYS_clock_getres, (long)SYS_getrusage,
         (long)SYS_set_robust_list, (long)SYS_rseq,
       })
    b.word[n / 64] |= uint64_t(1) << (n % 64);
  return b;
}
constinit const Bits g_of_the_thread = of_the_thread();

// A child with a copy of the memory comes back here as fork's does. (One on a stack of its own can't: it has no frame to return to.)
constexpr long kVm = 0x100;
bool copies_process(long n, long a, long b) {
  switch (n) {
  case SYS_fork: return true;
  case SYS_clone: return !(a & kVm) && !b;
  case SYS_clone3: return a && b >= 8 && !(*reinterpret_cast<const uint64_t*>(a) & kVm);
  default: return false;
  }
}

} // namespace

} // namespace gmp

using namespace gmp;

// Variadic to its callers: all six arguments come in registers and on the stack just the same, and the unused ones are whatever
// was there. (The label keeps the two declarations apart.)
GMP_HOOK long hook_syscall(long n, long a, long b, long c, long d, long e, long f) __asm__("syscall");

long hook_syscall(long n, long a, long b, long c, long d, long e, long f) {
  if (native()) return ret(sys(n, a, b, c, d, e, f));
  switch (n) {
  case SYS_futex:
    return ret(hook_futex(reinterpret_cast<uint32_t*>(a), int(b), uint32_t(c), d, reinterpret_cast<uint32_t*>(e), uint32_t(f)));
  case SYS_exit:
    if (getg()) thread_vanish(int(a));
    break;
  case SYS_gettid: return getg() ? self_tid() : sys(n);
  case SYS_set_tid_address:
    if (!getg()) break;
    set_tid_address(reinterpret_cast<int*>(a));
    return self_tid();
  case kFutexWaitv: futex_kernel_too(); break;
  default: {
    long r;
    if (fd_raw_call(n, a, b, c, d, e, &r) || signal_raw_call(n, a, b, c, d, &r)) return ret(r);
    if (GMP_UNLIKELY(g_of_the_thread.has(n)) && getg() && (own_raw_call(n, a, b, c, d, e, f, &r) || sched_raw_call(n, a, b, c, d, &r) || cpu_raw_call(n, a, b, &r)))
      return ret(r);
  }
  }
  if (copies_process(n, a, b)) {
    long r = sys(n, a, b, c, d, e, f);
    if (r == 0) process_in_child();
    else has_child();
    return ret(r);
  }
  if (GMP_UNLIKELY(n == SYS_io_uring_enter)) {
    enter_syscall_quiet();
    const long r = sys(n, a, b, c, d, e, f);
    exit_syscall();
    return ret(r);
  }
  if (getg() && g_may_block.has(n)) return ret(blocking_sys(n, a, b, c, d, e, f));
  return ret(sys(n, a, b, c, d, e, f));
}
