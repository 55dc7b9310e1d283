// The loops under every receiving and sending hook: try without blocking, park on EAGAIN, try again.
//
//   FdWait w(fd, Dir::Read, rec);      // takes the sequence number, if the descriptor is registered already
//   r = attempt();                     // non-blocking
//   r == -EAGAIN: w.block(...)         // kAgain: try again; kHandOff: epoll can't watch it; else the call's result
//
// The first EAGAIN registers the descriptor and asks for one more attempt: a number taken after poll_open() and before an attempt
// is the only one that may be waited for.
//
// known_empty: after a short read the next attempt could only say EAGAIN, so it is left out. The argument. Let s be the number
// taken while registered, before a read that returned 0 < r < wanted, on a descriptor whose short reads mean "I took all there was".
//  - The queue was empty at a time T after s was taken. What arrives later raises an edge after T; it is counted after T; so as
//    long as the number is still s, nothing has arrived. Other readers (threads, dups, processes) only take away.
//  - End of file, errors, RDHUP, a local shutdown and urgent data raise edges too. One counted after s was taken moves the number. One counted
//    before is in poll_hup(), which is read after s: then nothing is remembered, for the edge that tells has been used up.
//  - Whose short reads say so: plain TCP (tcp_recvmsg copies until the queue ends or the urgent mark stops it) without kTLS
//    (records); pipes made by pipe() here and not O_DIRECT (packets). Not unix sockets: they stop at SCM_RIGHTS and at a change of
//    writer's credentials. Not datagrams, not MSG_PEEK, MSG_OOB, MSG_ERRQUEUE, MSG_TRUNC reads (flags must be 0), not a read of more than
//    the kernel's maximum, not one that asked for nothing, not with SO_RCVLOWAT in use (no edge below the mark).
//  - A number closed and made anew meanwhile: the generation, taken before the read, is part of the key, and poll_forget() moves the
//    sequence number as well.
//  - It is used only while the description is known to be blocking; a non-blocking one makes its own EAGAIN.
#pragma once
#include <poll.h>
#include "hooks/fdkeep.hpp"

namespace gmp {

inline constexpr long kAgain = 1, kHandOff = 2;
inline constexpr size_t kAtOnce = 4096; // sent as a whole or not at all, but for a TCP socket's last room: PIPE_BUF, and less than a unix socket's piece
inline constexpr size_t kMaxRw = 0x7ffff000; // the kernel moves no more in one call

// No destructor: test_cancel() and after_interrupt() may unwind through its owners.
struct FdWait {
  int fd;
  Dir dir;
  bool armed = false;   // seq was taken while registered
  bool woken = false;   // holds the baton of an edge: pass it on after success
  bool timed = false;
  bool latched = false; // it waits, and goes on waiting even when the description becomes non-blocking
  uint8_t retries = 0;   // see block()
  int16_t kept = -1;     // slot of the description that we hold although its number is gone
  uint32_t seq = 0, gen = 0, wgen, held = 0;
  FdRec* rec;
  int64_t deadline = kNoDeadline;

  FdWait(int f, Dir d, FdRec* r) : fd(f), dir(d), rec(r) {
    make_room();
    uint32_t s = r->state.load(std::memory_order_acquire);
    gen = s & FdRec::kGenMask;
    wgen = fd_wait_generation(r);
    if (s & FdRec::kPolled) arm();
  }
  bool arm() {
    if (GMP_UNLIKELY(!(rec->state.load(std::memory_order_relaxed) & FdRec::kPolled)) && !first()) return armed = false;
    if (!poll_open(fd)) return armed = false;
    uint32_t s = rec->state.load(std::memory_order_acquire);
    if (GMP_UNLIKELY(!(s & FdRec::kPolled))) s = fd_mark_polled(fd, rec);
    gen = s & FdRec::kGenMask;
    wgen = fd_wait_generation(rec);
    seq = poll_seq(fd, dir);
    return armed = true;
  }
  long again(); // kAgain, or kHandOff: it can't be watched
  bool first() const; // registers, and marks: closers go by the mark
  static uint64_t key_of(uint32_t gen, uint32_t seq) { return uint64_t(gen | 1) << 32 | seq; } // | 1: zeroed records match nothing
  uint64_t key() const { return key_of(gen, seq); }
  bool known_empty() const {
    uint32_t bits;
    return armed && rec->empty.load(std::memory_order_relaxed) == key() && fd_cfg_cached(rec, &bits) &&
           !(bits & FdRec::kNonBlock);
  }
  void note_empty() {
    if (!armed) return;
    Kind k = rec->kind();
    if (k != Kind::Tcp && k != Kind::PipeOwn) return;
    if (g_short_read_lies.load(std::memory_order_relaxed) || g_rcvlowat_used.load(std::memory_order_relaxed)) return;
    if (!poll_hup(fd)) rec->empty.store(key(), std::memory_order_relaxed);
  }
  // Before the first attempt of a call whose progress others can see: the flag is then what it was when the call began, as in the kernel. (Not known:
  // asked for after it, when there is something to wait for.)
  void latch() {
    uint32_t bits;
    const Kind k = rec->kind();
    latched = (is_socket(k) || k == Kind::Anon) && fd_cfg_cached(rec, &bits) && !(bits & FdRec::kNonBlock);
  }
  bool nonblocking() { return !latched && (fd_cfg(fd, rec) & FdRec::kNonBlock); }
  // The call is over with this result.
  long end(long r) {
    // A few bytes taken out need not make room that a writer can use: the kernel tells it when they do.
    if (r > 0 && (dir == Dir::Write || r >= 4096)) fd_nudge(rec, dir == Dir::Read ? Dir::Write : Dir::Read);
    if (GMP_UNLIKELY(woken) && r != -EAGAIN) poll_pass(fd, dir);
    if (GMP_UNLIKELY(held)) release();
    if (GMP_UNLIKELY(kept >= 0)) let_go();
    return r;
  }
  // From here to end() closers of the number leave the description to this call (fdkeep.hpp).
  void hold() {
    if (kept >= 0 || fd_holds(held)) return;
    for (int tries = 0; !(held = fd_hold(fd, rec, wgen)) && tries < 3; tries++) { // the number is another's now: that one, then
      armed = false;
      wgen = fd_wait_generation(rec);
    }
  }
  void settle(); // the number may have gone: on with what is held
  // An attempt; with part of the call done it does not go to whoever has the number meanwhile.
  template <class Try> long attempt(Try one, bool progress) {
    long r;
    if (GMP_LIKELY(!progress)) return with_sync_signal(one(fd));
    settle();
    if (fd_holds(held) && fd_in_flight(held, [&] { return with_sync_signal(one(fd)); }, &r)) return r;
    settle();
    return with_sync_signal(one(fd));
  }
  void release() {
    if (fd_holds(held)) fd_unhold();
    held = 0;
  }
  void let_go();
  void take_over();
  // After EAGAIN. progress: part of the call is done, so an interruption ends it.
  long block(bool progress);
};

// SO_ERROR: what it was, and it is none then.
int take_error(int fd);

// A receiving call: one success ends it. quick: flags are 0. want: what a full read would return.
template <class Want, class Try, class Full>
inline long recv_loop(int fd, bool quick, Want want, Try attempt, Full handoff, Dir dir = Dir::Read) {
  FdRec* rec = fd_rec(fd);
  if (GMP_UNLIKELY(!rec)) return handoff(fd);
  FdWait w(fd, dir, rec);
  for (;;) {
    long r = -EAGAIN;
    if (!(quick && w.known_empty())) r = attempt(w.fd);
    if (GMP_LIKELY(r != -EAGAIN)) {
      if (quick && r > 0 && size_t(r) < want()) w.note_empty();
      return w.end(r);
    }
    r = w.block(false);
    if (r == kAgain) continue;
    return w.end(r == kHandOff ? handoff(w.fd) : r);
  }
}

// A sending call on a byte stream: all of it, unless the description is non-blocking. attempt(fd, done) tries the rest; with done > 0 it
// must not raise SIGPIPE on a socket, for natively the call would end with what was sent and leave the signal to the next one. at_most: where only the
// kernel may read yet what tells the size, kMaxRw.
template <class Total, class Try, class Full>
inline long send_loop(int fd, bool sock, size_t at_most, Total total, Try attempt, Full handoff) {
  FdRec* rec = fd_rec(fd);
  if (GMP_UNLIKELY(!rec)) return handoff(fd, 0);
  FdWait w(fd, Dir::Write, rec);
  w.latch();
  if (at_most > kAtOnce) w.hold();
  size_t done = 0;
  for (;;) {
    long r = w.attempt([&](int fd) { return attempt(fd, done); }, done > 0);
    if (GMP_LIKELY(r >= 0)) {
      done += size_t(r);
      if (GMP_LIKELY(done >= total()) || r == 0 || w.nonblocking()) return w.end(long(done));
      w.hold();
      continue;
    }
    if (r == -EAGAIN) {
      r = w.block(done > 0);
      if (r == kAgain) {
        if (sock && GMP_UNLIKELY(poll_hup(w.fd) || w.retries) && (fd_ready(w.fd, POLLOUT) & (POLLERR | POLLHUP))) {
          // A unix socket's blocked writer takes the error that the peer left, ECONNRESET; one that begins anew is told EPIPE first.
          const long e = w.rec->kind() == Kind::Tcp ? 0 : take_error(w.fd);
          if (e) return w.end(done ? long(done) : -e);
          // Part is sent and the connection has broken: a try would eat the error that belongs to the program's next call.
          if (done) return w.end(long(done));
        }
        continue;
      }
      if (r == kHandOff) {
        w.settle();
        w.release(); // may unwind
        r = handoff(w.fd, done);
        if (r >= 0) return w.end(long(done) + r);
      }
    }
    return w.end(done ? long(done) : r);
  }
}

// A cancellation point that is only announced. Raw call to libc convention.
template <class... A> inline long cp_sys(long n, A... a) {
  test_cancel();
  return ret(io_g() ? blocking_point(n, a...) : sys(n, a...));
}
// The same for accesses to a disk.
template <class... A> inline long cp_disk(long n, A... a) {
  test_cancel();
  return ret(io_g() ? point_sys_if([] { return false; }, n, a...) : sys(n, a...));
}
// The same for calls that end with EINTR after any handler.
template <class... A> inline long cp_sys_once(long n, A... a) {
  test_cancel();
  return ret(io_g() ? blocking_point_once(n, a...) : sys(n, a...));
}
// The same for calls that are no cancellation points.
template <class... A> inline long announced(long n, A... a) {
  return ret(io_g() ? blocking_sys(n, a...) : sys(n, a...));
}

} // namespace gmp
