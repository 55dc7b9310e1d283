/* What every example needs of a command line: numbers that are checked, and one way to give up. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* err(3) without its dependence on errno: pthread functions return their error. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void die(int error, const char* format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "%s: ", program_invocation_short_name);
  vfprintf(stderr, format, args);
  if (error) fprintf(stderr, ": %s", strerror(error));
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

/* A wrong command line: 2, as getopt's users have it, so that 1 stays "it ran and failed". */
__attribute__((noreturn)) static inline void bad_usage(const char* usage) {
  fputs(usage, stderr);
  exit(2);
}

static inline long number(const char* text, const char* what, long least, long most) {
  char* end = NULL;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (end == text || *end || errno || value < least || value > most) {
    fprintf(stderr, "%s: %s must be a number from %ld to %ld, not '%s'\n", program_invocation_short_name, what, least,
            most, text);
    exit(2);
  }
  return value;
}

static inline double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The soft limit of 1,024 descriptors is for select()'s sake; a server with a descriptor per client wants the hard one.
 */
static inline rlim_t raise_nofile(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) die(errno, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit)) die(errno, "setrlimit");
  return limit.rlim_cur;
}

#endif
