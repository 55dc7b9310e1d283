// The only code that changes the stack and the thread pointer. The two change at different instants; g->in_rt covers both: a
// signal handler that comes in between finds either this G (in_rt set) or g0 (t_g null, t_m set) and defers.
//
// Raw fcontext calls, not boost::context::fiber: per-G TLS already keeps what fiber saves (exception globals).
#include <boost/context/detail/fcontext.hpp>
#include "runtime/sched.hpp"

namespace gmp {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

thread_local G* t_g;
thread_local M* t_m;

// TLS may not be touched between set_thread_pointer and the jump: the compiler is free to keep the address of a
// thread-local over it, and it would be the other thread's.
GMP_NOINLINE void switch_to_g(M* m, G* g) {
  arch::set_thread_pointer(g->tp);
  transfer_t t = jump_fcontext(g->ctx, m);
  // Back on g0; the G has set g0's thread pointer before it jumped.
  m->curg->ctx = t.fctx;
}

GMP_NOINLINE void mcall(G* g, bool (*after)(M*, G*)) {
  M* m = g->m;
  m->after = after;
  arch::set_thread_pointer(m->g0_tp);
  transfer_t t = jump_fcontext(m->g0_ctx, g);
  // Resumed, on whichever M runs this G now.
  g->m->g0_ctx = t.fctx;
}

// A fresh stack begins here, with the M that runs it in t.data.
static void context_entry(transfer_t t) {
  M* m = static_cast<M*>(t.data);
  m->g0_ctx = t.fctx;
  g_start();
}

// The main thread's kernel thread: its g0 is entered by main's first mcall.
static void main_g0_entry(transfer_t t) {
  M* m = t_m;
  m->curg->ctx = t.fctx;
  schedule_loop(m);
}

void* new_context(char* stack_top, char* stack_lo, void (*)()) {
  return make_fcontext(stack_top, size_t(stack_top - stack_lo), context_entry);
}

void init_main_g0(M* m0, char* stack_top, char* stack_lo) {
  m0->g0_ctx = make_fcontext(stack_top, size_t(stack_top - stack_lo), main_g0_entry);
}

} // namespace gmp
