// Children of threads: fork and exec, _exit or go on; system, popen, posix_spawn; waiting for them in threads.
#include "net.h"
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

extern char** environ;

static int wait_for(pid_t child) {
  int status;
  EQ(waitpid(child, &status, 0), child);
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

static void* in_thread(void* body) {
  (*(void (**)(void))body)();
  return NULL;
}
// From main before and after threads were there, from a thread, from several at once.
static void everywhere(void (*body)(void)) {
  body();
  finish(start(in_thread, &body));
  body();
  pthread_t t[6];
  for (int i = 0; i < 6; i++) t[i] = start(in_thread, &body);
  for (int i = 0; i < 6; i++) finish(t[i]);
}

static void fork_and_exit(void) {
  pid_t child = forked();
  if (child == 0) _exit(23);
  exited_with(child, 23);
}
CASE(fork_then_exit) { everywhere(fork_and_exit); }

static void fork_and_exec(void) {
  int fd[2];
  SYS(pipe(fd));
  pid_t child = forked();
  if (child == 0) {
    dup2(fd[1], 1);
    close(fd[0]);
    close(fd[1]);
    execlp("echo", "echo", "from", "exec", (char*)NULL);
    _exit(99);
  }
  SYS(close(fd[1]));
  char text[32] = "";
  size_t got = 0;
  ssize_t n;
  while ((n = read(fd[0], text + got, sizeof text - 1 - got)) > 0) got += (size_t)n;
  CHECK(strcmp(text, "from exec\n") == 0);
  SYS(close(fd[0]));
  exited_with(child, 0);
}
CASE(fork_then_exec) { everywhere(fork_and_exec); }

// The child goes on with its one thread: stdio, malloc, locks, sleeping, pipes, descriptors, identity.
static void child_lives(void) {
  EQ(gettid(), getpid());
  char* p = malloc(100000);
  memset(p, 1, 100000);
  free(p);
  FILE* f = tmpfile();
  CHECK(f && fprintf(f, "line %d\n", 7) == 7);
  rewind(f);
  char line[16];
  CHECK(fgets(line, sizeof line, f) && strcmp(line, "line 7\n") == 0);
  fclose(f);
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  OK(pthread_mutex_lock(&m));
  OK(pthread_mutex_unlock(&m));
  pause_ms(2);
  int fd[2];
  SYS(pipe(fd));
  write_byte(fd[1]);
  read_byte(fd[0]);
  struct pollfd p1 = {.fd = fd[0], .events = POLLIN};
  EQ(poll(&p1, 1, 2), 0);
  close_pair(fd);
  sched_yield();
}
static void fork_and_live(void) {
  pid_t child = forked();
  if (child == 0) {
    child_lives();
    _exit(0);
  }
  exited_with(child, 0);
}
CASE(fork_then_go_on) { everywhere(fork_and_live); }

static void fork_and_leave_by_exit(void) {
  pid_t child = forked();
  if (child == 0) exit(31); // runs the handlers in the child
  exited_with(child, 31);
}
static int handlers_run[2];
static void at_end(void) {
  ssize_t unused = write(handlers_run[1], "h", 1);
  (void)unused;
}
CASE_ALONE(atexit_in_child_and_parent) {
  SYS(pipe(handlers_run));
  OK(atexit(at_end));
  everywhere(fork_and_leave_by_exit);
  SYS(close(dup(handlers_run[1])));
  char text[32];
  EQ(read(handlers_run[0], text, sizeof text), 9); // one from each child, none from us yet
}

// Threads compute, block and allocate while others fork: the child may find none of libc's locks held.
static _Atomic bool stop;
static void* keeps_busy(void* argument) {
  while (!stop) {
    void* p = malloc((size_t)rand() % 3000 + 1);
    FILE* f = fopen("/dev/null", "w");
    if (f) {
      fprintf(f, "%p\n", p);
      fclose(f);
    }
    free(p);
    usleep(100);
  }
  return argument;
}
CASE(fork_among_busy_threads) {
  pthread_t t[20];
  stop = false;
  for (int i = 0; i < 20; i++) t[i] = start(keeps_busy, NULL);
  void (*body)(void) = fork_and_live;
  for (int i = 0; i < 10; i++) finish(start(in_thread, &body));
  stop = true;
  for (int i = 0; i < 20; i++) finish(t[i]);
}

static void use_system(void) {
  int status = system("exit 3");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  CHECK(system(NULL) != 0);
}
CASE(system_call) { everywhere(use_system); }

static void use_popen(void) {
  FILE* f = popen("printf 'one\\ntwo\\n'", "r");
  char line[16];
  CHECK(f);
  CHECK(fgets(line, sizeof line, f) && strcmp(line, "one\n") == 0);
  CHECK(fgets(line, sizeof line, f) && strcmp(line, "two\n") == 0);
  CHECK(!fgets(line, sizeof line, f));
  EQ(pclose(f), 0);
  f = popen("cat >/dev/null; exit 4", "w");
  CHECK(f);
  fprintf(f, "some input\n");
  EQ(WEXITSTATUS(pclose(f)), 4);
}
CASE(popen_call) { everywhere(use_popen); }

static void use_spawn(void) {
  int fd[2];
  SYS(pipe(fd));
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  OK(posix_spawn_file_actions_init(&actions));
  OK(posix_spawn_file_actions_adddup2(&actions, fd[1], 1));
  OK(posix_spawn_file_actions_addclose(&actions, fd[0]));
  OK(posix_spawnattr_init(&attr));
  sigset_t none;
  sigemptyset(&none);
  OK(posix_spawnattr_setsigmask(&attr, &none));
  OK(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK));
  char* argv[] = {"sh", "-c", "echo spawned; exit 5", NULL};
  pid_t child;
  OK(posix_spawnp(&child, "sh", &actions, &attr, argv, environ));
  SYS(close(fd[1]));
  char text[16];
  EQ(read(fd[0], text, sizeof text), 8);
  exited_with(child, 5);
  SYS(close(fd[0]));
  EQ(posix_spawnp(&child, "/nonexistent/program", NULL, NULL, argv, environ), ENOENT);
  OK(posix_spawn_file_actions_destroy(&actions));
  OK(posix_spawnattr_destroy(&attr));
}
CASE(posix_spawn_call) { everywhere(use_spawn); }

static void use_vfork(void) {
  pid_t child = vfork();
  SYS(child);
  if (child == 0) {
    execlp("true", "true", (char*)NULL);
    _exit(99);
  }
  exited_with(child, 0);
}
CASE(vfork_then_exec) { everywhere(use_vfork); }

static void* wait_for_one(void* pid) {
  exited_with(*(pid_t*)pid, 7);
  return NULL;
}
CASE(waiting_in_threads) {
  int fd[2];
  SYS(pipe(fd));
  pid_t child[10];
  pthread_t t[10];
  for (int i = 0; i < 10; i++) {
    child[i] = forked();
    if (child[i] == 0) {
      char c;
      _exit(read(fd[0], &c, 1) == 1 ? 7 : 1);
    }
    t[i] = start(wait_for_one, &child[i]);
  }
  pause_ms(5);
  EQ(waitpid(child[3], NULL, WNOHANG), 0);
  EQ(write(fd[1], "0123456789", 10), 10);
  for (int i = 0; i < 10; i++) finish(t[i]);
  ERRNO(waitpid(-1, NULL, 0), ECHILD);
  close_pair(fd);
}

static int order[8], ordered;
static void prepare1(void) { order[ordered++] = 1; }
static void prepare2(void) { order[ordered++] = 2; }
static void parent1(void) { order[ordered++] = 3; }
static void parent2(void) { order[ordered++] = 4; }
static void child1(void) { order[ordered++] = 5; }
static void child2(void) { order[ordered++] = 6; }
static void fork_with_handlers(void) {
  ordered = 0;
  pid_t child = forked();
  if (child == 0) _exit(ordered == 4 && order[0] == 2 && order[1] == 1 && order[2] == 5 && order[3] == 6 ? 0 : 1);
  EQ(ordered, 4);
  CHECK(order[0] == 2 && order[1] == 1 && order[2] == 3 && order[3] == 4);
  exited_with(child, 0);
}
CASE_ALONE(atfork_handlers) {
  OK(pthread_atfork(prepare1, parent1, child1));
  OK(pthread_atfork(prepare2, parent2, child2));
  void (*body)(void) = fork_with_handlers;
  body();
  finish(start(in_thread, &body));
}

// What a child of a plain, so far single-threaded program does is its own business: threads too.
static void* nothing(void* argument) { return argument; }
CASE_ALONE(child_makes_threads) {
  pid_t child = forked();
  if (child == 0) {
    pthread_t t[20];
    for (int i = 0; i < 20; i++) t[i] = start(nothing, &t[i]);
    for (int i = 0; i < 20; i++) CHECK(finish(t[i]) == &t[i]);
    exit(0);
  }
  finish(start(nothing, NULL));
  exited_with(child, 0);
}
