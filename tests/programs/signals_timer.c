// Timers: for one thread, for the process, by a thread of libc's; and default actions while everybody is blocked.
#include "net.h"
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

static __thread volatile int ticks, wrong;
static __thread int mine;
static void tick(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (info->si_code != SI_TIMER || info->si_value.sival_int != mine) wrong++;
  ticks++;
}
static timer_t timer_for(int notify, int number, int value) {
  struct sigevent event = {.sigev_notify = notify, .sigev_signo = number, .sigev_value.sival_int = value};
  if (notify == SIGEV_THREAD_ID) event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
  timer_t timer;
  SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
  return timer;
}
static void set_timer(timer_t timer, long ms, bool again) {
  struct itimerspec when = {.it_value.tv_nsec = ms * 1000000};
  if (again) when.it_interval = when.it_value;
  SYS(timer_settime(timer, 0, &when, NULL));
}

static sem_t never;
// Each has a timer of its own, computes, waits or is in sigwait, and nobody else's signal comes.
static void* has_a_timer(void* which) {
  mine = (int)(long)which + 1;
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN);
  if (mine % 3 == 0) OK(pthread_sigmask(SIG_BLOCK, &blocked, NULL));
  timer_t timer = timer_for(SIGEV_THREAD_ID, SIGRTMIN, mine);
  set_timer(timer, 3, true);
  while (ticks < 5) {
    if (mine % 3 == 0) {
      siginfo_t info;
      EQ(sigwaitinfo(&blocked, &info), SIGRTMIN);
      EQ(info.si_value.sival_int, mine);
      ticks++;
    } else if (mine % 3 == 1) {
      if (sem_wait(&never) != 0) EQ(errno, EINTR);
    }
  }
  SYS(timer_delete(timer));
  EQ(wrong, 0);
  return NULL;
}
static void threads_with_timers(void) {
  OK(sem_init(&never, 0, 0));
  struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO};
  SYS(sigaction(SIGRTMIN, &action, NULL));
  pthread_t t[6];
  for (long i = 0; i < 6; i++) t[i] = start(has_a_timer, (void*)i);
  for (int i = 0; i < 6; i++) finish(t[i]);
}
CASE(for_one_thread) { threads_with_timers(); }
CASE(for_one_thread_while_main_blocks) {
  sigset_t all;
  sigfillset(&all);
  pthread_t t = start((void* (*)(void*))(void*)sched_yield, NULL); // threads begin before main blocks
  finish(t);
  OK(pthread_sigmask(SIG_BLOCK, &all, NULL));
  sigset_t rt;
  sigemptyset(&rt);
  sigaddset(&rt, SIGRTMIN);
  OK(sem_init(&never, 0, 0));
  mine = 30;
  timer_t timer = timer_for(SIGEV_THREAD_ID, SIGRTMIN, 30);
  set_timer(timer, 2, true);
  for (int i = 0; i < 5; i++) {
    siginfo_t info;
    EQ(sigwaitinfo(&rt, &info), SIGRTMIN);
    EQ(info.si_value.sival_int, 30);
  }
  SYS(timer_delete(timer));
  OK(pthread_sigmask(SIG_UNBLOCK, &all, NULL));
}

static sem_t rung;
static _Atomic int value_seen;
static void ring(union sigval value) {
  value_seen = value.sival_int;
  sem_post(&rung);
}
static void ring_by_signal(int number) {
  (void)number;
  sem_post(&rung);
}
CASE(by_a_thread) {
  finish(start((void* (*)(void*))(void*)sched_yield, NULL));
  OK(sem_init(&rung, 0, 0));
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 77};
  event.sigev_notify_function = ring;
  timer_t timer;
  SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
  set_timer(timer, 2, true);
  for (int i = 0; i < 5; i++)
    while (sem_wait(&rung) != 0) EQ(errno, EINTR);
  SYS(timer_delete(timer));
  EQ(value_seen, 77);
}
static void* waits_for_ring(void* argument) {
  for (int i = 0; i < 3; i++)
    while (sem_wait(&rung) != 0) EQ(errno, EINTR);
  return argument;
}
CASE(for_the_process) {
  OK(sem_init(&rung, 0, 0));
  signal(SIGALRM, ring_by_signal);
  pthread_t t = start(waits_for_ring, NULL);
  timer_t timer = timer_for(SIGEV_SIGNAL, SIGALRM, 1);
  set_timer(timer, 2, true);
  finish(t);
  SYS(timer_delete(timer));
  struct itimerval every = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
  for (int which = 0; which < 2; which++) {
    signal(which ? SIGPROF : SIGALRM, ring_by_signal);
    t = start(waits_for_ring, NULL);
    SYS(setitimer(which ? ITIMER_PROF : ITIMER_REAL, &every, NULL));
    if (which)
      while (pthread_tryjoin_np(t, NULL) != 0) {
      }
    else
      finish(t);
    SYS(setitimer(which ? ITIMER_PROF : ITIMER_REAL, &off, NULL));
  }
}

// Default actions in a process all of whose threads wait; once one blocks them all, too.
static void* waits(void* block) {
  sigset_t all;
  sigfillset(&all);
  if (block) OK(pthread_sigmask(SIG_BLOCK, &all, NULL));
  for (;;) sem_wait(&never);
}
static int told[2];
static pid_t waiting_child(long block) {
  SYS(pipe(told));
  pid_t child = fork();
  if (child == 0) {
    SYS(setpgid(0, 0)); // SIGTSTP does not stop a group that nobody in the session looks after
    OK(sem_init(&never, 0, 0));
    for (int i = 0; i < 3; i++) start(waits, (void*)block);
    pause_ms(5);
    write_byte(told[1]);
    waits(NULL);
  }
  char c;
  EQ(read(told[0], &c, 1), 1);
  return child;
}
CASE(default_actions) {
  for (long block = 0; block < 2; block++) {
    int status;
    pid_t child = waiting_child(block);
    SYS(kill(child, SIGSTOP));
    EQ(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    SYS(kill(child, SIGCONT));
    EQ(waitpid(child, &status, WCONTINUED), child);
    CHECK(WIFCONTINUED(status));
    SYS(kill(child, SIGTSTP));
    EQ(waitpid(child, &status, WUNTRACED), child);
    SYS(kill(child, SIGCONT));
    SYS(kill(child, SIGTERM));
    EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    close_pair(told);
  }
}
// What everybody blocks has no default action, even if it has just been blocked by the last; opened, it has.
CASE(default_action_is_blocked) {
  pid_t child = fork();
  if (child == 0) {
    sigset_t term, now;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    OK(sem_init(&never, 0, 0));
    for (int i = 0; i < 3; i++) start(waits, (void*)1);
    pause_ms(3);
    for (int i = 0; i < 100; i++) {
      OK(pthread_sigmask(SIG_BLOCK, &term, NULL));
      SYS(kill(getpid(), SIGTERM));
      SYS(sigpending(&now));
      CHECK(sigismember(&now, SIGTERM));
      int number;
      OK(sigwait(&term, &number));
      OK(pthread_sigmask(SIG_UNBLOCK, &term, NULL));
      if (i % 10 == 0) pause_ms(2);
    }
    pause_ms(30);
    OK(pthread_sigmask(SIG_BLOCK, &term, NULL));
    SYS(kill(getpid(), SIGTERM));
    pause_ms(2);
    OK(pthread_sigmask(SIG_UNBLOCK, &term, NULL));
    _exit(1);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}
