// Alternate stacks. A G's is virtual: the kernel knows the kernel thread's own only, on which the trampoline finds itself when the action
// has SA_ONSTACK. From there the frame goes to the G's (signal_deliver.cpp); handlers that run without a frame of the kernel's change
// over by themselves.
#include "hooks/signal.hpp"

namespace gmp {

constexpr int kAutoDisarm = int(1u << 31);

bool on_stack(const stack_t& s, const void* sp) {
  return s.ss_size && uintptr_t(sp) - uintptr_t(s.ss_sp) < s.ss_size;
}

stack_t altstack_now() {
  stack_t s = self()->altstack;
  if (!s.ss_size) s.ss_flags = SS_DISABLE;
  else if (!(s.ss_flags & kAutoDisarm) && on_stack(s, __builtin_frame_address(0))) s.ss_flags |= SS_ONSTACK;
  return s;
}

namespace {
struct Call {
  Handler handler;
  int sig, flags;
  siginfo_t* info;
  void* context;
};
void invoke(void* c) {
  auto* call = static_cast<Call*>(c);
  if (call->flags & SA_SIGINFO) call->handler(call->sig, call->info, call->context);
  else reinterpret_cast<void (*)(int)>(reinterpret_cast<void*>(call->handler))(call->sig);
}
} // namespace

void call_handler(int sig, siginfo_t* info, ucontext_t* context) {
  keep_running(false); // the program's code, which may not come back
  Disposition& d = g_disposition[sig];
  Call c{d.handler.load(std::memory_order_acquire), sig, d.flags.load(std::memory_order_relaxed), info, context};
  const int keep = errno;
  const bool delivering = set_delivering(false);
  stack_t& own = self()->altstack;
  const stack_t was = own;
  if (!getg() || !(c.flags & SA_ONSTACK) || !was.ss_size) {
    invoke(&c);
  } else {
    const bool there = on_stack(was, __builtin_frame_address(0));
    if (was.ss_flags & kAutoDisarm) own = stack_t{nullptr, SS_DISABLE, 0};
    if (there) invoke(&c);
    else arch::gmp_call_on_stack(static_cast<char*>(was.ss_sp) + was.ss_size, invoke, &c);
    if (was.ss_flags & kAutoDisarm) self()->altstack = was;
  }
  if (delivering) set_delivering(true);
  errno = keep;
}

void jump_start();

// Before the first thread the kernel had the program's stack; now it is main's, and the kernel has the first M's.
void altstack_of_main() {
  stack_t s{};
  if (sys(SYS_sigaltstack, 0, &s) == 0 && !(s.ss_flags & SS_DISABLE) && s.ss_size) {
    s.ss_flags &= kAutoDisarm;
    self()->altstack = s;
  }
  sigstack_install();
  jump_start();
}

// The child is an ordinary thread: the kernel has its stack again.
void altstack_in_child() {
  stack_t s = self()->altstack;
  if (!s.ss_size) s.ss_flags = SS_DISABLE;
  sys(SYS_sigaltstack, &s, 0);
}

} // namespace gmp

using namespace gmp;

GMP_REAL(sigaltstack);

GMP_HOOK int sigaltstack(const stack_t* set, stack_t* old) noexcept {
  if (native() || !getg() || self()->vfork_child) return REAL(sigaltstack)(set, old);
  stack_t was = altstack_now();
  if (set) {
    const int flags = set->ss_flags & ~kAutoDisarm;
    if (was.ss_flags & SS_ONSTACK) return int(ret(-EPERM));
    if (flags != SS_DISABLE && flags != SS_ONSTACK && flags != 0) return int(ret(-EINVAL));
    if (flags == SS_DISABLE) self()->altstack = stack_t{nullptr, 0, 0};
    else if (set->ss_size < 2048) return int(ret(-ENOMEM));
    else self()->altstack = stack_t{set->ss_sp, set->ss_flags & kAutoDisarm, set->ss_size};
  }
  if (old) *old = was;
  return 0;
}
