// pthread_exit and cleanup handlers in C. Built with -fexceptions and without: the macros compile to different code.
#include "check.h"
#include <setjmp.h>

static char order[64];
static void note(void* text) { strcat(order, text); }

static void (*volatile leave)(void*) = pthread_exit;

__attribute__((noinline)) static void deep(int depth) {
  if (depth == 0) {
    leave((void*)42);
    return; // not reached, for all the compiler knows
  }
  pthread_cleanup_push(note, "d");
  deep(depth - 1);
  pthread_cleanup_pop(0);
}

static void* exits_deep(void* argument) {
  pthread_cleanup_push(note, "a");
  pthread_cleanup_push(note, "b");
  deep(3);
  pthread_cleanup_pop(1);
  pthread_cleanup_pop(1);
  return argument;
}

CASE(exit_runs_handlers_in_order) {
  order[0] = 0;
  EQ((intptr_t)finish(start(exits_deep, NULL)), 42);
  CHECK(strcmp(order, "dddba") == 0);
}

static void* pops(void* argument) {
  pthread_cleanup_push(note, "1");
  pthread_cleanup_push(note, "2");
  pthread_cleanup_push(note, "3");
  pthread_cleanup_pop(1);
  pthread_cleanup_pop(0);
  pthread_cleanup_pop(1);
  return argument;
}

CASE(pop_runs_or_drops) {
  order[0] = 0;
  CHECK(finish(start(pops, order)) == order);
  CHECK(strcmp(order, "31") == 0);
}

static void* plain_return(void* argument) {
  pthread_cleanup_push(note, "x");
  pthread_cleanup_pop(0);
  return argument;
}

CASE(no_handler_left_over) {
  order[0] = 0;
  finish(start(plain_return, NULL));
  finish(start(exits_deep, NULL));
  CHECK(strcmp(order, "dddba") == 0);
}

static void handler_blocks(void* text) {
  pause_ms(2);
  sched_yield();
  note(text);
}

static void* exits_with_blocking_handler(void* argument) {
  pthread_cleanup_push(note, "o");
  pthread_cleanup_push(handler_blocks, "i");
  pthread_exit(argument);
  pthread_cleanup_pop(0);
  pthread_cleanup_pop(0);
  return NULL;
}

CASE(handler_may_block) {
  order[0] = 0;
  CHECK(finish(start(exits_with_blocking_handler, order)) == order);
  CHECK(strcmp(order, "io") == 0);
}

static pthread_key_t key;
static void in_destructor(void* value) {
  note(value);
  pause_ms(1);
}
static void* exits_with_key(void* argument) {
  OK(pthread_setspecific(key, "k"));
  pthread_cleanup_push(note, "h");
  pthread_exit(argument);
  pthread_cleanup_pop(0);
  return NULL;
}

CASE(handlers_before_keys) {
  order[0] = 0;
  OK(pthread_key_create(&key, in_destructor));
  finish(start(exits_with_key, NULL));
  CHECK(strcmp(order, "hk") == 0);
  OK(pthread_key_delete(key));
}

static void* jumps_over(void* argument) {
  jmp_buf back;
  volatile int round = 0;
  if (setjmp(back) == 0) {
    round = 1;
    longjmp(back, 1);
  }
  EQ(round, 1);
  pthread_cleanup_push(note, "j");
  sched_yield();
  pthread_exit(argument);
  pthread_cleanup_pop(0);
  return NULL;
}

CASE(exit_after_longjmp) {
  order[0] = 0;
  CHECK(finish(start(jumps_over, order)) == order);
  CHECK(strcmp(order, "j") == 0);
}

static void* exits_at_once(void* argument) { pthread_exit(argument); }

CASE(exit_thousands) {
  for (intptr_t i = 0; i < 3000; i++) EQ((intptr_t)finish(start(exits_at_once, (void*)i)), i);
}
