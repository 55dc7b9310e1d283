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

// Unpatched the alternate stack and the mask of the thread that it left would become this one's.
void frame_moved(void* context, uint64_t sigmask) {
  auto u = static_cast<ucontext_t*>(context);
  syscall6(SYS_sigaltstack, 0, long(&u->uc_stack));
  memcpy(&u->uc_sigmask, &sigmask, sizeof sigmask);
  if (has_tiles(u)) touch_tiles();
}

} // namespace gmp::arch
