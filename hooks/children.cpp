// Relatives of fork. libc's would fork inside, past our hook, and the child would go on as a G of a scheduler that has no kernel threads.
#include <cstdarg>
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utmp.h>
#include "hooks/announce.hpp"
#include "hooks/fdtable.hpp"
#include "hooks/process.hpp"

GMP_OLD_LIBC(openpty, 2.2.5);

using namespace gmp;

// As libc has it, down to the device that /dev/null must be.
static bool no_terminal() {
  int fd = open("/dev/null", O_RDWR);
  struct stat st;
  if (fd < 0 || sys(SYS_fstat, fd, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
    int e = fd < 0 ? errno : ENODEV;
    if (fd >= 0) close(fd);
    errno = e;
    return false;
  }
  for (int i = 0; i < 3; i++) dup2(fd, i);
  if (fd > 2) close(fd);
  return true;
}

GMP_HOOK int daemon(int stay, int keep_files) noexcept {
  pid_t p = fork();
  if (p < 0) return -1;
  if (p > 0) _exit(0);
  if (setsid() < 0) return -1;
  if (!stay) (void)!chdir("/");
  return keep_files || no_terminal() ? 0 : -1;
}

GMP_HOOK int forkpty(int* master, char* name, const termios* t, const winsize* w) noexcept {
  int m, s;
  if (openpty(&m, &s, name, t, w) < 0) return -1;
  pid_t p = fork();
  if (p == 0) {
    close(m);
    if (login_tty(s) != 0) _exit(1);
    return 0;
  }
  int e = errno;
  close(s);
  if (p < 0) {
    close(m);
    errno = e;
    return -1;
  }
  *master = m;
  return p;
}

// clone. Three kinds of children:
//  - with a copy of the memory: as after fork;
//  - in this memory, while the caller sleeps (CLONE_VFORK). On the caller's thread pointer it would be taken for the G, and what it waits
//    for would park a G that sleeps. It gets one of its own, of a thread that never runs, and is a foreign thread; its input and
//    output goes straight to the kernel (io_g). errno is then not the caller's: what a child leaves there is lost;
//  - in this memory at the same time. With a thread pointer of its own (CLONE_SETTLS) it is a foreign thread. On ours it
//    shares errno with us and may call no libc, natively neither.
namespace {

using Body = int (*)(void*);
struct Copy {
  Body body;
  void* arg;
};
int in_copy(void* c) {
  Copy copy = *static_cast<Copy*>(c);
  process_in_child();
  const int status = copy.body(copy.arg);
  // libc would end this kernel thread only, and those that we have made since would stay.
  if (mode() == Mode::Running) _exit(status);
  return status;
}

GMP_REAL(clone);

} // namespace

GMP_HOOK int clone(Body body, void* stack, int flags, void* arg, ...) noexcept {
  va_list ap;
  va_start(ap, arg);
  pid_t* parent_tid = va_arg(ap, pid_t*);
  void* tls = va_arg(ap, void*);
  pid_t* child_tid = va_arg(ap, pid_t*);
  va_end(ap);
  if (!native() && body && stack && !(flags & CLONE_VM)) {
    Copy copy{body, arg};
    return REAL(clone)(in_copy, stack, flags, &copy, parent_tid, tls, child_tid);
  }
  if (!getg() || !body || !stack || (flags & (CLONE_VM | CLONE_VFORK | CLONE_SETTLS)) != (CLONE_VM | CLONE_VFORK))
    return REAL(clone)(body, stack, flags, arg, parent_tid, tls, child_tid);
  auto* real = real_clone.get();
  int error;
  G* shell = spawn_prepare({1 << 16, 0, nullptr}, &error);
  if (!shell) return int(ret(-error));
  uintptr_t tp = thread_pointer_of(shell);
  *tls_in(tp, &t_g) = nullptr;
  tls_in(tp, &t_thread)->vfork_child = true;
  enter_syscall_block();
  int r = real(body, stack, flags | CLONE_SETTLS, arg, parent_tid, reinterpret_cast<void*>(tp), child_tid);
  exit_syscall();
  tls_in(tp, &t_thread)->vfork_child = false;
  *tls_in(tp, &t_g) = shell;
  spawn_abandon(shell);
  return r;
}
GMP_ALIAS(__clone, clone);
