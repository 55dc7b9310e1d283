// The frame of every test program: named cases, checks, threads with bounded patience.
//
//   prog            runs every ordinary case in the order of the file, prints "NAME ok" after each
//   prog NAME...    runs the named cases (the only way to reach a CASE_ALONE, which ends the process its own way)
//   prog --list     prints the names; --size=N scales a case that says so
//
// A failed check prints where and what and ends the process at once with status 1: what runs after a broken promise
// proves nothing. Output depends on nothing but the promises kept, so a native and a preloaded run must be identical.
// Nothing here decides by time; a program that hangs is ended, with a dump, by the script that runs it.
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct check_case {
  const char* name;
  void (*run)(void);
  bool alone;
  struct check_case* next;
};
static struct check_case* check_first;
static struct check_case** check_tail = &check_first;
static const char* check_current = "start";
static long check_size;

static inline void check_add(struct check_case* c) {
  *check_tail = c;
  check_tail = &c->next;
}

#define CHECK_CASE(id, single)                                                                                         \
  static void case_##id(void);                                                                                         \
  static struct check_case entry_##id = {#id, case_##id, single, NULL};                                                \
  __attribute__((constructor)) static void register_##id(void) { check_add(&entry_##id); }                             \
  static void case_##id(void)
#define CASE(id) CHECK_CASE(id, false)
#define CASE_ALONE(id) CHECK_CASE(id, true)

// The message is put together and written without stdio: the failing thread may hold stdio's locks.
__attribute__((noreturn, format(printf, 3, 4))) static inline void check_fail(const char* file, int line,
                                                                              const char* format, ...) {
  int saved = errno;
  char text[600];
  int n = snprintf(text, sizeof text, "%s:%d: case %s: ", file, line, check_current);
  va_list args;
  va_start(args, format);
  n += vsnprintf(text + n, sizeof text - (size_t)n - 40, format, args);
  va_end(args);
  if (n > (int)sizeof text - 40) n = sizeof text - 40;
  n += snprintf(text + n, 40, " (errno %d)\n", saved);
  ssize_t unused = write(2, text, (size_t)n);
  (void)unused;
  _exit(1);
}

#define FAIL(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) FAIL("%s does not hold", #condition);                                                            \
  } while (0)
// Compares two integers.
#define EQ(actual, expected)                                                                                           \
  do {                                                                                                                 \
    long long check_a = (long long)(actual), check_b = (long long)(expected);                                          \
    if (check_a != check_b) FAIL("%s is %lld, expected %s = %lld", #actual, check_a, #expected, check_b);              \
  } while (0)
// A call of the pthread kind: 0 or an error number.
#define OK(call) EQ(call, 0)
// A call of the system kind: not negative.
#define SYS(call)                                                                                                      \
  do {                                                                                                                 \
    if ((long long)(call) < 0) FAIL("%s failed: %s", #call, strerror(errno));                                          \
  } while (0)
// A call of the system kind that must fail with this errno.
#define ERRNO(call, code)                                                                                              \
  do {                                                                                                                 \
    errno = 0;                                                                                                         \
    EQ(call, -1);                                                                                                      \
    EQ(errno, code);                                                                                                   \
  } while (0)

static inline long size_or(long otherwise) { return check_size > 0 ? check_size : otherwise; }

static inline pthread_t start(void* (*body)(void*), void* argument) {
  pthread_t t;
  int rc = pthread_create(&t, NULL, body, argument);
  if (rc != 0) FAIL("pthread_create gives %d", rc);
  return t;
}

static inline void* finish(pthread_t t) {
  void* result = NULL;
  OK(pthread_join(t, &result));
  return result;
}

static inline int64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline struct timespec from_ns(int64_t ns) {
  struct timespec t;
  t.tv_sec = ns / 1000000000;
  t.tv_nsec = ns % 1000000000;
  return t;
}

static inline struct timespec in_ms(clockid_t clock, int64_t ms) { return from_ns(now_ns(clock) + ms * 1000000); }

// Gives others time to come to rest in a blocking call. Only ever makes the interesting order likely.
static inline void pause_ms(long ms) {
  struct timespec t = from_ns((int64_t)ms * 1000000);
  while (nanosleep(&t, &t) == -1 && errno == EINTR) {
  }
}

int main(int argc, char** argv) {
  bool list = false, named = false;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--list") == 0)
      list = true;
    else if (strncmp(argv[i], "--size=", 7) == 0)
      check_size = atol(argv[i] + 7);
    else
      named = true;
  }
  if (list) {
    for (struct check_case* c = check_first; c; c = c->next) puts(c->name);
    return 0;
  }
  for (int i = 1; i < argc; i++) {
    bool known = argv[i][0] == '-';
    for (struct check_case* c = check_first; c; c = c->next) known = known || strcmp(c->name, argv[i]) == 0;
    if (!known) FAIL("there is no case %s", argv[i]);
  }
  for (struct check_case* c = check_first; c; c = c->next) {
    bool wanted = !named && !c->alone;
    for (int i = 1; i < argc; i++) wanted = wanted || strcmp(c->name, argv[i]) == 0;
    if (!wanted) continue;
    check_current = c->name;
    c->run();
    printf("%s ok\n", c->name);
    fflush(stdout);
  }
  return 0;
}
