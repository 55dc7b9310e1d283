// setuid and its family concern the whole process: every thread, running, waiting or made meanwhile, has the new ids. As root.
#include "check.h"
#include <grp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { kThreads = 12 };
static atomic_int step, seen;

static bool root(void) { return geteuid() == 0; }

// The kernel's word on this thread, past any library.
static void ids(unsigned* e, unsigned* g) {
  unsigned r, s;
  SYS(syscall(SYS_getresuid, &r, e, &s));
  SYS(syscall(SYS_getresgid, &r, g, &s));
}

static void* follow(void* kind) {
  unsigned uid, gid;
  for (int s = 1; s <= 4; s++) {
    while (atomic_load(&step) < s) (intptr_t)kind % 2 ? (void)sched_yield() : pause_ms(1);
    ids(&uid, &gid);
    EQ(gid, s >= 1 ? 4321 : 0);
    EQ(uid, s == 2 ? 1234 : s == 4 ? 1235 : 0);
    if (s == 3) EQ(getgroups(0, NULL), 2);
    atomic_fetch_add(&seen, 1);
  }
  return NULL;
}

static void all(int s) {
  atomic_store(&step, s);
  while (atomic_load(&seen) < s * kThreads) pause_ms(1);
}

CASE(whole_process) {
  if (!root()) return;
  pthread_t t[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) t[i] = start(follow, (void*)i);
  SYS(setgid(4321));
  all(1);
  SYS(seteuid(1234));
  all(2);
  SYS(seteuid(0));
  gid_t groups[2] = {11, 12};
  SYS(setgroups(2, groups));
  all(3);
  SYS(setresuid(1235, 1235, 0));
  all(4);
  for (int i = 0; i < kThreads; i++) finish(t[i]);
  SYS(setresuid(0, 0, 0));
  SYS(setresgid(0, 0, 0));
}

static atomic_bool over;
static void* look(void* unused) {
  (void)unused;
  unsigned uid, gid;
  ids(&uid, &gid);
  CHECK(uid == 0 || uid == 1234);
  return NULL;
}
static void* maker(void* unused) {
  (void)unused;
  while (!atomic_load(&over)) finish(start(look, NULL));
  return NULL;
}
static void* blocker(void* fds) {
  char c;
  EQ(read(((int*)fds)[0], &c, 1), 1);
  return NULL;
}

// From several threads, while threads come and go and wait in calls.
static void* changer(void* unused) {
  (void)unused;
  for (int i = 0; i < 15; i++) {
    SYS(setresgid(-1, -1, -1)); // needs no right, which main gives up now and then
    SYS(setresuid(-1, -1, -1));
  }
  return NULL;
}
CASE(while_threads_come_and_go) {
  if (!root()) return;
  int fds[2];
  SYS(pipe(fds));
  atomic_store(&over, false);
  pthread_t makers[3], blockers[4], changers[2];
  for (int i = 0; i < 3; i++) makers[i] = start(maker, NULL);
  for (int i = 0; i < 4; i++) blockers[i] = start(blocker, fds);
  for (int i = 0; i < 2; i++) changers[i] = start(changer, NULL);
  for (int i = 0; i < 15; i++) {
    SYS(seteuid(1234));
    SYS(seteuid(0));
  }
  for (int i = 0; i < 2; i++) finish(changers[i]);
  atomic_store(&over, true);
  EQ(write(fds[1], "abcd", 4), 4);
  for (int i = 0; i < 3; i++) finish(makers[i]);
  for (int i = 0; i < 4; i++) finish(blockers[i]);
}

static void* changes_all(void* unused) {
  (void)unused;
  SYS(setegid(99));
  return NULL;
}
// By another thread than main, and failing: EPERM everywhere.
CASE(from_a_thread) {
  if (!root()) return;
  unsigned uid, gid;
  finish(start(changes_all, NULL));
  ids(&uid, &gid);
  EQ(gid, 99);
  SYS(setegid(0));
  SYS(seteuid(1234));
  ERRNO(setuid(17), EPERM);
  SYS(seteuid(0));
}

static void* own_fsuid(void* unused) {
  (void)unused;
  EQ(setfsgid(57), 0); // first: the other takes the right to it away
  EQ(setfsuid(55), 0);
  for (int i = 0; i < 20; i++) {
    sched_yield();
    EQ(setfsuid((uid_t)-1), 55);
    EQ(setfsgid((gid_t)-1), 57);
  }
  SYS(syscall(SYS_setresuid, -1, 56, -1)); // this thread only
  pause_ms(2);
  unsigned uid, gid;
  ids(&uid, &gid);
  EQ(uid, 56);
  return NULL;
}
// setfsuid and the bare system calls are a thread's own.
CASE(of_one_thread) {
  if (!root()) return;
  for (int i = 0; i < 5; i++) {
    pthread_t t = start(own_fsuid, NULL);
    pause_ms(1);
    unsigned uid, gid;
    for (int k = 0; k < 10; k++) {
      ids(&uid, &gid);
      EQ(uid, 0);
      EQ(setfsuid((uid_t)-1), 0);
      sched_yield();
    }
    finish(t);
  }
}

static void* in_child(void* unused) {
  (void)unused;
  EQ(geteuid(), 1234);
  return NULL;
}
// A child that becomes somebody else and has threads of its own.
CASE(in_child) {
  if (!root()) return;
  finish(start(look, NULL));
  pid_t pid = fork();
  if (pid == 0) {
    SYS(setgroups(0, NULL));
    SYS(setgid(1234));
    SYS(setuid(1234));
    finish(start(in_child, NULL));
    ERRNO(setuid(0), EPERM);
    _exit(7);
  }
  int status;
  EQ(waitpid(pid, &status, 0), pid);
  EQ(WEXITSTATUS(status), 7);
}
