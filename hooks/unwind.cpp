// The frame at the bottom of a G, to which pthread_exit and cancellation unwind. libc does the unwinding itself
// (_Unwind_ForcedUnwind of the program's libgcc_s, C cleanup handlers, "exception not rethrown"): it needs a jump buffer at the end of its
// list of cleanup handlers, as start_thread and __libc_start_call_main register one, and that is what stands here.
// An exception that nobody catches finds no handler up to the G's first frame, so that the throw itself calls std::terminate.
#include <csetjmp>
#include <cstring>
#include "hooks/thread.hpp"
#include "hooks/thread_libc.hpp"

namespace gmp {

GMP_REAL(pthread_exit);

static __jmp_buf_tag* jump_buffer(__pthread_unwind_buf_t* b) {
  return reinterpret_cast<__jmp_buf_tag*>(b->__cancel_jmp_buf);
}

static void note_how_it_ended() {
  Thread* t = self();
  if (!t->exit_called) t->result = PTHREAD_CANCELED;
}

// Destructors in thread_finish may end the thread anew and come back to the setjmp, as in libc.
void thread_entry(void*) {
  __pthread_unwind_buf_t bottom;
  if (__sigsetjmp(jump_buffer(&bottom), 0) == 0) {
    __pthread_register_cancel(&bottom);
    bottom.__pad[0] = nullptr; // what a former thread of this shell left: this is the end of the list
    Thread* t = self();
    t->result = t->start_c11 ? reinterpret_cast<void*>(intptr_t(t->start_c11(t->arg))) : t->start(t->arg);
  } else {
    note_how_it_ended();
  }
  thread_finish(false);
}

// ---- main

// x86-64 of glibc: jump buffers keep SP in word 6 and PC in word 7, both mangled with the pointer guard at fs:0x30.
enum { kSp = 6, kPc = 7 };
static uintptr_t pointer_guard() {
  uintptr_t g;
  asm("mov %%fs:0x30, %0" : "=r"(g));
  return g;
}
static uintptr_t mangle(uintptr_t v) {
  v ^= pointer_guard();
  return v << 17 | v >> 47;
}
static uintptr_t demangle(uintptr_t v) { return (v >> 17 | v << 47) ^ pointer_guard(); }

extern "C" void gmp_main_landing(); // below

extern "C" __attribute__((noreturn, visibility("hidden"), used)) void gmp_main_ended() {
  note_how_it_ended();
  thread_finish(true);
}

// The last buffer of the list is __libc_start_call_main's (start_thread's if another thread than main made the first thread). A list
// that a longjmp has left hanging is recognised by an entry that is not further up the stack; then nothing is changed.
void redirect_main_exit() {
  __pthread_unwind_buf_t probe, *b;
  __pthread_register_cancel(&probe);
  b = static_cast<__pthread_unwind_buf_t*>(probe.__pad[0]);
  __pthread_unregister_cancel(&probe);
  for (auto at = uintptr_t(&probe); b; b = static_cast<__pthread_unwind_buf_t*>(b->__pad[0])) {
    if (uintptr_t(b) <= at || uintptr_t(b) - at > (1ul << 30) || uintptr_t(b) % 8) return;
    at = uintptr_t(b);
    if (b->__pad[0]) continue;
    auto* words = reinterpret_cast<uintptr_t*>(jump_buffer(b));
    uintptr_t sp = demangle(words[kSp]);
    if (sp <= at && at - sp < 4096) words[kPc] = mangle(uintptr_t(&gmp_main_landing));
  }
}

} // namespace gmp

// Entered by longjmp with main's caller's stack pointer. backtrace() ends here.
asm(R"(
  .text
  .p2align 4
  .hidden gmp_main_landing
  .globl gmp_main_landing
  .type gmp_main_landing, @function
gmp_main_landing:
  .cfi_startproc
  .cfi_undefined %rip
  and $-16, %rsp
  xor %ebp, %ebp
  call gmp_main_ended
  ud2
  .cfi_endproc
  .size gmp_main_landing, . - gmp_main_landing
)");

using namespace gmp;

GMP_HOOK void pthread_exit(void* result) {
  if (!native()) {
    Thread* t = self();
    t->result = result;
    t->exit_called = true;
  }
  REAL(pthread_exit)(result);
  __builtin_unreachable();
}
