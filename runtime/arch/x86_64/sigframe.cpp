// Signal frames as the kernel builds them: [return address | ucontext | siginfo] and above it the processor state, to which ucontext points.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ucontext.h>
#include "runtime/arch/x86_64/arch.hpp"

namespace gmp::arch {

extern "C" void gmp_sigreturn();
extern "C" [[noreturn]] void gmp_enter_frame(void* sp, int sig, void* info, void* context, void (*handler)(int, void*, void*));
extern "C" void gmp_capture(void* gregs);
asm(R"(
  .text
  .globl gmp_enter_frame, gmp_call_on_stack, gmp_capture
  .hidden gmp_enter_frame, gmp_call_on_stack, gmp_capture
  .type gmp_enter_frame, @function
gmp_enter_frame:
  .cfi_startproc
  mov %rdi, %rsp
  mov %esi, %edi
  mov %rdx, %rsi
  mov %rcx, %rdx
  xor %eax, %eax
  jmp *%r8
  .cfi_endproc
  .size gmp_enter_frame, . - gmp_enter_frame

  .type gmp_call_on_stack, @function
gmp_call_on_stack:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  mov %rsp, %rbp
  .cfi_def_cfa_register %rbp
  mov %rdi, %rsp
  and $-16, %rsp
  mov %rdx, %rdi
  call *%rsi
  mov %rbp, %rsp
  pop %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size gmp_call_on_stack, . - gmp_call_on_stack

  .type gmp_capture, @function
gmp_capture: // %rdi: an array of zeroed gregs
  .cfi_startproc
  mov %r12, 32(%rdi)
  mov %r13, 40(%rdi)
  mov %r14, 48(%rdi)
  mov %r15, 56(%rdi)
  mov %rbp, 80(%rdi)
  mov %rbx, 88(%rdi)
  lea 8(%rsp), %rax
  mov %rax, 120(%rdi)
  mov (%rsp), %rax
  mov %rax, 128(%rdi)
  pushfq
  .cfi_adjust_cfa_offset 8
  pop %rax
  .cfi_adjust_cfa_offset -8
  mov %rax, 136(%rdi)
  ret
  .cfi_endproc
  .size gmp_capture, . - gmp_capture
)");
static_assert(REG_R12 * 8 == 32 && REG_R15 * 8 == 56 && REG_RBP * 8 == 80 && REG_RBX * 8 == 88 && REG_RSP * 8 == 120 && REG_RIP * 8 == 128 &&
              REG_EFL * 8 == 136);

namespace {

constexpr size_t kFx = 512, kSoftware = 464; // the bytes of the FXSAVE area that the kernel uses: magic, size of all there is
constexpr uint32_t kMagic = 0x46505853;
constexpr size_t kRedZone = 128;

size_t fp_size(const char* fp) {
  uint32_t magic, size;
  memcpy(&magic, fp + kSoftware, 4);
  memcpy(&size, fp + kSoftware + 4, 4);
  return magic == kMagic && size >= kFx && size < 65536 ? size : kFx;
}

} // namespace

bool move_frame(void* info, void* context, char* top, size_t room, Frame* to) {
  auto* uc = static_cast<ucontext_t*>(context);
  const size_t head = size_t(static_cast<char*>(info) - static_cast<char*>(context)) + sizeof(siginfo_t);
  char* fp = reinterpret_cast<char*>(uc->uc_mcontext.fpregs);
  const size_t fp_bytes = fp ? fp_size(fp) : 0;
  if (head > 4096 || head + fp_bytes + 256 > room) return false;
  char* at = reinterpret_cast<char*>((uintptr_t(top) - fp_bytes) & ~63ul);
  if (fp) memcpy(at, fp, fp_bytes);
  char* moved_fp = at;
  at = reinterpret_cast<char*>((uintptr_t(at) - head) & ~15ul);
  memcpy(at, context, head);
  if (fp) reinterpret_cast<ucontext_t*>(at)->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(moved_fp);
  to->context = at;
  to->info = at + (static_cast<char*>(info) - static_cast<char*>(context));
  to->sp = at - 8;
  void (*back)() = gmp_sigreturn;
  memcpy(to->sp, &back, 8);
  return true;
}

void enter_frame(const Frame& f, int sig, void (*handler)(int, void*, void*)) { gmp_enter_frame(f.sp, sig, f.info, f.context, handler); }

void end_restart(void* context) {
  auto& r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  auto* pc = reinterpret_cast<const unsigned char*>(r[REG_RIP]);
  if (r[REG_RCX] != r[REG_RIP] + 2 || uint64_t(r[REG_RAX]) > 511 || pc[0] != 0x0f || pc[1] != 0x05) return;
  r[REG_RIP] += 2;
  r[REG_RAX] = -EINTR;
}

char* context_sp(const void* context) {
  return reinterpret_cast<char*>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]) - kRedZone;
}

void capture_context(void* context, FpState* fp) {
  auto* uc = static_cast<ucontext_t*>(context);
  gmp_capture(uc->uc_mcontext.gregs);
  uc->uc_mcontext.gregs[REG_CSGSFS] = 0x002b000000000033;
  asm volatile("fxsave64 %0" : "=m"(*fp));
  memset(fp->bytes + kSoftware, 0, kFx - kSoftware);
  uc->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(fp);
}

} // namespace gmp::arch
