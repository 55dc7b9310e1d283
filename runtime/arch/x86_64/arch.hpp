// All that depends on the processor, with switch.cpp's use of Boost.Context: the thread pointer, the raw system
// call, the pause hint, the cycle counter. An aarch64 port writes this file again and nothing else.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gmp::arch {

// Set once by arch_init(): does the kernel let user code write FS directly (AT_HWCAP2 bit 1)?
extern bool has_fsgsbase;
void arch_init();

// What a signal handler's frame says of the code that was interrupted.
struct Interrupted { uintptr_t pc, sp; uint64_t sigmask; };
Interrupted interrupted(const void* ucontext);
// Moves the kernel's frame, of which `frame` is the lowest address, to end at `top`; null when that would be below `low`.
char* move_frame(char* frame, uintptr_t top, uintptr_t low);
inline constexpr size_t kRedZone = 128; // below the stack pointer, still in use
// The handler returns on another kernel thread than it was entered on.
void frame_moved(void* ucontext, uint64_t sigmask);

inline long syscall6(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long r;
  asm volatile("syscall" : "=a"(r) : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return r;
}

// The same, unless *stop is set, up to the very instruction: kStopped then. Against a signal handler that calls stop_call() on its
// context there is no instant between the look at *stop and the sleep: a call that has not begun, is about to be restarted or has
// just ended with EINTR ends with kStopped. -512 is ERESTARTSYS, which the kernel shows to no program.
inline constexpr long kStopped = -512;
extern "C" long gmp_syscall_unless(const void* stop, long n, long a, long b, long c, long d, long e, long f);
// In a signal handler: makes the interrupted gmp_syscall_unless(), if it was in one, end. False: it was not.
bool stop_call(void* ucontext);
// What the kernel's sigaction takes with a handler: flags and code to return through.
struct KernelAction { void* handler; unsigned long flags; void (*restorer)(); uint64_t mask; };
KernelAction kernel_action(void (*handler)(int, void*, void*), unsigned long flags);

// The first word of the TCB points to itself, so reading it needs no special instruction.
inline uintptr_t thread_pointer() {
  uintptr_t v;
  asm volatile("mov %%fs:0, %0" : "=r"(v));
  return v;
}

void set_thread_pointer_slow(uintptr_t v);

// From here on errno, __thread and getg() are another thread's. The memory clobber keeps the compiler from moving TLS
// accesses over it; functions that call it must not touch TLS on both sides (keep them noinline and small).
inline void set_thread_pointer(uintptr_t v) {
  if (__builtin_expect(has_fsgsbase, 1))
    asm volatile("wrfsbase %0" ::"r"(v) : "memory");
  else
    set_thread_pointer_slow(v);
}

inline void relax() { asm volatile("pause" ::: "memory"); }

// Cheap, unserialised time stamp; only differences of the same core's order of magnitude matter to its users.
inline uint64_t cycles() {
  uint32_t lo, hi;
  asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
  return (uint64_t(hi) << 32) | lo;
}

// What jump_fcontext leaves on a stack: offsets from the saved context, for dumps and debuggers.
namespace context {
inline constexpr int r12 = 0x08, r13 = 0x10, r14 = 0x18, r15 = 0x20, rbx = 0x28, rbp = 0x30, rip = 0x38, size = 0x40;
}

// Code that goes to `to` from wherever it is put, and changes no register that a call hands over or keeps.
inline constexpr unsigned kJumpSize = 14; // jmp *0(%rip), and the address
inline void make_jump(char* code, void* to) {
  const char jump[6] = {'\xff', '\x25', 0, 0, 0, 0};
  __builtin_memcpy(code, jump, sizeof jump);
  __builtin_memcpy(code + sizeof jump, &to, sizeof to);
}
// Where in a function a jump may be put: an endbr64 at its entry stays.
inline char* after_landing_pad(char* entry) {
  const char pad[4] = {'\xf3', '\x0f', '\x1e', '\xfa'};
  return __builtin_memcmp(entry, pad, sizeof pad) == 0 ? entry + sizeof pad : entry;
}

// libc's __lll_lock_wait and __lll_lock_wake (libc_code.cpp): like the two of that name and _private, beside which they lie, with the private
// flag as an argument. They are not exported; pthread_mutex_lock calls the first. False: not recognised.
bool find_lock_paths(const void* wait_private, const void* wake_private, const void* mutex_lock, size_t mutex_lock_size, char** wait,
                     char** wake);

} // namespace gmp::arch
