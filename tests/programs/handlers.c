// Signal handlers: while threads work and while all are blocked; default actions; jumping out of a fault.
#include "net.h"
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

static volatile sig_atomic_t handled;
static int bell[2];
static void ring(int number) {
  int saved = errno;
  handled = handled + 1;
  ssize_t unused = write(bell[1], "x", 1);
  (void)unused;
  (void)number;
  errno = saved;
}
static void install(int number, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;
  SYS(sigaction(number, &action, NULL));
  SYS(sigaction(number, NULL, &old));
  CHECK(old.sa_handler == handler);
}

static _Atomic bool stop;
static void* works(void* argument) {
  while (!stop) {
    for (volatile int i = 0; i < 1000; i++) {
    }
    void* p = malloc(100);
    free(p);
    sched_yield();
  }
  return argument;
}
static sem_t gate;
static void* blocks(void* argument) {
  while (sem_wait(&gate) != 0) EQ(errno, EINTR);
  return argument;
}

static void wait_for_bell(int times) {
  for (int got = 0; got < times;) {
    char c;
    ssize_t n = read(bell[0], &c, 1);
    if (n == 1)
      got++;
    else
      EQ(errno, EINTR);
  }
}

CASE(while_threads_work) {
  SYS(pipe(bell));
  handled = 0;
  stop = false;
  install(SIGUSR1, ring, SA_RESTART);
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(works, NULL);
  for (int i = 0; i < 50; i++) {
    SYS(kill(getpid(), SIGUSR1));
    wait_for_bell(1);
  }
  EQ(handled, 50);
  stop = true;
  for (int i = 0; i < 8; i++) finish(t[i]);
  close_pair(bell);
  signal(SIGUSR1, SIG_DFL);
}

// Everybody is blocked, main too: the handler must run all the same.
CASE(while_all_are_blocked) {
  SYS(pipe(bell));
  OK(sem_init(&gate, 0, 0));
  handled = 0;
  install(SIGALRM, ring, SA_RESTART);
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(blocks, NULL);
  struct itimerval every = {{0, 3000}, {0, 3000}}, off = {{0, 0}, {0, 0}};
  SYS(setitimer(ITIMER_REAL, &every, NULL));
  wait_for_bell(20);
  SYS(setitimer(ITIMER_REAL, &off, NULL));
  CHECK(handled >= 20);
  for (int i = 0; i < 8; i++) OK(sem_post(&gate));
  for (int i = 0; i < 8; i++) finish(t[i]);
  close_pair(bell);
  signal(SIGALRM, SIG_DFL);
}

// The way to stop a pool of blocked workers: a signal for each. Each has its handler run, and its wait ends with EINTR.
static __thread int told;
static _Atomic int waiting;
static int quiet_pipe[2];
static void tell(int number) {
  told = told + 1;
  EQ(number, SIGUSR2);
}
static void tell_any(int number) {
  told = told + 1;
  (void)number;
}
static void* waits_until_told(void* which) {
  char c;
  struct pollfd p = {.fd = quiet_pipe[0], .events = POLLIN};
  struct timespec long_time = {100, 0};
  waiting++;
  switch ((long)which % 4) {
  case 0: EQ(sem_wait(&gate), -1); break;
  case 1: EQ(read(quiet_pipe[0], &c, 1), -1); break;
  case 2: EQ(poll(&p, 1, 100000), -1); break;
  default: EQ(nanosleep(&long_time, NULL), -1); break;
  }
  EQ(errno, EINTR);
  EQ(told, 1);
  return NULL;
}

CASE(each_waiter_is_told) {
  pthread_t t[40];
  SYS(pipe(quiet_pipe));
  OK(sem_init(&gate, 0, 0));
  install(SIGUSR2, tell, 0);
  for (long i = 0; i < 40; i++) t[i] = start(waits_until_told, (void*)i);
  while (waiting < 40) sched_yield();
  pause_ms(300); // a signal before the wait would be missed, natively too
  for (int i = 0; i < 40; i++) OK(pthread_kill(t[i], SIGUSR2));
  for (int i = 0; i < 40; i++) finish(t[i]);
  EQ(told, 0);
  close_pair(quiet_pipe);
}

// One for a thread that blocks it waits there, also for sigwait, and for no other thread's.
static void* takes_own(void* set) {
  int number = 0;
  waiting++;
  OK(sigwait(set, &number));
  EQ(number, SIGUSR1);
  return NULL;
}
CASE(each_takes_its_own) {
  pthread_t t[10];
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  waiting = 0;
  for (int i = 0; i < 10; i++) t[i] = start(takes_own, &set);
  for (int i = 9; i >= 0; i--) {
    OK(pthread_kill(t[i], SIGUSR1));
    finish(t[i]);
  }
  EQ(waiting, 10);
}

// Without a handler: ignored ones leave nothing behind, a blocked one acts when it is unblocked.
static void* raises_unhandled(void* unblock) {
  sigset_t set;
  OK(raise(SIGWINCH));
  OK(raise(SIGCHLD));
  install(SIGWINCH, tell_any, 0);
  install(SIGCHLD, tell_any, 0);
  sched_yield();
  EQ(told, 0);
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  OK(raise(SIGTERM));
  sched_yield();
  if (unblock) OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  return NULL;
}
CASE(unhandled_in_thread) {
  for (int unblock = 0; unblock < 2; unblock++) {
    fflush(stdout);
    pid_t child = fork();
    SYS(child);
    if (child == 0) {
      finish(start(raises_unhandled, unblock ? &told : NULL));
      _exit(3);
    }
    int status;
    EQ(waitpid(child, &status, 0), child);
    if (unblock) CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    else CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  }
}

CASE(while_main_joins) {
  SYS(pipe(bell));
  OK(sem_init(&gate, 0, 0));
  install(SIGUSR1, ring, SA_RESTART);
  fflush(stdout);
  pid_t parent = getpid(), child = fork();
  SYS(child);
  if (child == 0) { // a process without threads sends the signal and, when it was heard, ends us all
    pause_ms(20);
    kill(parent, SIGUSR1);
    wait_for_bell(1);
    _exit(0);
  }
  pthread_t t = start(blocks, NULL);
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
  OK(sem_post(&gate));
  finish(t);
  close_pair(bell);
  signal(SIGUSR1, SIG_DFL);
}

CASE(raised_by_itself) {
  SYS(pipe(bell));
  handled = 0;
  install(SIGUSR2, ring, 0);
  OK(raise(SIGUSR2));
  EQ(handled, 1); // before raise returns
  stop = true;
  finish(start(works, NULL));
  OK(raise(SIGUSR2));
  EQ(handled, 2);
  close_pair(bell);
  signal(SIGUSR2, SIG_DFL);
}

// A process killed by the default action while its threads block.
static int ends_by(void (*prepare)(void), int number) {
  int said[2];
  SYS(pipe(said));
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    if (prepare) prepare();
    OK(sem_init(&gate, 0, 0));
    for (int i = 0; i < 5; i++) start(blocks, NULL);
    write_byte(said[1]);
    blocks(NULL);
    _exit(1);
  }
  read_byte(said[0]);
  pause_ms(5);
  SYS(kill(child, number));
  int status;
  EQ(waitpid(child, &status, 0), child);
  close_pair(said);
  return status;
}

CASE(default_action_kills) {
  int numbers[] = {SIGTERM, SIGINT, SIGKILL, SIGUSR1, SIGALRM, SIGHUP};
  for (int i = 0; i < 6; i++) {
    int status = ends_by(NULL, numbers[i]);
    CHECK(WIFSIGNALED(status));
    EQ(WTERMSIG(status), numbers[i]);
  }
}

static void leave(int number) { _exit(number + 40); }
static void leave_on_term(void) { install(SIGTERM, leave, 0); }
CASE(handler_may_exit) {
  int status = ends_by(leave_on_term, SIGTERM);
  CHECK(WIFEXITED(status));
  EQ(WEXITSTATUS(status), SIGTERM + 40);
}

static __thread sigjmp_buf after_fault;
static void jump_out(int number) { siglongjmp(after_fault, number); }
static void* faults(void* page) {
  for (volatile int i = 0; i < 20; i++) {
    int number = sigsetjmp(after_fault, 1);
    if (number == 0) {
      *(volatile char*)page = 1;
      FAIL("no fault");
    }
    EQ(number, SIGSEGV);
    sched_yield();
  }
  sigset_t mask;
  OK(pthread_sigmask(SIG_SETMASK, NULL, &mask));
  EQ(sigismember(&mask, SIGSEGV), 0);
  return NULL;
}

CASE(jump_out_of_a_fault) {
  void* page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  install(SIGSEGV, jump_out, 0);
  faults(page);
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(faults, page);
  for (int i = 0; i < 10; i++) finish(t[i]);
  faults(page);
  signal(SIGSEGV, SIG_DFL);
  SYS(munmap(page, 4096));
}

static void* volatile fault_address;
static void map_it(int number, siginfo_t* info, void* context) {
  (void)number;
  (void)context;
  fault_address = info->si_addr;
  if (mprotect(info->si_addr, 4096, PROT_READ | PROT_WRITE) != 0) _exit(6);
}
static void* touch(void* page) {
  *(volatile char*)page = 5; // repaired by the handler, then done again
  EQ(*(volatile char*)page, 5);
  return NULL;
}
CASE(repaired_fault) {
  char* pages = mmap(NULL, 4 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {.sa_sigaction = map_it, .sa_flags = SA_SIGINFO};
  SYS(sigaction(SIGSEGV, &action, NULL));
  for (int i = 0; i < 4; i++) {
    if (i % 2)
      finish(start(touch, pages + (size_t)i * 4096));
    else
      touch(pages + (size_t)i * 4096);
    CHECK(fault_address == pages + (size_t)i * 4096);
  }
  signal(SIGSEGV, SIG_DFL);
  SYS(munmap(pages, 4 * 4096));
}

CASE(ignored_and_blocked) {
  signal(SIGUSR1, SIG_IGN);
  SYS(kill(getpid(), SIGUSR1));
  SYS(pipe(bell));
  handled = 0;
  install(SIGUSR2, ring, 0);
  sigset_t set, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  OK(raise(SIGUSR2));
  EQ(handled, 0);
  SYS(sigpending(&pending));
  EQ(sigismember(&pending, SIGUSR2), 1);
  OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  EQ(handled, 1);
  close_pair(bell);
  signal(SIGUSR1, SIG_DFL);
  signal(SIGUSR2, SIG_DFL);
}

// No signal ends a wait for a disk, whatever the handler's flags.
static _Atomic bool reading_files;
static void do_nothing(int number) { (void)number; }
static void* reads_files(void* argument) {
  char name[] = "/tmp/handlers-XXXXXX", bytes[100] = "";
  int made = mkstemp(name);
  SYS(made);
  EQ(write(made, bytes, sizeof bytes), (ssize_t)sizeof bytes);
  for (int i = 0; i < 3000; i++) {
    int fd = open(name, O_RDWR);
    SYS(fd);
    EQ(read(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
    EQ(pwrite(fd, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    EQ(pread(fd, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    FILE* f = fopen(name, "r");
    CHECK(f);
    EQ(fread(bytes, 1, sizeof bytes, f), sizeof bytes);
    OK(fclose(f));
    SYS(close(fd));
  }
  SYS(unlink(name));
  SYS(close(made));
  reading_files = false;
  return argument;
}
CASE(disk_calls_are_not_interrupted) {
  install(SIGUSR2, do_nothing, 0);
  reading_files = true;
  pthread_t t = start(reads_files, NULL);
  while (reading_files) {
    OK(pthread_kill(t, SIGUSR2));
    sched_yield();
  }
  finish(t);
}
