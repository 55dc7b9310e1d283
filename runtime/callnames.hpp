// System calls by name, for whoever shows them.
#pragma once
#include <sys/syscall.h>

namespace gmp {

struct CallName {
  short number;
  const char* name;
};
// Those that can block; the rest go by number.
#define N(x) {SYS_##x, #x}
inline constexpr CallName kCallNames[] = {
  N(read), N(write), N(readv), N(writev), N(pread64), N(pwrite64), N(preadv), N(pwritev), N(preadv2), N(pwritev2), N(openat), N(close),
  N(fsync), N(fdatasync), N(sync), N(syncfs), N(msync), N(sync_file_range), N(fallocate), N(ftruncate), N(getdents64), N(newfstatat), N(statx),
  N(unlinkat), N(renameat2), N(flock), N(fcntl), N(ioctl), N(futex), N(ppoll), N(pselect6), N(epoll_pwait), N(epoll_pwait2), N(nanosleep),
  N(clock_nanosleep), N(accept4), N(accept), N(connect), N(sendto), N(recvfrom), N(sendmsg), N(recvmsg), N(sendmmsg), N(recvmmsg), N(sendfile),
  N(splice), N(tee), N(vmsplice), N(copy_file_range), N(wait4), N(waitid), N(rt_sigtimedwait), N(rt_sigsuspend), N(msgsnd), N(msgrcv),
  N(semtimedop), N(mq_timedsend), N(mq_timedreceive), N(io_getevents), N(io_uring_enter), N(mmap), N(munmap), N(mprotect), N(mremap), N(madvise),
  N(brk), N(mlock), N(mlockall), N(getrandom), N(clone), N(clone3), N(execve), N(sched_yield), N(membarrier), N(userfaultfd), N(process_vm_readv),
#ifdef SYS_poll // not on newer architectures
  N(poll), N(select), N(epoll_wait), N(open), N(pause), N(unlink), N(rename), N(stat), N(lstat), N(semop),
#endif
};
#undef N

} // namespace gmp
