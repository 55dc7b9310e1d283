// Code on the stacks of threads older and younger than the library that has made stacks executable.
#include "check.h"
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

static atomic_int waiting, loaded; // loaded: 1 yes, 2 this libc refuses

static void run_code(void) {
  volatile unsigned char code[4] = {0x8d, 0x47, 7, 0xc3}; // lea 7(%rdi), %eax; ret
  int (*add)(int) = (int (*)(int))(uintptr_t)code;
  if (loaded == 1) EQ(add(100), 107);
}

static void* older(void* argument) {
  waiting++;
  while (!loaded) pause_ms(1);
  run_code();
  return argument;
}
static void* younger(void* argument) {
  run_code();
  return argument;
}

static void all_threads(void) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 30);
  SYS(n);
  path[n] = 0;
  strcpy(strrchr(path, '/') + 1, "lib_exec_stack.so");
  pthread_t t[40];
  for (int i = 0; i < 20; i++) t[i] = start(older, NULL);
  while (waiting < 20) sched_yield();
  const int now = dlopen(path, RTLD_NOW) ? 1 : 2;
  loaded = now;
  for (int i = 20; i < 40; i++) t[i] = start(younger, NULL);
  for (int i = 0; i < 40; i++) finish(t[i]);
  run_code();
  printf("%s\n", now == 1 ? "executable" : "refused");
}

CASE_ALONE(stacks_made_executable) { all_threads(); }

// With a handler for faults: it is not called.
static void on_fault(int sig) {
  (void)sig;
  static const char text[] = "handler called\n";
  ssize_t unused = write(1, text, sizeof text - 1);
  (void)unused;
  _exit(1);
}
CASE_ALONE(with_a_handler) {
  signal(SIGSEGV, on_fault);
  all_threads();
}

// Stacks that nothing has made executable are not.
CASE_ALONE(still_a_fault) {
  loaded = 1;
  pthread_t t = start(younger, NULL);
  finish(t);
}
