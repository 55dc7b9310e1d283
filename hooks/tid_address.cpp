// A G's own: the kernel thread's belongs to libc, and a G that moved would leave its address on the wrong one (its memory
// would be written to when that kernel thread ends, and libc's word of the other never cleared).
#include <linux/futex.h>
#include <sys/uio.h>
#include "hooks/thread_libc.hpp"
#include "hooks/tid_address.hpp"

namespace gmp {

static int* libc_word(uintptr_t tp) { return reinterpret_cast<int*>(tp + g_libc_thread.tid); }

int* tid_address() {
  Thread* t = self();
  return t->tid_address_set ? t->tid_address : libc_word(thread_pointer_of(getg()));
}

void set_tid_address(int* address) {
  Thread* t = self();
  t->tid_address = address;
  t->tid_address_set = address != libc_word(thread_pointer_of(getg()));
}

// As the kernel does it: an address that can't be written to is no error. The kernel's own call for other processes' memory takes ours,
// and writes or refuses.
void tid_address_clear(Thread* t) {
  if (GMP_LIKELY(!t->tid_address_set) || !t->tid_address) return;
  int zero = 0;
  iovec from{&zero, sizeof zero}, to{t->tid_address, sizeof zero};
  sys(SYS_process_vm_writev, sys(SYS_getpid), &from, 1, &to, 1, 0);
  sys(SYS_futex, t->tid_address, FUTEX_WAKE, 1, 0, 0, 0);
}

} // namespace gmp
