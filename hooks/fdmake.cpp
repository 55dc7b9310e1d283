// Descriptors whose kind is known when they are made, and the options that change how they wait.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "hooks/ioloop.hpp"
#include "hooks/signal.hpp"

using namespace gmp;

GMP_REAL(socket);
GMP_REAL(socketpair);
GMP_REAL(pipe);
GMP_REAL(pipe2);
GMP_REAL(eventfd);
GMP_REAL(setsockopt);
GMP_REAL(timerfd_create);
GMP_REAL(signalfd);
GMP_REAL(inotify_init);
GMP_REAL(inotify_init1);
GMP_REAL(epoll_create);
GMP_REAL(epoll_create1);

static_assert(SOCK_NONBLOCK == O_NONBLOCK && EFD_NONBLOCK == O_NONBLOCK);
static uint32_t cfg_of(int flags) { return flags & O_NONBLOCK ? FdRec::kNonBlock : 0; }

GMP_HOOK int socket(int domain, int type, int protocol) noexcept {
  if (native()) return REAL(socket)(domain, type, protocol);
  long fd = sys(SYS_socket, domain, type, protocol);
  if (fd >= 0) fd_created(int(fd), fd_socket_kind(domain, type, protocol), cfg_of(type));
  return int(ret(fd));
}

GMP_HOOK int socketpair(int domain, int type, int protocol, int fds[2]) noexcept {
  if (native()) return REAL(socketpair)(domain, type, protocol, fds);
  long r = sys(SYS_socketpair, domain, type, protocol, fds);
  if (r >= 0)
    for (int i = 0; i < 2; i++) fd_created(fds[i], fd_socket_kind(domain, type, protocol), cfg_of(type));
  if (r >= 0) fd_paired(fds[0], fds[1]);
  return int(ret(r));
}

GMP_HOOK int pipe2(int fds[2], int flags) noexcept {
  if (native()) return REAL(pipe2)(fds, flags);
  long r = sys(SYS_pipe2, fds, flags);
  if (r >= 0)
    for (int i = 0; i < 2; i++) fd_created(fds[i], flags & O_DIRECT ? Kind::Pipe : Kind::PipeOwn, cfg_of(flags));
  if (r >= 0) fd_paired(fds[0], fds[1]);
  return int(ret(r));
}

GMP_HOOK int pipe(int fds[2]) noexcept {
  if (native()) return REAL(pipe)(fds);
  return pipe2(fds, 0);
}
GMP_ALIAS(__pipe, pipe);

GMP_HOOK int eventfd(unsigned value, int flags) noexcept {
  if (native()) return REAL(eventfd)(value, flags);
  long fd = sys(SYS_eventfd2, value, flags);
  if (fd >= 0) fd_created(int(fd), Kind::Anon, cfg_of(flags));
  return int(ret(fd));
}

// Whoever closed the number before them may have done so without telling us: a creator that is known begins the record anew.
static int made(long fd, Kind k, int flags) {
  if (fd >= 0) fd_created(int(fd), k, cfg_of(flags));
  return int(ret(fd));
}
GMP_HOOK int timerfd_create(int clock, int flags) noexcept {
  if (native()) return REAL(timerfd_create)(clock, flags);
  return made(sys(SYS_timerfd_create, clock, flags), Kind::Anon, flags);
}
GMP_HOOK int signalfd(int fd, const sigset_t* set, int flags) noexcept {
  if (native()) return REAL(signalfd)(fd, set, flags);
  const long r = sys(SYS_signalfd4, fd, set, 8, flags);
  if (r >= 0) signalfd_made(bits(set));
  return fd == -1 ? made(r, Kind::Anon, flags) : int(ret(r));
}
GMP_HOOK int inotify_init1(int flags) noexcept {
  if (native()) return REAL(inotify_init1)(flags);
  return made(sys(SYS_inotify_init1, flags), Kind::PollFirst, flags);
}
GMP_HOOK int inotify_init() noexcept {
  if (native()) return REAL(inotify_init)();
  return made(sys(SYS_inotify_init1, 0), Kind::PollFirst, 0);
}
GMP_HOOK int epoll_create1(int flags) noexcept {
  if (native()) return REAL(epoll_create1)(flags);
  return made(sys(SYS_epoll_create1, flags), Kind::Unknown, 0);
}
GMP_HOOK int epoll_create(int size) noexcept {
  if (native()) return REAL(epoll_create)(size);
  return made(sys(SYS_epoll_create, size), Kind::Unknown, 0);
}

void gmp::fd_option_set(int fd, int level, int name) {
  if (!fd_books()) return;
  if (level == SOL_SOCKET) {
    switch (name) {
    case 20: // SO_RCVTIMEO and SO_SNDTIMEO, both layouts of their value
    case 21:
    case 66:
    case 67: fd_cfg_changed(fd); break;
    case SO_RCVLOWAT: g_rcvlowat_used.store(true, std::memory_order_relaxed); break;
    default: break;
    }
  } else if (level == IPPROTO_TCP && name == TCP_ULP) {
    fd_reclassify(fd, Kind::Unknown);
    g_short_read_lies.store(true, std::memory_order_relaxed);
  }
}

GMP_HOOK int setsockopt(int fd, int level, int name, const void* value, socklen_t len) noexcept {
  if (native()) return REAL(setsockopt)(fd, level, name, value, len);
  long r = sys(SYS_setsockopt, fd, level, name, value, len);
  if (r >= 0) fd_option_set(fd, level, name);
  return int(ret(r));
}
