// What the hooks know of a descriptor: its kind (which non-blocking attempt exists for it), whether its description is
// O_NONBLOCK or has time-outs, and whether it is known to be empty. It is a cache, never an authority: every answer in it may be
// stale (a descriptor closed or made behind our back) and every user fails safe: the attempt itself says ENOTSOCK or
// EOPNOTSUPP and the record is made anew. We never set O_NONBLOCK: it belongs to the open description, which children and other
// processes share.
#pragma once
#include "hooks/thread.hpp"

namespace gmp {

enum class Kind : uint32_t {
  Unknown = 0,
  Tcp,        // AF_INET*, SOCK_STREAM, plain TCP: a short read means empty
  Stream,     // other stream socket that epoll announces both ways (AF_UNIX, MPTCP): short reads mean nothing
  SeqPacket,  // AF_UNIX SOCK_SEQPACKET
  Dgram,      // AF_INET* datagram and raw: both directions announced
  DgramIn,    // AF_UNIX datagram, netlink, packet: only arrival is announced; room at *another* socket is not, so sends hand off
  OtherSock,  // unknown family: hand off after EAGAIN
  PipeOwn,    // made by pipe() in this process, not O_DIRECT: a short read means empty
  Pipe,       // RWF_NOWAIT both ways
  Anon,       // eventfd, timerfd, signalfd ...: RWF_NOWAIT reads; writes hand off
  PollFirst,  // named FIFO, inotify: no RWF_NOWAIT; poll, then hand off
  HandOff,    // regular files, directories, devices, ttys (background reads must stop, VTIME must run out): just announce
};
inline bool is_socket(Kind k) { return k >= Kind::Tcp && k <= Kind::OtherSock; }

// state: kind (5 bits), flags, and the generation, which every closer and every creator of that number bumps.
// cfg:   what F_GETFL and SO_*TIMEO said (3 bits), a version of this record's cfg (5 bits) and the global epoch (24 bits) in which
//        that was true. Descriptions are shared between numbers, so a change through any number of unknown sharing starts a new
//        epoch; a change through the only number of a description (Sole) just bumps the version of that record.
//        A description that another process has too (inherited, there at a fork, passed or received in a message) is never cached: its flags
//        may change without a word to us.
// empty: generation << 32 | sequence number; see FdWait::known_empty().
struct FdRec {
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> cfg;
  std::atomic<uint64_t> empty;
  std::atomic<uint64_t> waiters; // generation of its own << 32 | Gs parked in a call on this number (fdkeep.hpp)
  std::atomic<uint32_t> born;    // g_fd_forks when the description was made here; anything else: other processes may have it
  std::atomic<uint32_t> peer;    // other end of a pipe or socketpair made here, plus 1: fd_nudge()

  static constexpr uint32_t kKindMask = 31, kPolled = 1 << 5, kListen = 1 << 6, kSole = 1 << 7;
  static constexpr uint32_t kGenOne = 1 << 12, kGenMask = ~(kGenOne - 1);
  static constexpr uint32_t kNonBlock = 1, kRcvTimeo = 2, kSndTimeo = 4, kVerOne = 8, kVerMask = 31 * 8, kEpochShift = 8;

  static Kind kind_of(uint32_t s) { return Kind(s & kKindMask); }
  Kind kind() const { return kind_of(state.load(std::memory_order_acquire)); }
};
static_assert(sizeof(FdRec) == 32);

// Lies in .bss: 32 MB of addresses of which only what is touched costs anything, and no start-up step that a hook in another
// library's constructor could precede. Numbers beyond it are handed off (fs.nr_open is 1,048,576 unless raised).
inline constexpr int kFdMax = 1 << 20;
union alignas(kPage) FdTable {
  unsigned char zeros[sizeof(FdRec) * kFdMax]; // what it is at first: clang can't evaluate a million constructors
  FdRec rec[kFdMax];
  constexpr FdTable() : zeros{} {}
};
extern FdTable g_fd_table;
extern std::atomic<uint32_t> g_fd_epoch; // 1 .. 2^24-1
extern std::atomic<uint32_t> g_fd_forks;
extern std::atomic<bool> g_short_read_lies; // a kTLS socket or packet pipe exists: known_empty is off
extern std::atomic<bool> g_rcvlowat_used;

inline FdRec* fd_rec(int fd) { return GMP_LIKELY(unsigned(fd) < unsigned(kFdMax)) ? &g_fd_table.rec[fd] : nullptr; }

// The calling G for the purposes of I/O: null in a vfork child, which shares memory with a parent that is asleep in the
// middle of its G: there everything goes straight to the kernel and touches no table.
inline G* io_g() { return GMP_LIKELY(!self()->vfork_child) ? getg() : nullptr; }
// May the tables be touched? (Not in a vfork child; in Native mode nobody reads them.)
inline bool fd_books() { return !self()->vfork_child; }

// What went in at this end can come out at the other, or there is room at the other: its waiters need not hear of it from the kernel, by
// way of an M that asks. A hint: a number that means something else by now is woken for nothing.
inline void fd_nudge(const FdRec* r, Dir at_the_peer) {
  uint32_t peer = r->peer.load(std::memory_order_relaxed);
  if (GMP_UNLIKELY(peer != 0)) poll_nudge(int(peer) - 1, at_the_peer);
}
void fd_paired(int a, int b);

// A creator made this number. `cfg` = FdRec::kNonBlock or 0 when the description's flags are known, else kCfgUnknown.
inline constexpr uint32_t kCfgUnknown = ~0u;
void fd_created(int fd, Kind, uint32_t cfg, bool sole = true);
// fd's description got another number (dup): copies what is known, neither is sole.
void fd_duplicated(int from, int to);
// Before and after the kernel closes or replaces the number. before() gives the token for after().
uint32_t fd_closing(int fd);
void fd_closed(int fd, uint32_t token);
void fds_closed_range(unsigned first, unsigned last, bool before);
// F_SETFL, FIONBIO, SO_*TIMEO succeeded on fd.
void fd_cfg_changed(int fd);
// A child is about to get all descriptors; another process gets this one.
void fd_forking();
void fd_shared(int fd);
void fd_option_set(int fd, int level, int name); // by setsockopt
// syscall() with a number that closes, duplicates or changes descriptors: done, with the books. False: none of those.
bool fd_raw_call(long n, long a, long b, long c, long d, long e, long* result);
Kind fd_socket_kind(int domain, int type, int protocol);
// Looks the kind up (fstat, getsockopt) and stores it.
Kind fd_classify(int fd);
inline Kind fd_kind(int fd) {
  FdRec* r = fd_rec(fd);
  if (!r) return Kind::HandOff;
  Kind k = r->kind();
  return GMP_LIKELY(k != Kind::Unknown) ? k : fd_classify(fd);
}
// fd is (about to be) registered with the netpoller: a close must take it out again. The state then.
uint32_t fd_mark_polled(int fd, FdRec*);
// Overrules a kind that turned out wrong.
void fd_reclassify(int fd, Kind now);
// The three cfg bits, from the cache or the kernel.
uint32_t fd_cfg_slow(int fd, FdRec*);
inline bool fd_cfg_cached(const FdRec* r, uint32_t* bits) {
  uint32_t c = r->cfg.load(std::memory_order_acquire);
  *bits = c & 7;
  return GMP_LIKELY((c >> FdRec::kEpochShift) == g_fd_epoch.load(std::memory_order_relaxed));
}
inline uint32_t fd_cfg(int fd, FdRec* r) {
  uint32_t bits;
  return fd_cfg_cached(r, &bits) ? bits : fd_cfg_slow(fd, r);
}
// A regular file, a directory or a disk: no signal ends a wait for it.
bool fd_on_disk(int fd);
// SO_RCVTIMEO or SO_SNDTIMEO as a deadline from now.
int64_t fd_deadline(int fd, bool receive);
// POLLIN/POLLOUT now, by a poll that does not wait; the revents.
int fd_ready(int fd, short events);

// close(2) with the books kept; raw result (-errno). For the syscall() hook too.
long hook_close(int fd);
// close() as libc's insides call it: no cancellation point.
int close_uncancelled(int fd);
// In the child of fork, with reset_in_child(): kinds and sequence numbers of the parent are forgotten.
void fd_reset_in_child();

} // namespace gmp
