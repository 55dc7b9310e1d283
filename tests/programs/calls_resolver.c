// Questions to a name server of our own, by every call of the resolver, under today's names and those of programs linked before glibc 2.34.
#include "beside.h"
#include "nameserver.h"

#define NAME "a-name.gmp-test.example."

// The names that the linker gives only to who asks for their version.
#define OLD(name) __asm__(".symver old_" #name ", __" #name "@GLIBC_2.2.5")
OLD(res_query);
OLD(res_querydomain);
OLD(res_search);
OLD(res_send);
OLD(res_nquery);
OLD(res_nquerydomain);
OLD(res_nsearch);
OLD(res_nsend);
extern __typeof__(res_query) old_res_query;
extern __typeof__(res_querydomain) old_res_querydomain;
extern __typeof__(res_search) old_res_search;
extern __typeof__(res_send) old_res_send;
extern __typeof__(res_nquery) old_res_nquery;
extern __typeof__(res_nquerydomain) old_res_nquerydomain;
extern __typeof__(res_nsearch) old_res_nsearch;
extern __typeof__(res_nsend) old_res_nsend;

static void is_answer(const unsigned char* a, int n) {
  CHECK(n > 16);
  EQ(a[7], 1);
  const unsigned char address[] = {192, 0, 2, 7};
  CHECK(memcmp(a + n - 4, address, 4) == 0);
}

static int server;
static unsigned char answer[512];
#define ANSWER answer, (int)sizeof answer

static void* ask_all(void* argument) {
  ask_here(server);
  is_answer(answer, res_query(NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, res_querydomain("a-name", "gmp-test.example.", ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, res_search(NAME, ns_c_in, ns_t_a, ANSWER));
  unsigned char question[512];
  int n = res_mkquery(ns_o_query, NAME, ns_c_in, ns_t_a, NULL, 0, NULL, question, sizeof question);
  CHECK(n > 12);
  is_answer(answer, res_send(question, n, ANSWER));
  is_answer(answer, old_res_query(NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, old_res_querydomain("a-name", "gmp-test.example.", ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, old_res_search(NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, old_res_send(question, n, ANSWER));

  struct __res_state state;
  memset(&state, 0, sizeof state);
  ask(&state, server);
  is_answer(answer, res_nquery(&state, NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, res_nquerydomain(&state, "a-name", "gmp-test.example.", ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, res_nsearch(&state, NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, res_nsend(&state, question, n, ANSWER));
  is_answer(answer, old_res_nquery(&state, NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, old_res_nquerydomain(&state, "a-name", "gmp-test.example.", ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, old_res_nsearch(&state, NAME, ns_c_in, ns_t_a, ANSWER));
  is_answer(answer, old_res_nsend(&state, question, n, ANSWER));
  res_nclose(&state);
  return argument;
}

CASE(every_call) {
  server = bound(SOCK_DGRAM);
  pthread_t s = start(serve, &server);
  finish(start(ask_all, NULL));
  stop_serving(server);
  finish(s);
  SYS(close(server));
}

// The server answers when another thread has counted to the end.
static void others_run(void) {
  blocking = true;
  finish(start(count, NULL));
}
static void* serve_late(void* fd) {
  CHECK(serve_one(*(int*)fd, others_run));
  return NULL;
}
static void late(void* (*client)(void*)) {
  server = bound(SOCK_DGRAM);
  counter = 0;
  blocking = false;
  pthread_t s = start(serve_late, &server), c = start(client, NULL);
  finish(c);
  finish(s);
  EQ(counter, TARGET);
  SYS(close(server));
}

static void* query(void* argument) {
  ask_here(server);
  is_answer(answer, res_query(NAME, ns_c_in, ns_t_a, ANSWER));
  return argument;
}
CASE(res_query_waits) { late(query); }

static void* by_name(void* argument) {
  ask_here(server);
  struct hostent e, *r;
  char room[1024];
  int error;
  OK(gethostbyname_r("a-name.gmp-test.example.", &e, room, sizeof room, &r, &error));
  CHECK(r && memcmp(r->h_addr_list[0], "\300\0\2\7", 4) == 0);
  return argument;
}
CASE(gethostbyname_waits) { late(by_name); }
