// The only code that changes the stack and the thread pointer. The two change at different instants; g->in_rt covers both: a
// signal handler that comes in between finds either this G (in_rt set) or g0 (t_g null, t_m set) and defers.
//
// Raw fcontext calls, not boost::context::fiber: per-G TLS already keeps what fiber saves (exception globals).
#include <boost/context/detail/fcontext.hpp>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constinit thread_local G* t_g = nullptr;
constinit thread_local M* t_m = nullptr;

// TLS may not be touched between set_thread_pointer and the jump: the compiler is free to keep the address of a
// thread-local over it, and it would be the other thread's.
GMP_NOINLINE void switch_to_g(M* m, G* g) {
  arch::set_thread_pointer(g->tp);
  transfer_t t = jump_fcontext(g->ctx, nullptr);
  // Back on g0; the G that was last here (not g, if others were switched to directly) has set g0's thread pointer.
  m->curg->ctx = t.fctx;
}

// On a G's stack, just switched to: from g0, or directly from another G, whose registers are now saved.
static GMP_NOINLINE void arrived(G* g, fcontext_t from) {
  M* m = g->m;
  G* prev = m->prev;
  if (!prev) {
    m->g0_ctx = from;
    return;
  }
  m->prev = nullptr;
  prev->ctx = from;
  if (m->after(m, prev)) ready(prev);
}

GMP_NOINLINE void mcall(G* g, bool (*after)(M*, G*)) {
  M* m = g->m;
  m->after = after;
  arch::set_thread_pointer(m->g0_tp);
  transfer_t t = jump_fcontext(m->g0_ctx, nullptr);
  arrived(g, t.fctx);
}

GMP_NOINLINE void switch_direct(M* m, G* g, G* next, bool (*after)(M*, G*)) {
  m->after = after;
  m->prev = g;
  m->curg = next;
  next->m = m;
  arch::set_thread_pointer(next->tp);
  transfer_t t = jump_fcontext(next->ctx, nullptr);
  arrived(g, t.fctx);
}

// A fresh stack begins here.
static void context_entry(transfer_t t) {
  arrived(getg(), t.fctx);
  g_start();
}

// The main thread's kernel thread: its g0 is entered by main's first mcall.
static void main_g0_entry(transfer_t t) {
  M* m = t_m;
  m->curg->ctx = t.fctx;
  schedule_loop(m);
  // Locked to main, which has ended: as natively, the process's first kernel thread is gone.
  sys(SYS_exit, 0);
}

void* new_context(char* stack_top, char* stack_lo, void (*)()) {
  return make_fcontext(stack_top, size_t(stack_top - stack_lo), context_entry);
}

void init_main_g0(M* m0, char* stack_top, char* stack_lo) {
  m0->g0_ctx = make_fcontext(stack_top, size_t(stack_top - stack_lo), main_g0_entry);
}

} // namespace gmp
