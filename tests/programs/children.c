// Children of a process full of threads: vfork and what it shares, many made at once, exec and exit beside running and parked
// threads, daemons that then make threads, fork inside a signal handler, the environment that children see.
#include "net.h"
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

extern char** environ;

static int wait_for(pid_t child) {
  int status;
  pid_t got;
  while ((got = waitpid(child, &status, 0)) == -1 && errno == EINTR) {
  }
  EQ(got, child);
  return status;
}
static void exited_with(pid_t child, int code) {
  int status = wait_for(child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != code) FAIL("child's status is %#x, expected exit %d", status, code);
}
static pid_t forked(void) {
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  return child;
}

// ---- company: threads that run, that are parked in every way, and that hold locks of libc's now and then
static atomic_bool stop;
static sem_t never;
static int quiet_pipe[2];
static void* spins(void* argument) {
  for (unsigned i = 0; !stop; i++)
    if (i % 100) sched_yield();
    else usleep(200);
  return argument;
}
static void* allocates(void* argument) {
  unsigned seed = 1;
  while (!stop) {
    free(malloc((size_t)rand_r(&seed) % 3000 + 1));
    FILE* f = fopen("/dev/null", "w");
    if (f) {
      fprintf(f, "%d\n", rand());
      fclose(f);
    }
    usleep(50);
  }
  return argument;
}
static void* waits_sem(void* argument) {
  while (sem_wait(&never) != 0) {
  }
  return argument;
}
static void* waits_pipe(void* argument) {
  char c;
  while (read(quiet_pipe[0], &c, 1) < 0) {
  }
  return argument;
}
enum { kCompany = 40 };
static pthread_t company[kCompany];
static void invite(void) {
  static void* (*const bodies[])(void*) = {spins, allocates, waits_sem, waits_pipe};
  stop = false;
  OK(sem_init(&never, 0, 0));
  SYS(pipe(quiet_pipe));
  for (int i = 0; i < kCompany; i++) company[i] = start(i < 2 ? spins : bodies[1 + i % 3], NULL);
}
static void send_away(void) {
  stop = true;
  for (int i = 0; i < kCompany; i++) {
    OK(sem_post(&never));
    write_byte(quiet_pipe[1]);
  }
  for (int i = 0; i < kCompany; i++) finish(company[i]);
  close_pair(quiet_pipe);
}

static void* in_thread(void* body) {
  (*(void (**)(void))body)();
  return NULL;
}
static void crowd(void (*body)(void), int n) {
  pthread_t t[64];
  for (int i = 0; i < n; i++) t[i] = start(in_thread, &body);
  for (int i = 0; i < n; i++) finish(t[i]);
}
static void everywhere(void (*body)(void)) {
  body();
  crowd(body, 1);
  crowd(body, 8);
}

// ---- vfork: the child works in the parent's memory while the caller sleeps
static pid_t vforked(volatile int* failed_with, const char* program) {
  char* argv[] = {"true", NULL};
  pid_t child = vfork();
  if (child == 0) {
    execve(program, argv, environ);
    *failed_with = errno;
    _exit(77);
  }
  return child;
}
static void vfork_tells_why(void) {
  volatile int failed_with = 0;
  errno = 0;
  pid_t child = vforked(&failed_with, "/nonexistent/program");
  SYS(child);
  EQ(failed_with, ENOENT);
  exited_with(child, 77);
  failed_with = 0;
  child = vforked(&failed_with, "/bin/true");
  SYS(child);
  EQ(failed_with, 0);
  exited_with(child, 0);
}
CASE(vfork_shares_memory) {
  everywhere(vfork_tells_why);
  invite();
  crowd(vfork_tells_why, 20);
  send_away();
}

// What a shell does between vfork and exec: signals, mask, descriptors, its group. None of it reaches the parent.
static void on_usr1(int sig) { (void)sig; }
static void vfork_arranges(void) {
  sigset_t none, before, after;
  struct sigaction usr1, usr2, pipe_action;
  int fd[2];
  SYS(pipe2(fd, O_CLOEXEC));
  sigemptyset(&none);
  OK(pthread_sigmask(SIG_SETMASK, NULL, &before));
  pid_t self = getpid();
  volatile pid_t of_child = 0;
  volatile int old_is_ours = 0;
  pid_t child = vfork();
  if (child == 0) {
    of_child = getpid();
    struct sigaction ignore = {.sa_handler = SIG_IGN}, normal = {.sa_handler = SIG_DFL}, old;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigaction(SIGUSR1, &normal, &old);
    old_is_ours = old.sa_handler == on_usr1;
    sigaction(SIGUSR2, &ignore, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    dup2(fd[1], 1);
    close(0);
    open("/dev/null", O_RDONLY);
    execl("/bin/sh", "sh", "-c", "echo from $(basename $0); exit 5", (char*)NULL);
    _exit(99);
  }
  SYS(child);
  EQ(of_child, child);
  EQ(old_is_ours, 1);
  EQ(getpid(), self);
  SYS(close(fd[1]));
  char text[32] = "";
  size_t got = 0;
  ssize_t n;
  while ((n = read(fd[0], text + got, sizeof text - 1 - got)) > 0) got += (size_t)n;
  CHECK(strcmp(text, "from sh\n") == 0);
  SYS(close(fd[0]));
  exited_with(child, 5);
  OK(pthread_sigmask(SIG_SETMASK, NULL, &after));
  CHECK(memcmp(&before, &after, 8) == 0);
  SYS(sigaction(SIGUSR1, NULL, &usr1));
  SYS(sigaction(SIGUSR2, NULL, &usr2));
  SYS(sigaction(SIGPIPE, NULL, &pipe_action));
  CHECK(usr1.sa_handler == on_usr1 && usr2.sa_handler == SIG_DFL && pipe_action.sa_handler == SIG_DFL);
  EQ(usr1.sa_flags & (SA_RESTART | SA_ONSTACK), SA_RESTART);
}
CASE(vfork_child_arranges_things) {
  struct sigaction a = {.sa_handler = on_usr1, .sa_flags = SA_RESTART}, normal = {.sa_handler = SIG_DFL};
  SYS(sigaction(SIGUSR1, &a, NULL));
  everywhere(vfork_arranges);
  SYS(sigaction(SIGUSR1, &normal, NULL));
}

// The caller sleeps until the child has gone, the others go on.
static _Atomic long steps;
static void* steps_on(void* argument) {
  while (!stop) {
    steps++;
    sched_yield();
  }
  return argument;
}
static int last_fd[2];
static void* feeds(void* argument) {
  // Wait until others have come on while the vfork lasts, then end it.
  long before = steps;
  while (steps < before + 100) sched_yield();
  char c = 'x';
  (void)!write(last_fd[1], &c, 1);
  return argument;
}
static void* vforks_beside(void* argument) {
  pid_t child = vfork();
  if (child == 0) {
    char c;
    _exit(read(last_fd[0], &c, 1) == 1 ? 3 : 4);
  }
  SYS(child);
  exited_with(child, 3);
  return argument;
}
CASE(others_go_on_during_vfork) {
  stop = false;
  SYS(pipe(last_fd));
  pthread_t walker = start(steps_on, NULL);
  for (int i = 0; i < 5; i++) {
    pthread_t t = start(vforks_beside, NULL), feeder = start(feeds, NULL);
    finish(t);
    finish(feeder);
  }
  stop = true;
  finish(walker);
  close_pair(last_fd);
}

// ---- many at once
static void spawn_one(void) {
  char* argv[] = {"sh", "-c", "exit 6", NULL};
  pid_t child;
  OK(posix_spawnp(&child, "sh", NULL, NULL, argv, environ));
  exited_with(child, 6);
}
static void system_one(void) { EQ(WEXITSTATUS(system("exit 7")), 7); }
static void popen_one(void) {
  char line[16] = "";
  FILE* f = popen("echo hello", "r");
  CHECK(f && fgets(line, sizeof line, f) && strcmp(line, "hello\n") == 0);
  EQ(pclose(f), 0);
}
// Of glibc 2.39; where there is none, natively, there is nothing to look at.
#pragma weak pidfd_spawn
#pragma weak pidfd_spawnp
int pidfd_spawn(int*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const[], char* const[]);
int pidfd_spawnp(int*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const[], char* const[]);
static void ended_with(int pidfd, int code) {
  siginfo_t info = {0};
  struct pollfd p = {.fd = pidfd, .events = POLLIN};
  while (poll(&p, 1, -1) != 1) {
  }
  SYS(waitid((idtype_t)3 /*P_PIDFD*/, (id_t)pidfd, &info, WEXITED));
  EQ(info.si_code, CLD_EXITED);
  EQ(info.si_status, code);
  SYS(close(pidfd));
}
static void spawn_with_pidfd(void) {
  char* argv[] = {"sh", "-c", "exit 9", NULL};
  int fd = -1;
  int rc = pidfd_spawn ? pidfd_spawn(&fd, "/bin/sh", NULL, NULL, argv, environ) : ENOSYS;
  if (rc != ENOSYS) {
    OK(rc);
    ended_with(fd, 9);
  }
  rc = pidfd_spawnp ? pidfd_spawnp(&fd, "sh", NULL, NULL, argv, environ) : ENOSYS;
  if (rc == ENOSYS) return;
  OK(rc);
  ended_with(fd, 9);
  EQ(pidfd_spawnp(&fd, "/nonexistent/program", NULL, NULL, argv, environ), ENOENT);
}
CASE(spawned_with_pidfd) { everywhere(spawn_with_pidfd); }

CASE(spawned_by_many_at_once) {
  invite();
  crowd(spawn_one, 30);
  crowd(popen_one, 20);
  crowd(system_one, 20);
  send_away();
}

// ---- a child of a thread goes on as a program with threads of its own
static void* adds(void* sum) {
  for (int i = 0; i < 100; i++) {
    free(malloc(100));
    atomic_fetch_add((_Atomic int*)sum, 1);
    sched_yield();
  }
  return NULL;
}
static void threads_work(void) {
  _Atomic int sum = 0;
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(adds, &sum);
  for (int i = 0; i < 10; i++) finish(t[i]);
  EQ(sum, 1000);
  FILE* f = tmpfile();
  CHECK(f && fprintf(f, "%d\n", sum) == 5 && fclose(f) == 0);
  EQ(WEXITSTATUS(system("exit 2")), 2);
}
static void* forks_again(void* argument) {
  pid_t child = forked();
  if (child == 0) {
    threads_work();
    _exit(21);
  }
  exited_with(child, 21);
  return argument;
}
static void fork_and_make_threads(void) {
  pid_t child = forked();
  if (child == 0) {
    threads_work();
    finish(start(forks_again, NULL));
    _exit(20);
  }
  exited_with(child, 20);
}
CASE(child_of_a_thread_makes_threads) {
  invite();
  fork_and_make_threads();
  crowd(fork_and_make_threads, 3);
  send_away();
}

// ---- fork in a signal handler
static _Atomic int handled, forked_well;
static void handler_forks(int sig) {
  (void)sig;
  int keep = errno;
  pid_t child = _Fork();
  if (child == 0) _exit(8);
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 8) forked_well++;
  handled++;
  errno = keep;
}
static void* is_signalled(void* argument) {
  while (!stop) {
    usleep(1000);
    sched_yield();
  }
  return argument;
}
CASE(fork_in_a_handler) {
  struct sigaction a = {.sa_handler = handler_forks, .sa_flags = SA_RESTART}, normal = {.sa_handler = SIG_DFL};
  SYS(sigaction(SIGUSR1, &a, NULL));
  handled = forked_well = 0;
  EQ(raise(SIGUSR1), 0);
  EQ(handled, 1);
  stop = false;
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(is_signalled, NULL);
  for (int i = 0; i < 4; i++) {
    OK(pthread_kill(t[i], SIGUSR1));
    while (handled < i + 2) pause_ms(1);
  }
  SYS(kill(getpid(), SIGUSR1));
  while (handled < 6) pause_ms(1);
  EQ(forked_well, 6);
  stop = true;
  for (int i = 0; i < 4; i++) finish(t[i]);
  SYS(sigaction(SIGUSR1, &normal, NULL));
}

// ---- exec, exit and the like in the midst of the others
static void* execs(void* pid) {
  char text[64];
  snprintf(text, sizeof text, "echo same process: $(($$ == %d))", *(int*)pid);
  fflush(stdout);
  execl("/bin/sh", "sh", "-c", text, (char*)NULL);
  FAIL("exec failed");
}
CASE_ALONE(exec_from_a_thread) {
  int pid = getpid();
  invite();
  start(execs, &pid);
  for (;;) pause();
}
static void* ends_process(void* how) {
  ((void (*)(int)) how)(19);
  return NULL;
}
static void at_end(void) { printf("at exit\n"); }
static void at_quick_end(void) { (void)!write(1, "at quick exit\n", 14); }
CASE_ALONE(exit_among_others) {
  OK(atexit(at_end));
  invite();
  start(ends_process, exit);
  waits_sem(NULL);
}
CASE_ALONE(underscore_exit_among_others) {
  OK(atexit(at_end));
  invite();
  start(ends_process, _exit);
  waits_sem(NULL);
}
CASE_ALONE(quick_exit_among_others) {
  OK(atexit(at_end));
  OK(at_quick_exit(at_quick_end));
  invite();
  start(ends_process, quick_exit);
  waits_sem(NULL);
}
static void* sends_away_later(void* argument) {
  pause_ms(20);
  send_away();
  puts("last thread");
  return argument;
}
CASE_ALONE(main_leaves_the_others) {
  OK(atexit(at_end));
  invite();
  start(sends_away_later, NULL);
  pthread_exit(NULL);
}

// ---- daemons
static void daemon_reports(const char* made, int out) {
  threads_work();
  char text[64];
  int n = snprintf(text, sizeof text, "%s: leader %d\n", made, getsid(0) == getpid());
  (void)!write(out, text, (size_t)n);
}
static void show(int in, int out) {
  SYS(close(out));
  char c;
  while (read(in, &c, 1) == 1) putchar(c);
  SYS(close(in));
}
CASE(daemon_makes_threads) {
  for (int with_threads = 0; with_threads < 2; with_threads++) {
    if (with_threads) invite();
    int fd[2];
    SYS(pipe(fd));
    pid_t child = forked();
    if (child == 0) {
      close(fd[0]);
      if (daemon(0, 0) != 0) _exit(1);
      daemon_reports("daemon()", fd[1]);
      _exit(0);
    }
    show(fd[0], fd[1]);
    exited_with(child, 0);

    SYS(pipe(fd));
    child = forked();
    if (child == 0) {
      close(fd[0]);
      threads_work(); // a first generation that had threads too
      setsid();
      pid_t second = fork();
      if (second != 0) _exit(second < 0);
      daemon_reports("double fork", fd[1]);
      _exit(0);
    }
    show(fd[0], fd[1]);
    exited_with(child, 0);
    if (with_threads) send_away();
  }
}
