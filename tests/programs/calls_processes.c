// The relatives of fork, in each a thread of its own can be made; every way to wait for a child; the other names.
#include "beside.h"
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <wordexp.h>

extern char** environ;
extern pid_t __fork(void), __vfork(void), __wait(int*), __waitpid(pid_t, int*, int);
extern int __clone(int (*)(void*), void*, int, void*, ...);
extern FILE* _IO_popen(const char*, const char*);
extern int _IO_fclose(FILE*);

// What a new process must be able to do: make threads that wait for each other, sleep, write.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static void* take_turns(void* argument) {
  long me = (long)argument;
  for (int i = 0; i < 10; i++) {
    OK(pthread_mutex_lock(&lock));
    while (turn % 2 != me) OK(pthread_cond_wait(&changed, &lock));
    turn++;
    OK(pthread_cond_broadcast(&changed));
    OK(pthread_mutex_unlock(&lock));
  }
  return NULL;
}
static int life(void) {
  turn = 0;
  pthread_t a = start(take_turns, (void*)0), b = start(take_turns, (void*)1);
  finish(a);
  finish(b);
  pause_ms(1);
  return turn == 20 ? 11 : 1;
}
static void lived(pid_t child) {
  int status;
  SYS(child);
  EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  EQ(WEXITSTATUS(status), 11);
}

CASE_ANYWHERE(forks) {
  pid_t p = __fork();
  if (p == 0) _exit(life());
  lived(p);
  p = _Fork();
  if (p == 0) _exit(life());
  lived(p);
  p = (pid_t)syscall(SYS_fork);
  if (p == 0) _exit(life());
  lived(p);
  p = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (p == 0) _exit(life());
  lived(p);
  p = __vfork();
  if (p == 0) _exit(11);
  lived(p);
}

CASE_ANYWHERE(fork_with_terminal) {
  int master;
  pid_t p = forkpty(&master, NULL, NULL, NULL);
  if (p == 0) {
    if (!isatty(0) || !isatty(1) || !isatty(2) || write(1, "here I am", 9) != 9) _exit(1);
    _exit(life());
  }
  static char text[1 << 20];
  size_t n = 0;
  ssize_t r;
  while ((r = read(master, text + n, sizeof text - 1 - n)) > 0) n += (size_t)r; // until the child's end closes the other side
  text[n] = 0;
  CHECK(strstr(text, "here I am")); // and perhaps what ld.so says on its standard error (called.bats)
  lived(p);
  SYS(close(master));
}

// The daemon's parent ends, so it is a child's child that becomes one, and tells by a pipe.
CASE_ANYWHERE(daemons) {
  int fd[2];
  SYS(pipe(fd));
  pid_t p = fork();
  SYS(p);
  if (p == 0) {
    if (daemon(0, 0) != 0) _exit(1);
    char here[8] = "", null[32] = "";
    bool right = getcwd(here, sizeof here) && strcmp(here, "/") == 0 && getsid(0) == getpid() &&
                 readlink("/proc/self/fd/1", null, sizeof null) == 9 && strcmp(null, "/dev/null") == 0;
    char c = right && life() == 11 ? 'd' : '!';
    _exit(write(fd[1], &c, 1) == 1 ? 0 : 1);
  }
  int status;
  EQ(waitpid(p, &status, 0), p);
  EQ(status, 0);
  char c;
  EQ(read(fd[0], &c, 1), 1);
  EQ(c, 'd');
  SYS(close(fd[0]));
  SYS(close(fd[1]));
}

static char stack[4][256 * 1024] __attribute__((aligned(16)));
static int copied_life(void* argument) {
  EQ(strcmp(argument, "argument"), 0);
  return life();
}
static int quick(void* argument) {
  *(int*)argument = 77; // the memory is ours
  char c = 'q';
  return write(1, &c, 0) == 0 ? 11 : 1;
}
CASE_ANYWHERE(clones) {
  lived(clone(copied_life, stack[1], SIGCHLD, "argument"));
  lived(__clone(copied_life, stack[1], SIGCHLD | CLONE_VFORK, "argument"));
  int seen = 0;
  lived(clone(quick, stack[2], CLONE_VM | CLONE_VFORK | SIGCHLD, &seen));
  EQ(seen, 77);
  errno = 0;
  EQ(clone(NULL, stack[2], SIGCHLD, NULL), -1);
  EQ(errno, EINVAL);
}

// While the child of a vfork-like clone lives, its caller sleeps and the others run.
static int gate[2];
static int wait_at_gate(void* argument) {
  char c;
  blocking = true;
  (void)argument;
  return syscall(SYS_read, gate[0], &c, 1) == 1 ? 11 : 1;
}
static void* clone_and_sleep(void* argument) {
  lived(clone(wait_at_gate, stack[3], CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
  return argument;
}
static void open_gate(void* argument) {
  (void)argument;
  EQ(write(gate[1], "x", 1), 1);
}
CASE(clone_beside_others) {
  SYS(pipe(gate));
  beside(clone_and_sleep, NULL, open_gate);
}

static pid_t child_with(int status) {
  pid_t p = fork();
  SYS(p);
  if (p == 0) _exit(status);
  return p;
}
CASE_ANYWHERE(waits) {
  int status;
  struct rusage usage;
  siginfo_t info;
  pid_t p = child_with(1);
  EQ(wait(&status), p);
  EQ(WEXITSTATUS(status), 1);
  p = child_with(2);
  EQ(__wait(&status), p);
  p = child_with(3);
  EQ(__waitpid(p, &status, 0), p);
  EQ(WEXITSTATUS(status), 3);
  p = child_with(4);
  EQ(wait3(&status, 0, &usage), p);
  p = child_with(5);
  EQ(wait4(p, &status, 0, &usage), p);
  EQ(WEXITSTATUS(status), 5);
  p = child_with(6);
  SYS(waitid(P_PID, (id_t)p, &info, WEXITED));
  EQ(info.si_status, 6);
  ERRNO(wait(&status), ECHILD);
}

CASE_ANYWHERE(commands) {
  FILE* f = _IO_popen("cat; exit 3", "w");
  CHECK(f);
  EQ(WEXITSTATUS(pclose(f)), 3);
  f = fopen("/dev/null", "r");
  CHECK(f);
  OK(_IO_fclose(f));
  char* argv[] = {"sh", "-c", "exit 5", NULL};
  pid_t p;
  int status;
  OK(posix_spawn(&p, "/bin/sh", NULL, NULL, argv, environ));
  EQ(waitpid(p, &status, 0), p);
  EQ(WEXITSTATUS(status), 5);
  wordexp_t w;
  OK(wordexp("a $(echo b c) $((1 + 2))", &w, 0));
  EQ(w.we_wordc, 4);
  CHECK(strcmp(w.we_wordv[2], "c") == 0 && strcmp(w.we_wordv[3], "3") == 0);
  wordfree(&w);
}
