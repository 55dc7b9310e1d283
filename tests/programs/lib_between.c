// A library that another preload brings along: it stands before or behind libgmp.so, counts the calls and passes them on.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

long between_calls;
static void* next(const char* name, void** kept) {
  if (!*kept) *kept = dlsym(RTLD_NEXT, name);
  if (!*kept) abort();
  __atomic_fetch_add(&between_calls, 1, __ATOMIC_RELAXED);
  return *kept;
}
#define PASS_ON(type, name, params, args)                                                                              \
  type name params {                                                                                                   \
    static void* kept;                                                                                                 \
    return ((type(*) params)next(#name, &kept))args;                                                                   \
  }

PASS_ON(ssize_t, read, (int fd, void* b, size_t n), (fd, b, n))
PASS_ON(ssize_t, write, (int fd, const void* b, size_t n), (fd, b, n))
PASS_ON(ssize_t, recvfrom, (int fd, void* b, size_t n, int f, struct sockaddr* a, socklen_t* l), (fd, b, n, f, a, l))
PASS_ON(int, poll, (struct pollfd * p, nfds_t n, int t), (p, n, t))
PASS_ON(int, close, (int fd), (fd))
PASS_ON(int, sched_yield, (void), ())

// As faketime does: the waits only, and libc's newer version of them by name.
#define PASS_ON_VERSION(name, version, params, args)                                                                   \
  int name params {                                                                                                    \
    static void* kept;                                                                                                 \
    if (!kept) kept = dlvsym(RTLD_NEXT, #name, version);                                                               \
    return ((int(*) params)next(#name, &kept))args;                                                                    \
  }
PASS_ON_VERSION(pthread_cond_wait, "GLIBC_2.3.2", (pthread_cond_t * c, pthread_mutex_t* m), (c, m))
PASS_ON_VERSION(pthread_cond_timedwait, "GLIBC_2.3.2", (pthread_cond_t * c, pthread_mutex_t* m, const struct timespec* t), (c, m, t))
