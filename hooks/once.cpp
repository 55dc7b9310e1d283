// pthread_once, call_once. The control word is libc's: 0 not yet, generation | 1 in progress, 2 done, so that controls that were
// completed or begun natively keep their meaning. The generation tells a child of fork that whoever was in progress does not exist here.
// An init routine that is left by an exception (std::call_once), pthread_exit or cancellation puts 0 back and lets the next one try.
#include <threads.h>
#include <unwind.h>
#include "hooks/thread.hpp"

namespace gmp {

GMP_REAL(pthread_once);

// pthread.h keeps them from C++ (C's pthread_cleanup_push is made of them).
extern "C" {
int gmp_setjmp(__pthread_unwind_buf_t*, int) __asm__("__sigsetjmp") __attribute__((returns_twice));
}

using Control = std::atomic<int>;
static_assert(sizeof(Control) == sizeof(pthread_once_t) && sizeof(Control) == sizeof(once_flag));

enum : int { kInProgress = 1, kDone = 2, kGenerationStep = 4 };

// pid and generation of the process that last looked (high and low half): a child finds another pid and steps the generation. Only
// asked when an init routine is about to run or to be waited for.
static constinit std::atomic<uint64_t> g_generation{0};

static int in_progress_now() {
  uint32_t pid = uint32_t(sys(SYS_getpid));
  uint64_t seen = g_generation.load(std::memory_order_relaxed);
  for (;;) {
    if (uint32_t(seen >> 32) == pid) return int(uint32_t(seen)) | kInProgress;
    uint32_t generation = seen == 0 ? 0 : uint32_t(seen) + kGenerationStep;
    if (g_generation.compare_exchange_weak(seen, uint64_t(pid) << 32 | generation, std::memory_order_relaxed))
      return int(generation) | kInProgress;
  }
}

static void finish(Control* control, int value) {
  control->store(value, std::memory_order_release);
  wake(control, SIZE_MAX);
}

// The init routines that this thread is in, innermost first.
struct Running {
  Control* control;
  Running* outer;
  __pthread_unwind_buf_t* libc;
};
static thread_local constinit Running* t_running __attribute__((tls_model("initial-exec"))) = nullptr;

// The personality of gmp_once_call's frame. It does the cleaning up itself and has no landing pad, because code of ours that called
// _Unwind_Resume would need the unwinder that the exception came from, which is the program's: libgmp.so links with none.
extern "C" __attribute__((visibility("hidden"), used)) _Unwind_Reason_Code gmp_once_personality(
    int, _Unwind_Action actions, _Unwind_Exception_Class, _Unwind_Exception*, _Unwind_Context*) {
  if ((actions & _UA_CLEANUP_PHASE) && t_running) {
    Running* left = t_running;
    t_running = left->outer;
    if (!(actions & _UA_FORCE_UNWIND)) __pthread_unregister_cancel(left->libc); // an exception, which libc knows nothing of
    finish(left->control, 0);
  }
  return _URC_CONTINUE_UNWIND;
}
extern "C" void gmp_once_call(void (*init)());

static GMP_NOINLINE int once_slow(Control* control, void (*init)()) {
  int now = in_progress_now();
  int seen = control->load(std::memory_order_acquire);
  for (;;) {
    if (seen & kDone) return 0;
    if (seen == now) {
      auto still = [control, now] { return control->load(std::memory_order_acquire) == now; };
      if (wait_on(control, still, {}, {}, {.why = WaitReason::Once}) == Wait::Interrupted) after_interrupt(true, false);
      seen = control->load(std::memory_order_acquire);
      continue;
    }
    if (control->compare_exchange_weak(seen, now, std::memory_order_acquire, std::memory_order_acquire)) break;
  }
  __pthread_unwind_buf_t libc;
  Running me{control, t_running, &libc};
  // Without unwind tables in the init routine libc's list of handlers is all there is.
  if (gmp_setjmp(&libc, 0)) {
    if (t_running == &me) { // else the personality was there
      t_running = me.outer;
      finish(me.control, 0);
    }
    __pthread_unwind_next(&libc);
  }
  __pthread_register_cancel(&libc);
  t_running = &me;
  gmp_once_call(init);
  t_running = me.outer;
  __pthread_unregister_cancel(&libc);
  finish(control, kDone);
  return 0;
}

static inline int once(void* word, void (*init)()) {
  auto* control = static_cast<Control*>(word);
  if (GMP_LIKELY(control->load(std::memory_order_acquire) & kDone)) return 0;
  return once_slow(control, init);
}

} // namespace gmp

asm(R"(
  .text
  .p2align 4
  .hidden gmp_once_call
  .globl gmp_once_call
  .type gmp_once_call, @function
gmp_once_call:
  .cfi_startproc
  .cfi_personality 0x1b, gmp_once_personality
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  mov %rsp, %rbp
  .cfi_def_cfa_register %rbp
  call *%rdi
  pop %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size gmp_once_call, . - gmp_once_call
)");

using namespace gmp;

GMP_HOOK int pthread_once(pthread_once_t* control, void (*init)()) {
  if (native()) return REAL(pthread_once)(control, init);
  return once(control, init);
}
GMP_ALIAS(__pthread_once, pthread_once);

GMP_HOOK void call_once(once_flag* flag, void (*init)()) {
  if (native()) REAL(pthread_once)(reinterpret_cast<pthread_once_t*>(flag), init);
  else once(flag, init);
}
