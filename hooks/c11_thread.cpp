// C11 threads over the POSIX ones: thrd_create is in thread.cpp, thrd_join and thrd_detach in thread_join.cpp, call_once in once.cpp.
// thrd_current, thrd_equal and tss_* are libc's own: they only look at the TCB.
#include <threads.h>
#include "hooks/thread.hpp"

GMP_HOOK void pthread_exit(void* result);

GMP_HOOK void thrd_exit(int result) {
  pthread_exit(reinterpret_cast<void*>(intptr_t(result)));
  __builtin_unreachable();
}
