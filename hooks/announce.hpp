// Calls that libc does whole and that may block on the way: announced, one line for each.
//
//   GMP_ANNOUNCED(result, name, (parameters), (arguments), specifiers...)
//
// Without a G (a program with no threads, a foreign thread, native mode) it is libc's function behind one branch. On a G the P may be taken
// while it blocks. What the function calls on its way may be hooks of ours: through a detoured inner entry, a program's malloc, a
// module of the name services. The first one ends the announcement (enter_rt_slow) and parks or announces for itself; exit_syscall() then
// finds nothing to do. For the same reason a cancellation that unwinds from inside the function leaves nothing behind: the next verb of the
// thread, at the latest its end, ends the announcement. So nothing here needs a destructor, and none would run (-fno-exceptions).
// libc's function is the cancellation point, where it is one: it looks itself before it blocks.
//
// Not for functions that call the program (scandir's filter, nftw's function): they would run without a P.
//
// GMP_PARKS_INSIDE: the same for those that block only in calls of libc's which a detour leads to hooks (name services: sockets, files, locks). While
// the detours stand they need not be announced, and a burst of them makes no kernel threads.
#pragma once
#include "hooks/hook.hpp"
#include "hooks/start.hpp"

#define GMP_WHOLE(parks, result, name, parameters, arguments, ...)                                                     \
  GMP_HOOK result name parameters __VA_ARGS__ {                                                                        \
    auto* real = REAL(name);                                                                                           \
    if (GMP_LIKELY(!::gmp::getg()) || (parks)) return real arguments;                                                  \
    ::gmp::SyscallScope announced;                                                                                     \
    return real arguments;                                                                                             \
  }

#define GMP_ANNOUNCED(result, name, ...)                                                                               \
  GMP_REAL(name);                                                                                                      \
  GMP_WHOLE(false, result, name, __VA_ARGS__)
// One that libc has only for old programs (name@VERSION): dlsym does not find it.
#define GMP_ANNOUNCED_V(version, result, name, ...)                                                                    \
  GMP_REAL_V(name, version);                                                                                           \
  GMP_WHOLE(false, result, name, __VA_ARGS__)
#define GMP_PARKS_INSIDE(result, name, ...)                                                                            \
  GMP_REAL(name);                                                                                                      \
  GMP_WHOLE(GMP_LIKELY(::gmp::g_detoured), result, name, __VA_ARGS__)
#define GMP_PARKS_INSIDE_V(version, result, name, ...)                                                                 \
  GMP_REAL_V(name, version);                                                                                           \
  GMP_WHOLE(GMP_LIKELY(::gmp::g_detoured), result, name, __VA_ARGS__)
