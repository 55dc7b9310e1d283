// Preemption is no signal that a program could notice: calls that would end with EINTR after any handler (signal(7)) do not, however
// they are made, libc's functions or bare instructions, and restartable ones end with their result.
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "check.h"

static atomic_bool stop;
static int timeouts_pipe[2], quiet[2], epoll_fd, queue, semaphores;
static int word;

#if defined(__x86_64__)
static long raw(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return r;
}
#else
static long raw(long n, long a, long b, long c, long d, long e, long f) {
  long r = syscall(n, a, b, c, d, e, f);
  return r < 0 ? -errno : r;
}
#endif
static long by_libc(long n, long a, long b, long c, long d, long e, long f) {
  long r = syscall(n, a, b, c, d, e, f);
  return r < 0 ? -errno : r;
}

// Computes for a while, so that the request comes on the way into the call now and then.
static void compute(unsigned* seed) {
  const int n = rand_r(seed) % 4000;
  for (volatile int i = 0; i < n; i++) {
  }
}

static void* calls(void* n) {
  unsigned seed = (unsigned)(intptr_t)n;
  const long rounds = size_or(6);
  const struct timespec brief = {0, 200000};
  struct epoll_event event;
  struct { long type; char text[8]; } message;
  sigset_t none;
  sigemptyset(&none);
  sigaddset(&none, SIGUSR2);
  for (long i = 0; i < rounds; i++) {
    long (*call)(long, long, long, long, long, long, long) = i % 2 ? raw : by_libc;
    compute(&seed);
    EQ(call(SYS_nanosleep, (long)&brief, 0, 0, 0, 0, 0), 0);
    struct pollfd p = {timeouts_pipe[0], POLLIN, 0};
    compute(&seed);
    EQ(call(SYS_poll, (long)&p, 1, 1, 0, 0, 0), 0);
    compute(&seed);
    EQ(call(SYS_epoll_wait, epoll_fd, (long)&event, 1, 1, 0, 0), 0);
    compute(&seed);
    EQ(call(SYS_futex, (long)&word, FUTEX_WAIT, 0, (long)&brief, 0, 0), -ETIMEDOUT);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(timeouts_pipe[0], &set);
    struct timeval tv = {0, 200};
    compute(&seed);
    EQ(call(SYS_select, timeouts_pipe[0] + 1, (long)&set, 0, 0, (long)&tv, 0), 0);
    char c;
    compute(&seed);
    EQ(call(SYS_recvfrom, quiet[0], (long)&c, 1, 0, 0, 0), -EAGAIN); // SO_RCVTIMEO
    compute(&seed);
    EQ(call(SYS_rt_sigtimedwait, (long)&none, 0, (long)&brief, 8, 0, 0), -EAGAIN);
    struct sembuf take = {0, -1, 0};
    compute(&seed);
    EQ(call(SYS_semtimedop, semaphores, (long)&take, 1, (long)&brief, 0, 0), -EAGAIN);
    compute(&seed);
    EQ(call(SYS_msgrcv, queue, (long)&message, 8, 0, 0, 0), 8);
    compute(&seed);
    EQ(call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&brief, 0, 0, 0), 0);
    pause_ms(0);
    EQ(poll(&p, 1, 1), 0);
    EQ(epoll_wait(epoll_fd, &event, 1, 1), 0);
  }
  return NULL;
}

static void* feeder(void* unused) {
  struct { long type; char text[8]; } message = {1, "message"};
  while (!atomic_load(&stop)) {
    if (msgsnd(queue, &message, 8, IPC_NOWAIT) < 0) CHECK(errno == EAGAIN);
    pause_ms(1);
  }
  return unused;
}
static void* spin(void* unused) {
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
  }
  return unused;
}

// --size=N: rounds of each thread.
CASE(no_eintr) {
  enum { kThreads = 4 };
  pthread_t t[kThreads], s[2], f;
  struct timeval tv = {0, 1000};
  SYS(pipe(timeouts_pipe));
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, quiet));
  SYS(setsockopt(quiet[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  SYS(epoll_fd = epoll_create1(0));
  SYS(queue = msgget(IPC_PRIVATE, 0600));
  SYS(semaphores = semget(IPC_PRIVATE, 1, 0600));
  f = start(feeder, NULL);
  for (int i = 0; i < 2; i++) s[i] = start(spin, NULL);
  for (intptr_t i = 0; i < kThreads; i++) t[i] = start(calls, (void*)(i + 1));
  for (int i = 0; i < kThreads; i++) finish(t[i]);
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) finish(s[i]);
  finish(f);
  msgctl(queue, IPC_RMID, NULL);
  semctl(semaphores, 0, IPC_RMID);
}
