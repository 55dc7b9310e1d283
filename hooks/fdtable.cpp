#include "hooks/fdtable.hpp"
#include "hooks/fdkeep.hpp"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

namespace gmp {

constinit FdTable g_fd_table;
constinit std::atomic<uint32_t> g_fd_epoch{1};
constinit std::atomic<uint32_t> g_fd_forks{1};
constinit std::atomic<bool> g_short_read_lies{false};
constinit std::atomic<bool> g_rcvlowat_used{false};
// No record above it has ever been touched: close_range(3, ~0) must not walk (and so map) the whole table.
static constinit std::atomic<int> g_fd_high{-1};

namespace {

void touched(int fd) {
  int high = g_fd_high.load(std::memory_order_relaxed);
  while (fd > high && !g_fd_high.compare_exchange_weak(high, fd, std::memory_order_relaxed)) {}
}

void forget(int fd) {
  if (mode() == Mode::Running) poll_forget(fd);
}

// The record is a fresh one's; known_empty dies with the generation.
uint32_t next_generation(FdRec* r, uint32_t low_bits, uint32_t* was) {
  uint32_t s = r->state.load(std::memory_order_relaxed), n;
  do n = ((s & FdRec::kGenMask) + FdRec::kGenOne) | low_bits;
  while (!r->state.compare_exchange_weak(s, n, std::memory_order_acq_rel));
  *was = s;
  return n;
}

void set_cfg(FdRec* r, uint32_t cfg) {
  uint32_t c = r->cfg.load(std::memory_order_relaxed), n;
  do {
    n = (c + FdRec::kVerOne) & FdRec::kVerMask;
    if (cfg != kCfgUnknown) n |= cfg | g_fd_epoch.load(std::memory_order_relaxed) << FdRec::kEpochShift;
  } while (!r->cfg.compare_exchange_weak(c, n, std::memory_order_acq_rel));
}

int sockopt_int(int fd, int level, int name, int otherwise) {
  int v = otherwise;
  socklen_t len = sizeof v;
  return sys(SYS_getsockopt, fd, level, name, &v, &len) < 0 ? otherwise : v;
}

Kind socket_kind_of(int fd) {
  Kind k = fd_socket_kind(sockopt_int(fd, SOL_SOCKET, SO_DOMAIN, -1), sockopt_int(fd, SOL_SOCKET, SO_TYPE, -1),
                          sockopt_int(fd, SOL_SOCKET, SO_PROTOCOL, -1));
  if (k != Kind::Tcp) return k;
  char ulp[16];
  socklen_t len = sizeof ulp; // kTLS returns at record boundaries; an unused ULP has length 0
  return sys(SYS_getsockopt, fd, IPPROTO_TCP, TCP_ULP, ulp, &len) == 0 && len > 0 ? Kind::Stream : Kind::Tcp;
}

Kind kind_of_mode(int fd, uint32_t mode) {
  switch (mode & S_IFMT) {
  case S_IFSOCK: return socket_kind_of(fd);
  case S_IFIFO: return Kind::Pipe; // a named one answers EOPNOTSUPP and becomes PollFirst
  case 0: return Kind::Anon;       // anonymous inodes have no type
  default: return Kind::HandOff;
  }
}

// The kind, unless the number has been closed or made anew since `seen`.
void store_kind(FdRec* r, uint32_t seen, Kind k) {
  uint32_t s = r->state.load(std::memory_order_relaxed);
  while ((s & FdRec::kGenMask) == (seen & FdRec::kGenMask) &&
         !r->state.compare_exchange_weak(s, (s & ~FdRec::kKindMask) | uint32_t(k), std::memory_order_acq_rel)) {}
}

void new_epoch() {
  uint32_t e = g_fd_epoch.load(std::memory_order_relaxed), n;
  do n = e + 1 < (1u << 24) ? e + 1 : 1;
  while (!g_fd_epoch.compare_exchange_weak(e, n, std::memory_order_acq_rel));
}

} // namespace

Kind fd_socket_kind(int domain, int type, int protocol) {
  type &= 15; // without SOCK_NONBLOCK and SOCK_CLOEXEC
  switch (domain) {
  case AF_INET:
  case AF_INET6:
    if (type == SOCK_STREAM) return protocol == 0 || protocol == IPPROTO_TCP ? Kind::Tcp : Kind::Stream;
    return type == SOCK_DGRAM || type == SOCK_RAW ? Kind::Dgram : Kind::OtherSock;
  case AF_UNIX: return type == SOCK_STREAM ? Kind::Stream : type == SOCK_SEQPACKET ? Kind::SeqPacket : Kind::DgramIn;
  case AF_NETLINK:
  case AF_PACKET: return Kind::DgramIn;
  default: return Kind::OtherSock;
  }
}

void fd_created(int fd, Kind k, uint32_t cfg, bool sole) {
  FdRec* r = fd_rec(fd);
  if (!r || !fd_books()) return;
  touched(fd);
  uint32_t was;
  next_generation(r, uint32_t(k) | (sole ? FdRec::kSole : 0), &was);
  r->born.store(g_fd_forks.load(std::memory_order_relaxed), std::memory_order_relaxed);
  r->peer.store(0, std::memory_order_relaxed);
  set_cfg(r, cfg);
  // Somebody closed the number without telling us, or an old user registered it again while it was being closed.
  if (GMP_UNLIKELY(was & FdRec::kPolled)) forget(fd);
}

void fd_duplicated(int from, int to) {
  if (!fd_books()) return;
  Kind k = Kind::Unknown;
  uint32_t listen = 0, born = 0;
  if (FdRec* r = fd_rec(from)) {
    uint32_t s = r->state.fetch_and(~FdRec::kSole, std::memory_order_acq_rel);
    k = FdRec::kind_of(s);
    listen = s & FdRec::kListen;
    born = r->born.load(std::memory_order_relaxed);
  }
  fd_created(to, k, kCfgUnknown, false);
  if (FdRec* r = fd_rec(to)) {
    r->state.fetch_or(listen, std::memory_order_acq_rel);
    r->born.store(born, std::memory_order_relaxed);
  }
}

void fd_paired(int a, int b) {
  FdRec *x = fd_rec(a), *y = fd_rec(b);
  if (!x || !y || !fd_books()) return;
  x->peer.store(uint32_t(b) + 1, std::memory_order_relaxed);
  y->peer.store(uint32_t(a) + 1, std::memory_order_relaxed);
}

// Forgetting before the close takes the registration out of epoll while the number still names it (a dup would keep it alive
// for ever). A waiter woken by that may register again before the kernel has closed: then kPolled stands again under
// our generation when fd_closed() looks, or the next creator finds it.
uint32_t fd_closing(int fd) {
  FdRec* r = fd_rec(fd);
  if (!r || !fd_books()) return 0;
  if (r->state.load(std::memory_order_relaxed) == 0) return 0; // never touched
  fd_keep(fd, r);
  uint32_t was, now = next_generation(r, 0, &was);
  r->born.store(0, std::memory_order_relaxed);
  r->peer.store(0, std::memory_order_relaxed);
  set_cfg(r, kCfgUnknown);
  if (was & FdRec::kPolled) forget(fd);
  return now;
}

void fd_closed(int fd, uint32_t token) {
  FdRec* r = fd_rec(fd);
  if (!r || !fd_books()) return;
  uint32_t s = r->state.load(std::memory_order_acquire);
  if (GMP_LIKELY(s == token)) return;
  if ((s & FdRec::kGenMask) != (token & FdRec::kGenMask)) return; // the number is another's already
  if (r->state.compare_exchange_strong(s, (s & FdRec::kGenMask) + FdRec::kGenOne, std::memory_order_acq_rel) &&
      (s & FdRec::kPolled))
    forget(fd);
}

void fds_closed_range(unsigned first, unsigned last, bool before) {
  unsigned end = unsigned(g_fd_high.load(std::memory_order_relaxed) + 1);
  for (unsigned fd = first; fd < end && fd <= last; fd++) {
    uint32_t s = g_fd_table.rec[fd].state.load(std::memory_order_relaxed);
    if (before || (s & (FdRec::kPolled | FdRec::kKindMask))) fd_closing(int(fd));
  }
}

void fd_cfg_changed(int fd) {
  FdRec* r = fd_rec(fd);
  if (!fd_books()) return;
  if (r && (r->state.load(std::memory_order_acquire) & FdRec::kSole)) return set_cfg(r, kCfgUnknown);
  new_epoch();
}

void fd_forking() {
  if (!fd_books()) return;
  g_fd_forks.fetch_add(1, std::memory_order_acq_rel);
  new_epoch();
}

void fd_shared(int fd) {
  FdRec* r = fd_rec(fd);
  if (!r || !fd_books()) return;
  r->born.store(0, std::memory_order_release);
  set_cfg(r, kCfgUnknown);
}

Kind fd_classify(int fd) {
  FdRec* r = fd_rec(fd);
  if (!r) return Kind::HandOff;
  uint32_t seen = r->state.load(std::memory_order_acquire);
  struct stat st;
  if (sys(SYS_fstat, fd, &st) < 0) return Kind::HandOff; // EBADF: the call itself will say so
  Kind k = kind_of_mode(fd, st.st_mode);
  touched(fd);
  store_kind(r, seen, k);
  return k;
}

uint32_t fd_mark_polled(int fd, FdRec* r) {
  touched(fd);
  return r->state.fetch_or(FdRec::kPolled, std::memory_order_acq_rel);
}

void fd_reclassify(int fd, Kind now) {
  if (FdRec* r = fd_rec(fd)) store_kind(r, r->state.load(std::memory_order_acquire), now);
}

uint32_t fd_cfg_slow(int fd, FdRec* r) {
  uint32_t seen = r->cfg.load(std::memory_order_acquire); // before the questions: a change meanwhile makes the CAS fail
  uint32_t epoch = g_fd_epoch.load(std::memory_order_acquire);
  if (r->born.load(std::memory_order_acquire) != g_fd_forks.load(std::memory_order_relaxed)) epoch = 0; // no epoch: asked each time
  long fl = sys(SYS_fcntl, fd, F_GETFL);
  if (fl < 0) return 0; // EBADF: registering fails too, and the handed-off call says so
  uint32_t bits = fl & O_NONBLOCK ? FdRec::kNonBlock : 0;
  if (!bits && is_socket(fd_kind(fd))) {
    timeval tv{};
    socklen_t len = sizeof tv;
    if (sys(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len) == 0 && (tv.tv_sec | tv.tv_usec)) bits |= FdRec::kRcvTimeo;
    tv = {};
    len = sizeof tv;
    if (sys(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &tv, &len) == 0 && (tv.tv_sec | tv.tv_usec)) bits |= FdRec::kSndTimeo;
  }
  touched(fd);
  r->cfg.compare_exchange_strong(seen, bits | (seen & FdRec::kVerMask) | epoch << FdRec::kEpochShift, std::memory_order_acq_rel);
  return bits;
}

int64_t fd_deadline(int fd, bool receive) {
  timeval tv{};
  socklen_t len = sizeof tv;
  if (sys(SYS_getsockopt, fd, SOL_SOCKET, receive ? SO_RCVTIMEO : SO_SNDTIMEO, &tv, &len) < 0) return kNoDeadline;
  if ((tv.tv_sec | tv.tv_usec) == 0 || tv.tv_sec > kNoDeadline / 4000000000) return kNoDeadline;
  return nanotime() + tv.tv_sec * 1000000000ll + tv.tv_usec * 1000ll;
}

int fd_ready(int fd, short events) {
  pollfd p{fd, events, 0};
  long r;
  do r = sys(SYS_poll, &p, 1, 0);
  while (GMP_UNLIKELY(r == -EINTR)); // a signal was pending, and nothing ready
  return r > 0 ? p.revents : r < 0 ? POLLNVAL : 0;
}

long hook_close(int fd) {
  // The runtime's own descriptors are not the program's: to it the number is not open.
  if (mode() == Mode::Running && fd_books() && GMP_UNLIKELY(poll_owns(fd))) return -EBADF;
  uint32_t token = fd_closing(fd);
  // May block: SO_LINGER, ttys, network file systems.
  long r = io_g() ? blocking_sys(SYS_close, fd) : sys(SYS_close, fd);
  fd_closed(fd, token);
  return r;
}

void fd_reset_in_child() {
  // Private anonymous memory: the pages read as zero again. The alignment keeps neighbours out of it.
  sys(SYS_madvise, &g_fd_table, sizeof g_fd_table, MADV_DONTNEED);
  g_fd_high.store(-1, std::memory_order_relaxed);
  fd_keep_reset();
}

bool fd_on_disk(int fd) {
  struct stat st;
  return sys(SYS_fstat, fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode));
}

} // namespace gmp
