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

using namespace gmp;

// As libc has it, down to the device that /dev/null must be.
static bool no_terminal() {
  int fd = open("/dev/null", O_RDWR);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
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
//  - in this memory, while the caller sleeps (CLONE_VFORK): it runs on the caller's thread pointer and must not be taken for the G, so for
//    that time the thread is none, and its input and output goes straight to the kernel (io_g);
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
  return copy.body(copy.arg);
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
  G* g = getg();
  if (!g || !body || !stack || (flags & (CLONE_VM | CLONE_SETTLS)) == (CLONE_VM | CLONE_SETTLS) ||
      (flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM)
    return REAL(clone)(body, stack, flags, arg, parent_tid, tls, child_tid);
  if (!(flags & CLONE_VM)) {
    Copy copy{body, arg};
    return REAL(clone)(in_copy, stack, flags, &copy, parent_tid, tls, child_tid);
  }
  auto* real = real_clone.get();
  self()->vfork_child = true;
  enter_syscall_block();
  t_g = nullptr;
  int r = real(body, stack, flags, arg, parent_tid, tls, child_tid);
  t_g = g;
  exit_syscall();
  self()->vfork_child = false;
  return r;
}
GMP_ALIAS(__clone, clone);
