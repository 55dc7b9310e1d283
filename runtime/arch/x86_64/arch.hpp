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

// Signal frames (sigframe.cpp). move_frame copies the kernel's, with the processor state behind it, to below `top`, if `room` bytes are enough;
// enter_frame then runs the handler there as if the kernel had put it there, and the handler returns through it.
struct Frame { char* sp; void *info, *context; };
bool move_frame(void* info, void* context, char* top, size_t room, Frame* to);
[[noreturn]] void enter_frame(const Frame& f, int sig, void (*handler)(int, void*, void*));
// The frame is to go back to a system call that the kernel restarts: it ends with EINTR instead. (The call instruction leaves its own
// end in a register that few others touch: that tells a call begun from one that is about to begin.)
void end_restart(void* context);
char* context_sp(const void* context); // where the interrupted code's stack ends: what it may use without a frame is above
// What the kernel would show of the caller: registers that a call keeps, program counter and stack; floating point state into fp.
struct alignas(64) FpState { char bytes[512]; };
void capture_context(void* context, FpState* fp);
// fn(arg) on another stack, of which top is the upper end.
extern "C" void gmp_call_on_stack(void* top, void (*fn)(void*), void* arg);

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

// Valgrind's way to be asked (valgrind.h): rotations that are nothing to a processor, and a request to it.
inline bool under_valgrind() {
  const unsigned long request[6] = {0x1001 /*RUNNING_ON_VALGRIND*/};
  unsigned long answer = 0;
  asm volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi; xchgq %%rbx, %%rbx" : "+d"(answer) : "a"(request) : "cc", "memory");
  return answer != 0;
}

// What jump_fcontext leaves on a stack: offsets from the saved context, for dumps and debuggers.
namespace context {
inline constexpr int rbx = GMP_CONTEXT_RBX; // runtime/CMakeLists.txt finds it out
inline constexpr int r12 = rbx - 0x20, r13 = rbx - 0x18, r14 = rbx - 0x10, r15 = rbx - 0x08, rbp = rbx + 0x08, rip = rbx + 0x10, size = rbx + 0x18;
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
