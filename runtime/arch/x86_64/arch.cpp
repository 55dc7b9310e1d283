#include "runtime/arch/x86_64/arch.hpp"
#include <asm/prctl.h>
#include <cerrno>
#include <csignal>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>

namespace gmp::arch {

bool has_fsgsbase;

void arch_init() { has_fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0; }

void set_thread_pointer_slow(uintptr_t v) { syscall6(SYS_arch_prctl, ARCH_SET_FS, long(v)); }

extern "C" {
extern const char gmp_unless_look[], gmp_unless_done[], gmp_unless_stopped[];
void gmp_sigreturn();
}
asm(R"(
  .text
  .p2align 4
  .globl gmp_syscall_unless
  .hidden gmp_syscall_unless
  .type gmp_syscall_unless, @function
gmp_syscall_unless:
  .cfi_startproc
  mov %rdi, %r11
  mov %rsi, %rax
  mov %rdx, %rdi
  mov %rcx, %rsi
  mov %r8, %rdx
  mov %r9, %r10
  mov 8(%rsp), %r8
  mov 16(%rsp), %r9
  .hidden gmp_unless_look, gmp_unless_done, gmp_unless_stopped
  .globl gmp_unless_look, gmp_unless_done, gmp_unless_stopped
gmp_unless_look:
  cmpb $0, (%r11)
  jne gmp_unless_stopped
  syscall
gmp_unless_done:
  ret
gmp_unless_stopped:
  mov $-512, %rax
  ret
  .cfi_endproc
  .size gmp_syscall_unless, . - gmp_syscall_unless

  .globl gmp_sigreturn
  .hidden gmp_sigreturn
  .type gmp_sigreturn, @function
  // As libc's has it: the registers of what was interrupted lie in the ucontext, which the stack pointer points to (gregs at 40), for unwinders
  // that look at tables alone. The nop, because some look for the address before a frame's.
  .macro gmp_saved reg, at
  .cfi_escape 0x10, \reg, 3, 0x77, 0x80 | (\at & 0x7f), \at >> 7
  .endm
  .cfi_startproc
  .cfi_signal_frame
  .cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06 # CFA: the saved rsp
  gmp_saved 8, 40
  gmp_saved 9, 48
  gmp_saved 10, 56
  gmp_saved 11, 64
  gmp_saved 12, 72
  gmp_saved 13, 80
  gmp_saved 14, 88
  gmp_saved 15, 96
  gmp_saved 5, 104
  gmp_saved 4, 112
  gmp_saved 6, 120
  gmp_saved 3, 128
  gmp_saved 1, 136
  gmp_saved 0, 144
  gmp_saved 2, 152
  gmp_saved 7, 160
  gmp_saved 16, 168
  .purgem gmp_saved
  nop
gmp_sigreturn: // byte for byte what unwinders look for: cancellation may leave a handler by them
  movq $15, %rax
  syscall
  .cfi_endproc
  .size gmp_sigreturn, . - gmp_sigreturn
)");

bool stop_call(void* context) {
  auto& r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  auto pc = reinterpret_cast<const char*>(r[REG_RIP]);
  // Before the call, or put back to its instruction to be restarted; or just after it.
  bool in = pc >= gmp_unless_look && pc < gmp_unless_done;
  if (!in && !(pc == gmp_unless_done && r[REG_RAX] == -EINTR)) return pc == gmp_unless_done || pc == gmp_unless_stopped;
  r[REG_RIP] = reinterpret_cast<greg_t>(gmp_unless_stopped);
  return true;
}

KernelAction kernel_action(void (*handler)(int, void*, void*), unsigned long flags) {
  return {reinterpret_cast<void*>(handler), flags | 0x04000000 /*SA_RESTORER*/, gmp_sigreturn, 0};
}

} // namespace gmp::arch
