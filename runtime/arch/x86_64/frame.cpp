// The frame that the kernel makes for a signal handler: where it came from, and what has to be changed in it when the handler returns on
// another kernel thread than it was entered on.
#include <cstring>
#include <sys/syscall.h>
#include <ucontext.h>
#include "runtime/arch/x86_64/arch.hpp"

namespace gmp::arch {

namespace {

constexpr size_t kSoftwareBytes = 464, kHeader = 512; // of an XSAVE area
constexpr uint32_t kExtended = 0x46505853;            // FP_XSTATE_MAGIC1: there is a header
constexpr uint64_t kTileData = 1ull << 18;

bool has_tiles(const ucontext_t* u) {
  auto area = reinterpret_cast<const char*>(u->uc_mcontext.fpregs);
  uint32_t magic;
  uint64_t components;
  if (!area) return false;
  memcpy(&magic, area + kSoftwareBytes, sizeof magic);
  memcpy(&components, area + kHeader, sizeof components);
  return magic == kExtended && (components & kTileData);
}

// The kernel gives a thread room for tile data at its first use, and can't while it puts a frame back.
void touch_tiles() {
  struct alignas(64) {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } config{};
  static_assert(sizeof config == 64);
  config.palette = 1;
  config.bytes[0] = 64;
  config.rows[0] = 16;
  asm volatile("ldtilecfg %0; tilezero %%tmm0; tilerelease" ::"m"(config));
}

} // namespace

Interrupted interrupted(const void* context) {
  auto u = static_cast<const ucontext_t*>(context);
  Interrupted i{uintptr_t(u->uc_mcontext.gregs[REG_RIP]), uintptr_t(u->uc_mcontext.gregs[REG_RSP]), 0};
  memcpy(&i.sigmask, &u->uc_sigmask, sizeof i.sigmask);
  return i;
}

// struct rt_sigframe: the return address, the ucontext, the siginfo; above it, by the pointer in the ucontext, the extended state.
char* move_frame(char* frame, uintptr_t top, uintptr_t low) {
  constexpr size_t kUcontext = 304, kInfo = 128; // the kernel's, not libc's
  auto u = reinterpret_cast<ucontext_t*>(frame + sizeof(void*));
  auto area = reinterpret_cast<char*>(u->uc_mcontext.fpregs);
  size_t size = sizeof(void*) + kUcontext + kInfo;
  if (area) {
    uint32_t software[2]; // magic, size of all
    memcpy(software, area + kSoftwareBytes, sizeof software);
    size = size_t(area - frame) + (software[0] == kExtended ? software[1] : kHeader);
  }
  // The same place in a cache line: the extended state is aligned to one.
  const uintptr_t to = ((top - size - 64) & ~63ul) + (uintptr_t(frame) & 63);
  if (to < low || to > top) return nullptr;
  char* moved = static_cast<char*>(memcpy(reinterpret_cast<void*>(to), frame, size));
  u = reinterpret_cast<ucontext_t*>(moved + sizeof(void*));
  if (area) u->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(moved + (area - frame));
  return moved;
}

// Unpatched the alternate stack and the mask of the thread that it left would become this one's.
void frame_moved(void* context, uint64_t sigmask) {
  auto u = static_cast<ucontext_t*>(context);
  syscall6(SYS_sigaltstack, 0, long(&u->uc_stack));
  memcpy(&u->uc_sigmask, &sigmask, sizeof sigmask);
  if (has_tiles(u)) touch_tiles();
}

} // namespace gmp::arch

// What the kernel calls for the program's handlers (hooks/signal_stack.cpp, signal_deliver.cpp): asks where the frame shall be, goes there, and
// delivers, as if the kernel had made it there.
asm(R"(
  .text
  .p2align 4
  .globl gmp_signal_entry
  .hidden gmp_signal_entry
  .type gmp_signal_entry, @function
gmp_signal_entry:
  .cfi_startproc
  push %rdi
  .cfi_adjust_cfa_offset 8
  push %rsi
  .cfi_adjust_cfa_offset 8
  push %rdx
  .cfi_adjust_cfa_offset 8
  lea 24(%rsp), %rcx
  call gmp_signal_place
  pop %rdx
  .cfi_adjust_cfa_offset -8
  pop %rsi
  .cfi_adjust_cfa_offset -8
  pop %rdi
  .cfi_adjust_cfa_offset -8
  mov %rax, %rcx
  sub %rsp, %rcx
  add %rcx, %rsi
  add %rcx, %rdx
  mov %rax, %rsp
  jmp gmp_signal_deliver
  .cfi_endproc
  .size gmp_signal_entry, . - gmp_signal_entry
)");
