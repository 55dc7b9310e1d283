// vfork. Its child runs in this memory, on this stack and on this thread pointer, while the caller sleeps until the child has called exec or
// _exit; what it writes into the program's variables (why exec failed) the caller reads. So it can't be a fork.
//
// While it lasts the thread's TLS is the child's, which is no G: t_g is null there, so that hooks take the way of a foreign thread (they
// wait in the kernel), and vfork_child is set, so that input, output and sigaction go to the kernel and touch no table of the parent's.
// The G itself is in a system call, its P with others. A handler that runs on the thread just before or after sees the same.
//
// The stub is in assembly because the child returns from here first, and overwrites the stack below its caller's frame: the return address is
// kept in a register over the call.
#include "hooks/fdtable.hpp"
#include "hooks/process.hpp"
#include "runtime/lend.hpp"

namespace gmp {

extern "C" __attribute__((visibility("hidden"), used)) void gmp_vfork_begins() {
  Thread* t = self();
  if (native() || t->vfork_of) return; // in the child of a vfork: its marks are the parent's
  fd_forking();
  t->vfork_of = int(sys(SYS_getpid));
  t_lent = getg();
  if (t_lent) enter_syscall_block();
  has_child();
  t->vfork_child = true;
  t_g = nullptr;
}

// In the parent. The child of a child that went on after the marks were set may come here too, and leaves them alone.
extern "C" __attribute__((visibility("hidden"), used)) int gmp_vfork_ends(long result) {
  Thread* t = self();
  if (t->vfork_of && t->vfork_of == int(sys(SYS_getpid))) {
    G* g = t_lent;
    vfork_forget(t);
    t_g = g;
    exit_syscall();
  }
  return int(ret(result));
}

void vfork_forget(Thread* t) {
  t_lent = nullptr;
  t->vfork_of = 0;
  t->vfork_child = false;
}

} // namespace gmp

asm(R"(
  .text
  .p2align 4
  .globl vfork, __vfork
  .type vfork, @function
  .type __vfork, @function
vfork:
__vfork:
  .cfi_startproc
  sub $8, %rsp
  .cfi_adjust_cfa_offset 8
  call gmp_vfork_begins
  add $8, %rsp
  .cfi_adjust_cfa_offset -8
  pop %rdi
  .cfi_adjust_cfa_offset -8
  .cfi_register %rip, %rdi
  mov $58, %eax
  syscall
  push %rdi
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset %rip, 0
  test %rax, %rax
  jnz 1f
  ret
1:
  sub $8, %rsp
  .cfi_adjust_cfa_offset 8
  mov %rax, %rdi
  call gmp_vfork_ends
  add $8, %rsp
  .cfi_adjust_cfa_offset -8
  ret
  .cfi_endproc
  .size vfork, . - vfork
  .size __vfork, . - __vfork
)");
