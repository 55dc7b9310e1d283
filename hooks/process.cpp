// fork, and waiting for children.
//
// The child of a fork from a G has that G's stack and TCB and one kernel thread. It forgets the scheduler (reset_in_child) and is an ordinary thread of a
// process that has not made any other yet: its first pthread_create starts a scheduler anew.
#include <cstdio>
#include <cstdlib>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>
#include "hooks/fdtable.hpp"
#include "hooks/process.hpp"
#include "hooks/signal.hpp"
#include "runtime/lend.hpp"

extern "C" int __register_atfork(void (*)(), void (*)(), void (*)(), void*);

namespace gmp {

GMP_REAL(fork);
GMP_REAL(_Fork);
GMP_REAL(system);
GMP_REAL(popen);
GMP_REAL(wordexp);
GMP_REAL(posix_spawn);
GMP_REAL(posix_spawnp);
GMP_REAL(wait4);
GMP_REAL(waitid);

// Once in each child, as early as can be: an atfork handler of the program's that ran before it would lock and read with the scheduler of the
// parent, whose locks other threads may have held.
void process_in_child() {
  static constinit int done_in = 0; // a pid
  const int pid = int(sys(SYS_getpid));
  self()->forking = 0;
  const bool on_an_m = getg() || t_lent;
  vfork_forget(self()); // forked by the child of a vfork
  if (done_in == pid) return;
  done_in = pid;
  if (on_an_m) altstack_in_child();
  reset_in_child();
  fd_reset_in_child();
  thread_in_child();
  signal_in_child();
}

static void first_atfork_handler() {
  if (!native()) process_in_child();
}
GMP_REAL(__register_atfork); // libc's: Firefox has one of its own, which keeps what it is given for forks of its own
// The first to run in the parent too: others may take the G to another kernel thread.
void process_start() { REAL(__register_atfork)(nullptr, has_child, first_atfork_handler, nullptr); }

static long wait_for(pid_t pid, int* status, int options, rusage* usage) {
  test_cancel();
  return ret(options & WNOHANG ? sys(SYS_wait4, pid, status, options, usage) : blocking_point(SYS_wait4, pid, status, options, usage));
}

} // namespace gmp

using namespace gmp;

GMP_HOOK pid_t fork() noexcept {
  fd_forking();
  self()->forking = int(sys(SYS_getpid));
  pid_t p = REAL(fork)();
  self()->forking = 0;
  return p;
}
GMP_ALIAS(__fork, fork);

// The one for signal handlers: no handlers of pthread_atfork.
GMP_HOOK pid_t _Fork() noexcept {
  pid_t p = REAL(_Fork)();
  if (p == 0 && !native()) process_in_child();
  if (p > 0) has_child();
  return p;
}

GMP_HOOK pid_t wait4(pid_t pid, int* status, int options, rusage* usage) noexcept {
  if (native()) return REAL(wait4)(pid, status, options, usage);
  return pid_t(wait_for(pid, status, options, usage));
}
GMP_HOOK pid_t wait3(int* status, int options, rusage* usage) noexcept { return wait4(-1, status, options, usage); }
GMP_HOOK pid_t waitpid(pid_t pid, int* status, int options) { return wait4(pid, status, options, nullptr); }
GMP_ALIAS(__waitpid, waitpid);
GMP_HOOK pid_t wait(int* status) { return wait4(-1, status, 0, nullptr); }
GMP_ALIAS(__wait, wait);

GMP_HOOK int waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
  if (native()) return REAL(waitid)(type, id, info, options);
  test_cancel();
  return int(ret(blocking_point(SYS_waitid, type, id, info, options, nullptr)));
}

// posix_spawn's child runs libc's code in our memory and on the G's thread pointer, and may come to a hook by a detour (close). While it
// lives everything on this thread goes straight to the kernel; the parent sleeps until the exec, the P does not. A cancellation that
// leaves system() takes the mark off in cancel.cpp.
template <class F> static auto spawning(F call) {
  Thread* t = self();
  const bool was = t->vfork_child;
  fd_forking();
  enter_syscall_waits();
  has_child();
  t->vfork_child = true;
  auto r = call();
  t->vfork_child = was;
  exit_syscall();
  return r;
}

GMP_HOOK int system(const char* command) {
  return spawning([&] { return REAL(system)(command); });
}
GMP_HOOK FILE* popen(const char* command, const char* how) {
  FILE* f = spawning([&] { return REAL(popen)(command, how); });
  if (f && !native()) fd_created(fileno_unlocked(f), Kind::Unknown, 0); // libc made the pipe by itself
  return f;
}
GMP_ALIAS(_IO_popen, popen);
GMP_HOOK int wordexp(const char* words, wordexp_t* out, int flags) {
  return spawning([&] { return REAL(wordexp)(words, out, flags); });
}
GMP_HOOK int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* fa, const posix_spawnattr_t* attr,
                         char* const argv[], char* const envp[]) {
  return spawning([&] { return REAL(posix_spawn)(pid, path, fa, attr, argv, envp); });
}
GMP_HOOK int posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* fa, const posix_spawnattr_t* attr,
                          char* const argv[], char* const envp[]) {
  return spawning([&] { return REAL(posix_spawnp)(pid, file, fa, attr, argv, envp); });
}

// Since 2.39. A program that asks whether they are there finds them in any case.
extern "C" {
int pidfd_spawn(int*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const[], char* const[]);
int pidfd_spawnp(int*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const[], char* const[]);
}
static int spawn_pidfd(const char* name, int* pidfd, const char* path, const posix_spawn_file_actions_t* fa, const posix_spawnattr_t* attr,
                       char* const argv[], char* const envp[]) {
  auto real = dlsym ? reinterpret_cast<decltype(&pidfd_spawn)>(dlsym(RTLD_NEXT, name)) : nullptr;
  if (!real) return ENOSYS;
  const int error = spawning([&] { return real(pidfd, path, fa, attr, argv, envp); });
  if (!error && pidfd && !native()) fd_created(*pidfd, Kind::Unknown, 0);
  return error;
}
GMP_HOOK int pidfd_spawn(int* pidfd, const char* path, const posix_spawn_file_actions_t* fa, const posix_spawnattr_t* attr,
                         char* const argv[], char* const envp[]) {
  return spawn_pidfd("pidfd_spawn", pidfd, path, fa, attr, argv, envp);
}
GMP_HOOK int pidfd_spawnp(int* pidfd, const char* file, const posix_spawn_file_actions_t* fa, const posix_spawnattr_t* attr,
                          char* const argv[], char* const envp[]) {
  return spawn_pidfd("pidfd_spawnp", pidfd, file, fa, attr, argv, envp);
}
