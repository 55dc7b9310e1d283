// A program with a __register_atfork of its own (Firefox): what is registered in the process, ours included, is not run by libc's fork.
#include <poll.h>
#include <sys/wait.h>
#include "check.h"

static int registered;
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void* dso);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void* dso) {
  (void)prepare, (void)parent, (void)child, (void)dso;
  registered++;
  return 0;
}

static void* read_one(void* fd) {
  char c;
  return (void*)(intptr_t)read(*(int*)fd, &c, 1);
}
static void* poll_one(void* fd) {
  struct pollfd p = {*(int*)fd, POLLIN, 0};
  return (void*)(intptr_t)poll(&p, 1, -1);
}

static int read_from[2], look_at[2];

// The child closes what others of the parent's wait for, as one does that is going to exec: to the parent that is nothing, and they see what comes.
static void* fork_close_and_write(void* unused) {
  const pid_t child = fork();
  if (child == 0) {
    close(read_from[0]);
    close(look_at[0]);
    _exit(write(read_from[1], "x", 1) == 1 && write(look_at[1], "x", 1) == 1 ? 7 : 1);
  }
  SYS(child);
  int status;
  EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  EQ(WEXITSTATUS(status), 7);
  return unused;
}

CASE(child_closes_what_others_wait_for) {
  SYS(pipe(read_from));
  SYS(pipe(look_at));
  pthread_t reader = start(read_one, &read_from[0]), looker = start(poll_one, &look_at[0]);
  pause_ms(50);
  finish(start(fork_close_and_write, NULL));
  EQ((intptr_t)finish(reader), 1);
  EQ((intptr_t)finish(looker), 1);
}

static int count;
static void* add(void* unused) {
  __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
  return unused;
}
static void* fork_and_make_threads(void* unused) {
  const pid_t child = fork();
  if (child == 0) {
    count = 0;
    pthread_t t[20];
    for (int i = 0; i < 20; i++) t[i] = start(add, NULL);
    for (int i = 0; i < 20; i++) finish(t[i]);
    _exit(count);
  }
  SYS(child);
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(WEXITSTATUS(status), 20);
  return unused;
}

CASE(child_makes_threads) {
  finish(start(fork_and_make_threads, NULL));
  fork_and_make_threads(NULL);
}
