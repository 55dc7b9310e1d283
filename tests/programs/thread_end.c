// How a process with threads ends: every case ends it, the script compares status and output.
#include "check.h"
#include <semaphore.h>
#include <stdatomic.h>

static sem_t never, here;
static _Atomic int handlers;

static void say(const char* text) {
  fputs(text, stdout);
  fflush(stdout);
}
static void at_end(void) {
  atomic_fetch_add(&handlers, 1);
  printf("atexit %d\n", handlers);
}
static void* blocks(void* argument) {
  sem_post(&here);
  switch ((intptr_t)argument % 3) {
  case 0:
    sem_wait(&never);
    break;
  case 1:
    pause_ms(1000000);
    break;
  default: {
    int fd[2];
    char c;
    SYS(pipe(fd));
    SYS(read(fd[0], &c, 1));
  }
  }
  say("a blocked thread went on\n");
  return NULL;
}

static void with_blocked_threads(void) {
  OK(sem_init(&never, 0, 0));
  OK(sem_init(&here, 0, 0));
  for (intptr_t i = 0; i < 9; i++) start(blocks, (void*)i);
  for (int i = 0; i < 9; i++) OK(sem_wait(&here));
  pause_ms(2);
  OK(atexit(at_end));
}

CASE_ALONE(return_from_main) {
  with_blocked_threads();
  say("main returns\n");
  exit(5); // what returning from main does
}

static void* calls_exit(void* argument) {
  say("thread calls exit\n");
  exit((int)(intptr_t)argument);
}

CASE_ALONE(exit_from_thread) {
  with_blocked_threads();
  pthread_join(start(calls_exit, (void*)7), NULL);
  FAIL("exit returned");
}

CASE_ALONE(exit_from_thread_main_blocked_in_read) {
  with_blocked_threads();
  int fd[2];
  char c;
  SYS(pipe(fd));
  start(calls_exit, (void*)0);
  SYS(read(fd[0], &c, 1));
  FAIL("exit returned");
}

static void* calls_underscore_exit(void* argument) {
  say("thread calls _exit\n");
  _exit((int)(intptr_t)argument);
}

CASE_ALONE(underscore_exit_from_thread) {
  with_blocked_threads();
  pthread_join(start(calls_underscore_exit, (void*)9), NULL);
  FAIL("_exit returned");
}

static void quick(void) { say("at_quick_exit\n"); }
static void* calls_quick_exit(void* argument) { quick_exit((int)(intptr_t)argument); }

CASE_ALONE(quick_exit_from_thread) {
  with_blocked_threads();
  OK(at_quick_exit(quick));
  pthread_join(start(calls_quick_exit, (void*)11), NULL);
  FAIL("quick_exit returned");
}

static void* calls_abort(void* argument) {
  (void)argument;
  abort();
}

CASE_ALONE(abort_from_thread) {
  with_blocked_threads();
  say("thread aborts\n");
  pthread_join(start(calls_abort, NULL), NULL);
  FAIL("abort returned");
}

static _Atomic int alive;
static sem_t main_gone;
static void* outlives_main(void* argument) {
  intptr_t me = (intptr_t)argument;
  OK(sem_wait(&main_gone));
  pause_ms(5 * (long)me);
  OK(sem_post(&main_gone));
  if (atomic_fetch_sub(&alive, 1) == 1) say("the last thread ends\n");
  return NULL;
}
static void main_unwinds(void* argument) {
  (void)argument;
  say("main's cleanup handler\n");
  OK(sem_post(&main_gone));
}

CASE_ALONE(main_calls_pthread_exit) {
  OK(atexit(at_end));
  OK(sem_init(&main_gone, 0, 0));
  alive = 5;
  for (intptr_t i = 0; i < 5; i++) OK(pthread_detach(start(outlives_main, (void*)i)));
  pthread_cleanup_push(main_unwinds, NULL);
  pthread_exit((void*)3); // the process ends with 0 when the last thread does
  pthread_cleanup_pop(0);
}

static void* joins_main(void* main_thread) {
  void* result = NULL;
  OK(pthread_join(*(pthread_t*)main_thread, &result));
  printf("main gave %ld\n", (long)(intptr_t)result);
  exit(13);
}

CASE_ALONE(main_is_joined) {
  static pthread_t self;
  self = pthread_self();
  start(joins_main, &self);
  pthread_exit((void*)21);
}

static void* exit_in_pthread_exit_world(void* argument) {
  pause_ms(5);
  return calls_exit(argument);
}

CASE_ALONE(exit_after_main_left) {
  OK(atexit(at_end));
  OK(pthread_detach(start(exit_in_pthread_exit_world, (void*)17)));
  pthread_exit(NULL);
}

CASE_ALONE(no_thread_pthread_exit) {
  OK(atexit(at_end));
  say("only main\n");
  pthread_exit((void*)1);
}
