// A name server of our own: it knows every name, at 192.0.2.7, and nothing of what follows a question.
#pragma once
#include "net.h"
#include <netdb.h>
#include <resolv.h>

// One question, answered. `before` (or NULL) is called between the two. False: the question was `stop`.
static inline bool serve_one(int fd, void (*before)(void)) {
  unsigned char q[512];
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  ssize_t n = recvfrom(fd, q, sizeof q - 16, 0, (struct sockaddr*)&from, &length);
  if (n < 12) return false;
  if (before) before();
  size_t end = 12; // the question: header, name, type, class; what follows (EDNS) is cut off
  while (q[end] != 0) end += q[end] + 1u;
  end += 5;
  const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7};
  q[2] |= 0x80; // a response
  q[3] = 0x80;
  q[7] = 1; // one answer
  q[9] = q[11] = 0;
  memcpy(q + end, record, sizeof record);
  EQ(sendto(fd, q, end + sizeof record, 0, (struct sockaddr*)&from, length), (ssize_t)(end + sizeof record));
  return true;
}
static inline void* serve(void* fd) {
  while (serve_one(*(int*)fd, NULL)) {
  }
  return NULL;
}
static inline void stop_serving(int fd) {
  struct sockaddr_in a = address_of(fd);
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  EQ(sendto(s, "", 1, 0, (struct sockaddr*)&a, sizeof a), 1);
  SYS(close(s));
}

// Of the calling thread, or of a state of its own.
static inline void ask(res_state state, int fd) {
  OK(res_ninit(state));
  state->nscount = 1;
  state->nsaddr_list[0] = address_of(fd);
  state->retrans = 30;
  state->options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
}
static inline void ask_here(int fd) {
  OK(res_init());
  _res.nscount = 1;
  _res.nsaddr_list[0] = address_of(fd);
  _res.retrans = 30;
  _res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
}
