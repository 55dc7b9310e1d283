// What restores a mask without asking for a symbol of ours: longjmp to a place that has noted one, and contexts. The G's mask changes here,
// before libc tells the kernel the same.
#include <csetjmp>
#include "hooks/signal.hpp"

namespace gmp {

void jump_start();

static void mask_of(const __jmp_buf_tag* env) {
  if (!native() && getg() && env->__mask_was_saved && !self()->vfork_child) {
    const uint64_t mask = bits(&reinterpret_cast<const sigset_t&>(env->__saved_mask));
    if (get_sigmask(getg()) != (mask & ~kUnblockable)) change_g_mask(mask);
  }
}

static void mask_of(const ucontext_t* c) {
  if (native() || !getg() || self()->vfork_child) return;
  // Only noted: pending signals must not run before the stack has changed. What they find open then runs at the next chance.
  const uint64_t mask = bits(&c->uc_sigmask) & ~kUnblockable;
  if (get_sigmask(getg()) == mask) return;
  note_sigmask(mask);
  if (pending_set() & ~mask) request_signals(getg());
}

} // namespace gmp

using namespace gmp;

extern "C" {
[[noreturn]] void __longjmp_chk(__jmp_buf_tag*, int) noexcept(false);
[[noreturn]] void __libc_siglongjmp(__jmp_buf_tag*, int);
[[noreturn]] void __libc_longjmp(__jmp_buf_tag*, int);
}
GMP_REAL(siglongjmp);
GMP_REAL(setcontext);
GMP_REAL(swapcontext);
static constinit Real<void(__jmp_buf_tag*, int)> real_longjmp_chk{"__longjmp_chk"};

// Found before a handler needs them.
void gmp::jump_start() {
  real_siglongjmp.get();
  real_longjmp_chk.get();
}

GMP_HOOK void siglongjmp(__jmp_buf_tag* env, int value) noexcept {
  mask_of(env);
  REAL(siglongjmp)(env, value);
  __builtin_unreachable();
}
GMP_HOOK void longjmp(__jmp_buf_tag* env, int value) noexcept { siglongjmp(env, value); }
GMP_HOOK void _longjmp(__jmp_buf_tag* env, int value) noexcept { siglongjmp(env, value); }

// Checks that the jump goes up the stack; off an alternate stack it may go anywhere, which libc asks the kernel about.
GMP_HOOK void __longjmp_chk(__jmp_buf_tag* env, int value) {
  mask_of(env);
  if (!native() && getg() && on_stack(self()->altstack, __builtin_frame_address(0))) REAL(siglongjmp)(env, value);
  real_longjmp_chk.get()(env, value);
  __builtin_unreachable();
}

GMP_HOOK int setcontext(const ucontext_t* to) noexcept {
  mask_of(to);
  return REAL(setcontext)(to);
}

GMP_HOOK int swapcontext(ucontext_t* from, const ucontext_t* to) noexcept {
  mask_of(to);
  return REAL(swapcontext)(from, to);
}
