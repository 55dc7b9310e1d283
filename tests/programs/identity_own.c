// What the kernel keeps for each thread besides scheduling: namespaces, capabilities, options of prctl, seccomp, I/O priority, personality.
// One thread changes it and keeps it over every wait; the others, and those made later, don't have it.
#include "check.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static bool root(void) { return geteuid() == 0; }

static void switch_about(int i) { i % 3 ? (void)sched_yield() : pause_ms(1); }

// While `changed` runs in one thread, `plain` holds in others, in main, and in threads made afterwards.
struct both {
  void (*change)(void);
  void (*changed)(void);
  void (*plain)(void);
};
static void* inherits(void* b) {
  ((struct both*)b)->changed();
  return NULL;
}
static void* changes(void* b) {
  ((struct both*)b)->change();
  for (int i = 0; i < 9; i++) {
    ((struct both*)b)->changed();
    switch_about(i);
  }
  finish(start(inherits, b));
  return NULL;
}
static void* stays_plain(void* b) {
  for (int i = 0; i < 9; i++) {
    ((struct both*)b)->plain();
    switch_about(i);
  }
  return NULL;
}
static void compare(struct both b) {
  pthread_t t[6];
  b.plain();
  for (int i = 0; i < 6; i++) t[i] = start(i % 2 ? stays_plain : changes, &b);
  for (int i = 0; i < 6; i++) finish(t[i]);
  b.plain();
  for (int i = 0; i < 6; i++) t[i] = start(stays_plain, &b);
  for (int i = 0; i < 6; i++) finish(t[i]);
}

static struct utsname host;
static ino_t uts(void) {
  struct stat s;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%ld/ns/uts", syscall(SYS_getpid)); // main's, by way of the kernel's number
  SYS(stat(path, &s));
  return s.st_ino;
}
static void uts_change(void) {
  SYS(unshare(CLONE_NEWUTS));
  SYS(sethostname("elsewhere", 9));
}
static void uts_changed(void) {
  struct utsname u;
  SYS(uname(&u));
  CHECK(strcmp(u.nodename, "elsewhere") == 0);
}
static void uts_plain(void) {
  struct utsname u;
  SYS(uname(&u));
  CHECK(strcmp(u.nodename, host.nodename) == 0);
}
static void* sleeps(void* unused) {
  pause_ms(20);
  return unused;
}
CASE(unshare_one) {
  if (!root()) return;
  SYS(uname(&host));
  ino_t before = uts();
  compare((struct both){uts_change, uts_changed, uts_plain});
  CHECK(uts() == before);
  pthread_t t = start(sleeps, NULL);
  ERRNO(unshare(CLONE_NEWUSER), EINVAL); // not in a process with threads
  finish(t);
}

static int old_ns = -1;
static void* there_and_back(void* unused) {
  (void)unused;
  uts_change();
  sched_yield();
  uts_changed();
  SYS(setns(old_ns, CLONE_NEWUTS));
  sched_yield();
  uts_plain();
  return NULL;
}
CASE(setns_one) {
  if (!root()) return;
  SYS(uname(&host));
  SYS(old_ns = open("/proc/self/ns/uts", O_RDONLY));
  finish(start(there_and_back, NULL));
  uts_plain();
  SYS(close(old_ns));
}

static void slack_change(void) { SYS(prctl(PR_SET_TIMERSLACK, 123456)); }
static void slack_changed(void) { EQ(prctl(PR_GET_TIMERSLACK), 123456); }
static void slack_plain(void) { EQ(prctl(PR_GET_TIMERSLACK), 50000); }
CASE(timer_slack) { compare((struct both){slack_change, slack_changed, slack_plain}); }

static void privs_change(void) { SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }
static void privs_changed(void) { EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1); }
static void privs_plain(void) { EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0); }
CASE(no_new_privs) { compare((struct both){privs_change, privs_changed, privs_plain}); }

static void persona_change(void) { SYS(personality(ADDR_NO_RANDOMIZE)); }
static void persona_changed(void) { EQ(personality(0xffffffff), ADDR_NO_RANDOMIZE); }
static void persona_plain(void) { EQ(personality(0xffffffff), 0); }
CASE(personality_of_each) { compare((struct both){persona_change, persona_changed, persona_plain}); }

static void ioprio_change(void) { SYS(syscall(SYS_ioprio_set, 1, (int)gettid(), 2 << 13 | 6)); }
static void ioprio_changed(void) { EQ(syscall(SYS_ioprio_get, 1, 0), 2 << 13 | 6); }
static long ioprio_before;
static void ioprio_plain(void) { EQ(syscall(SYS_ioprio_get, 1, 0), ioprio_before); }
CASE(io_priority) {
  ioprio_before = syscall(SYS_ioprio_get, 1, 0);
  compare((struct both){ioprio_change, ioprio_changed, ioprio_plain});
}

static int memory_policy(void) {
  int mode = -1;
  return syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 ? mode : -1; // not every kernel has it
}
static void memory_change(void) {
  unsigned long node = 1;
  if (memory_policy() >= 0) SYS(syscall(SYS_set_mempolicy, 1 /*MPOL_PREFERRED*/, &node, 8 * sizeof node));
}
static void memory_changed(void) { CHECK(memory_policy() == 1 || memory_policy() == -1); }
static void memory_plain(void) { CHECK(memory_policy() <= 0); }
CASE(memory_policy) { compare((struct both){memory_change, memory_changed, memory_plain}); }

struct cap_header { unsigned version; int pid; };
struct cap_data { unsigned effective, permitted, inheritable; };
int capset(void*, const void*);
int capget(void*, void*);
static unsigned caps(void) {
  struct cap_header h = {0x20080522, 0};
  struct cap_data d[2];
  SYS(capget(&h, d));
  return d[0].effective;
}
static unsigned all_caps;
static void caps_change(void) {
  struct cap_header h = {0x20080522, 0};
  struct cap_data d[2];
  SYS(capget(&h, d));
  d[0].effective &= ~1u; // CAP_CHOWN
  SYS(capset(&h, d));
}
static void caps_changed(void) { EQ(caps(), all_caps & ~1u); }
static void caps_plain(void) { EQ(caps(), all_caps); }
CASE(capabilities) {
  if (!root()) return;
  all_caps = caps();
  compare((struct both){caps_change, caps_changed, caps_plain});
}

// getppid() fails where the filter is.
static void filter_change(void) {
  struct sock_filter f[] = {
    {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid},
    {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | 77},
    {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  struct sock_fprog p = {4, f};
  SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p));
}
static void filter_changed(void) { ERRNO(syscall(SYS_getppid), 77); }
static void filter_plain(void) { CHECK(syscall(SYS_getppid) > 0); }
CASE(seccomp_filter) { compare((struct both){filter_change, filter_changed, filter_plain}); }

int arch_prctl(int, unsigned long);
static void* registers_of(void* n) {
  unsigned long base = 0x1000 + 8 * (unsigned long)(intptr_t)n, got;
  EQ(arch_prctl(0x1001 /*ARCH_SET_GS*/, base), 0);
  int key = pkey_alloc(0, PKEY_DISABLE_WRITE); // not every processor has them
  for (int i = 0; i < 9; i++) {
    EQ(arch_prctl(0x1004 /*ARCH_GET_GS*/, (unsigned long)&got), 0);
    EQ(got, base);
    if (key >= 0) {
      int rights = i % 2 ? PKEY_DISABLE_ACCESS : 0;
      SYS(pkey_set(key, (unsigned)rights));
      switch_about(i);
      EQ(pkey_get(key), rights);
    }
    switch_about(i);
  }
  if (key >= 0) SYS(pkey_free(key));
  return NULL;
}
CASE(registers) {
  pthread_t t[5];
  for (int i = 0; i < 5; i++) t[i] = start(registers_of, (void*)(intptr_t)i);
  for (int i = 0; i < 5; i++) finish(t[i]);
  ERRNO(pkey_set(99, 0), EINVAL);
}

static void* uses_ports(void* unused) {
  if (ioperm(0x80, 1, 1) == 0) {
    sched_yield();
    outb(0, 0x80);
    pause_ms(1);
    outb(0, 0x80);
  }
  EQ(iopl(17), -1);
  return unused;
}
CASE(ports) {
  if (!root()) return;
  for (int i = 0; i < 3; i++) finish(start(uses_ports, NULL));
}

static volatile long traced_value;
static void* traces(void* unused) {
  traced_value = 11;
  pid_t pid = fork();
  if (pid == 0)
    for (traced_value = 77;;) pause_ms(1000);
  pause_ms(5);
  SYS(ptrace(PTRACE_SEIZE, pid, 0L, 0L));
  for (int i = 0; i < 4; i++) {
    int status;
    switch_about(i);
    SYS(ptrace(PTRACE_INTERRUPT, pid, 0L, 0L));
    EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
    switch_about(i + 1);
    errno = 0;
    long v = ptrace(PTRACE_PEEKDATA, pid, &traced_value, 0L);
    CHECK(errno == 0 && (v == 77 || v == 11));
    SYS(ptrace(PTRACE_CONT, pid, 0L, 0L));
  }
  SYS(kill(pid, SIGKILL));
  EQ(waitpid(pid, NULL, 0), pid);
  ERRNO(ptrace(PTRACE_SEIZE, pid, 0L, 0L), ESRCH);
  return unused;
}
CASE(tracer) {
  pthread_t t[3];
  for (int i = 0; i < 3; i++) t[i] = start(traces, NULL);
  for (int i = 0; i < 3; i++) finish(t[i]);
}

// A child that asks for a signal when its parent ends: the thread that made it, to the kernel, and that lives. Kernel threads come and go meanwhile.
static void* sleeps_in_kernel(void* unused) {
  struct pollfd none = {.fd = -1};
  EQ(syscall(SYS_poll, &none, 1, 60), 0);
  return unused;
}
static int alive_pipe[2];
static sem_t look_after;
static void* parent_of(void* end) {
  pid_t pid = fork();
  if (pid == 0) {
    SYS(prctl(PR_SET_PDEATHSIG, SIGKILL));
    char c;
    EQ(write(alive_pipe[1], "x", 1), 1);
    if (read(((int*)end)[0], &c, 1) != 1) _exit(1);
    _exit(6);
  }
  int status;
  while (sem_wait(&look_after) != 0) {
  }
  EQ(waitpid(pid, &status, 0), pid);
  EQ(WEXITSTATUS(status), 6);
  return NULL;
}
CASE(parent_lives) {
  int end[2];
  char c;
  pthread_t p[3], t[20];
  SYS(pipe(end));
  SYS(pipe(alive_pipe));
  sem_init(&look_after, 0, 0);
  for (int i = 0; i < 20; i++) t[i] = start(sleeps_in_kernel, NULL);
  pause_ms(5);
  for (int i = 0; i < 3; i++) p[i] = start(parent_of, end);
  for (int i = 0; i < 20; i++) finish(t[i]);
  for (int i = 0; i < 3; i++) EQ(read(alive_pipe[0], &c, 1), 1);
  pause_ms(600);
  EQ(write(end[1], "abc", 3), 3);
  for (int i = 0; i < 3; i++) sem_post(&look_after);
  for (int i = 0; i < 3; i++) finish(p[i]);
}

static void* exits_bare(void* unused) {
  sched_yield();
  syscall(SYS_exit, 3);
  FAIL("still here");
  return unused;
}
CASE(bare_exit) {
  for (int i = 0; i < 20; i++) finish(start(exits_bare, NULL));
}

static int tasks_named(const char* name, int* main_is) {
  char path[64], comm[32] = "";
  snprintf(path, sizeof path, "/proc/self/task/%d/comm", getpid());
  int fd = open(path, O_RDONLY);
  SYS(fd);
  ssize_t n = read(fd, comm, sizeof comm - 1);
  close(fd);
  *main_is = n > 0 && strncmp(comm, name, strlen(name)) == 0;
  return 0;
}
static void* renames(void* unused) {
  (void)unused;
  char name[16];
  SYS(prctl(PR_SET_NAME, "a-worker"));
  sched_yield();
  SYS(prctl(PR_GET_NAME, name));
  CHECK(strcmp(name, "a-worker") == 0);
  OK(pthread_getname_np(pthread_self(), name, sizeof name));
  CHECK(strcmp(name, "a-worker") == 0);
  return NULL;
}
CASE(names) {
  int is;
  for (int i = 0; i < 5; i++) finish(start(renames, NULL));
  tasks_named("identity_own", &is);
  CHECK(is);
}

static void* ids_of(void* out) {
  *(pid_t*)out = gettid();
  for (int i = 0; i < 10; i++) {
    EQ(gettid(), *(pid_t*)out);
    EQ(syscall(SYS_gettid), *(pid_t*)out);
    switch_about(i);
  }
  return NULL;
}
CASE(thread_ids) {
  pid_t id[20];
  pthread_t t[20];
  EQ(gettid(), getpid());
  for (int i = 0; i < 20; i++) t[i] = start(ids_of, &id[i]);
  for (int i = 0; i < 20; i++) finish(t[i]);
  for (int i = 0; i < 20; i++) {
    CHECK(id[i] > 0 && id[i] != getpid());
    for (int j = 0; j < i; j++) CHECK(id[i] != id[j]);
  }
  EQ(gettid(), getpid());
  ERRNO(tgkill(getpid(), id[3], 0), ESRCH);
}
