// Code on the stack, as GCC's nested functions put it there; the program is linked to have it executable.
#include "check.h"
#include <sched.h>

static void* runs_code_on_its_stack(void* argument) {
  for (int i = 0; i < 20; i++) {
    volatile unsigned char code[4] = {0x8d, 0x47, (unsigned char)i, 0xc3}; // lea i(%rdi), %eax; ret
    int (*add)(int) = (int (*)(int))(uintptr_t)code;
    sched_yield();
    EQ(add(100), 100 + i);
  }
  return argument;
}
CASE(code_on_the_stack) {
  pthread_t t[50];
  for (int i = 0; i < 50; i++) t[i] = start(runs_code_on_its_stack, NULL);
  for (int i = 0; i < 50; i++) finish(t[i]);
  runs_code_on_its_stack(NULL);
}
