// One call in a thread of its own, and what became of it. `come_to_rest` only makes the interesting order likely: every case
// that uses it must have one outcome natively whichever side is first, or go on until the order was right.
#pragma once
#include "net.h"
#include <signal.h>
#include <stdatomic.h>

struct caller {
  long (*call)(struct caller*);
  int fd, other;
  size_t size;
  char* bytes;
  pthread_t thread;
  long result;
  int error;
  _Atomic bool entered, back;
};

static inline void* caller_body(void* argument) {
  struct caller* c = argument;
  c->entered = true;
  errno = 0;
  c->result = c->call(c);
  c->error = errno;
  c->back = true;
  return NULL;
}

static inline void call_in_thread(struct caller* c, long (*call)(struct caller*), int fd, char* bytes, size_t size) {
  c->call = call;
  c->fd = fd;
  c->bytes = bytes;
  c->size = size;
  c->entered = c->back = false;
  c->thread = start(caller_body, c);
}
static inline void come_to_rest(struct caller* c) {
  while (!c->entered) sched_yield();
  pause_ms(8);
}
// -errno or the result.
static inline long outcome(struct caller* c) {
  finish(c->thread);
  return c->result < 0 ? -c->error : c->result;
}
// A signal for the thread, until its call is over: the first may come before it blocks.
static inline void poke_until_back(struct caller* c, int number) {
  while (!c->back) {
    OK(pthread_kill(c->thread, number));
    pause_ms(2);
  }
}

static inline long do_read(struct caller* c) { return read(c->fd, c->bytes, c->size); }
static inline long do_write(struct caller* c) { return write(c->fd, c->bytes, c->size); }
static inline long do_accept(struct caller* c) { return accept(c->fd, NULL, NULL); }
static inline long do_poll(struct caller* c) {
  struct pollfd p = {.fd = c->fd, .events = (short)c->size};
  long r = poll(&p, 1, -1);
  return r == 1 ? p.revents : r;
}
