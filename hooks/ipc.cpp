// Message queues and semaphores between processes, System V's and POSIX's: announced, the P is lent out while they block.
#include <cstdarg>
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include "hooks/ioloop.hpp"

using namespace gmp;

GMP_REAL(msgsnd);
GMP_REAL(msgrcv);
GMP_REAL(semop);
GMP_REAL(semtimedop);
GMP_REAL(mq_send);
GMP_REAL(mq_receive);
GMP_REAL(mq_timedsend);
GMP_REAL(mq_timedreceive);

// None of System V's is restarted after a handler, whatever SA_RESTART says (signal(7)).
GMP_HOOK int msgsnd(int id, const void* m, size_t n, int flags) {
  if (native()) return REAL(msgsnd)(id, m, n, flags);
  return int(cp_sys_once(SYS_msgsnd, id, m, n, flags));
}
GMP_HOOK ssize_t msgrcv(int id, void* m, size_t n, long type, int flags) {
  if (native()) return REAL(msgrcv)(id, m, n, type, flags);
  return cp_sys_once(SYS_msgrcv, id, m, n, type, flags);
}
// No cancellation points in glibc.
GMP_HOOK int semop(int id, sembuf* ops, size_t n) noexcept {
  if (native()) return REAL(semop)(id, ops, n);
  return int(ret(waiting_sys(false, SYS_semop, id, ops, n)));
}
GMP_HOOK int semtimedop(int id, sembuf* ops, size_t n, const timespec* timeout) noexcept {
  if (native()) return REAL(semtimedop)(id, ops, n, timeout);
  return int(ret(waiting_sys(false, SYS_semtimedop, id, ops, n, timeout)));
}

GMP_HOOK int mq_timedsend(mqd_t q, const char* m, size_t n, unsigned priority, const timespec* until) {
  if (native()) return REAL(mq_timedsend)(q, m, n, priority, until);
  return int(cp_sys(SYS_mq_timedsend, q, m, n, priority, until));
}
GMP_HOOK ssize_t mq_timedreceive(mqd_t q, char* m, size_t n, unsigned* priority, const timespec* until) {
  if (native()) return REAL(mq_timedreceive)(q, m, n, priority, until);
  return cp_sys(SYS_mq_timedreceive, q, m, n, priority, until);
}
GMP_HOOK int mq_send(mqd_t q, const char* m, size_t n, unsigned priority) {
  if (native()) return REAL(mq_send)(q, m, n, priority);
  return int(cp_sys(SYS_mq_timedsend, q, m, n, priority, nullptr));
}
GMP_HOOK ssize_t mq_receive(mqd_t q, char* m, size_t n, unsigned* priority) {
  if (native()) return REAL(mq_receive)(q, m, n, priority);
  return cp_sys(SYS_mq_timedreceive, q, m, n, priority, nullptr);
}

// Makes, reads and maps a file of /dev/shm, under a lock of libc's. What the semaphore does is in sem.cpp.
GMP_REAL(sem_open);
GMP_HOOK sem_t* sem_open(const char* name, int flags, ...) noexcept {
  va_list ap;
  va_start(ap, flags);
  mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
  unsigned value = flags & O_CREAT ? va_arg(ap, unsigned) : 0;
  va_end(ap);
  if (!getg()) return REAL(sem_open)(name, flags, mode, value);
  SyscallScope announced;
  return REAL(sem_open)(name, flags, mode, value);
}

GMP_REAL(mq_close);
GMP_HOOK int mq_close(mqd_t q) noexcept {
  if (native()) return REAL(mq_close)(q);
  return int(ret(hook_close(q)));
}
