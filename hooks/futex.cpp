// futex(2): what std::atomic::wait, Rust's std, abseil and others call through syscall(). Where a wait goes and where its wake goes is
// decided by the operation and FUTEX_PRIVATE_FLAG alone, so they always meet: private WAIT, WAKE and REQUEUE in the lot, all else in the
// kernel. Results and errors as Linux 6 gives them.
//
// The exception is a private wait that the lot can't serve: with a bit set of its own (folly), for several words (futex_waitv), or with a PI
// requeue to come. Those wait in the kernel, handed off, and from the first one on every private wake looks there as well, after
// the lot. Nothing is missed: the waiter sets the flag before the kernel compares the word; the waker has changed the word before it
// takes the bucket's lock (a full barrier), and reads the flag after.
#include "hooks/futex.hpp"
#include <linux/futex.h>

namespace gmp {

namespace {

// A late wake is common here (unlock by exchange, then wake: the word may be freed and something else by then), so the keys must not
// meet those of other locks: futex words are aligned to 4, this is no lock's address.
const void* key_of(const uint32_t* addr) { return reinterpret_cast<const char*>(addr) + 3; }
bool aligned(const uint32_t* addr) { return (uintptr_t(addr) & 3) == 0; }
uint32_t load(const uint32_t* addr) { return __atomic_load_n(addr, __ATOMIC_SEQ_CST); }

constinit std::atomic<bool> g_kernel_too{false};

long wait_for(uint32_t* addr, uint32_t val, int64_t deadline) {
  if (uintptr_t(addr) < 65536) return -EFAULT;
  for (;;) {
    auto same = [&] { return load(addr) == val; };
    WaitOpts o;
    o.deadline = deadline;
    o.why = WaitReason::Futex;
    switch (wait_on(key_of(addr), same, {}, {}, o)) {
    case Wait::Woken: return 0;
    case Wait::Invalid: return -EAGAIN;
    case Wait::Timeout: return -ETIMEDOUT;
    case Wait::Interrupted: break;
    }
    // Only a wait without a time limit is restarted after an SA_RESTART handler.
    if (after_interrupt(deadline == kNoDeadline, false) == After::Eintr) return -EINTR;
  }
}

bool kernel_too() { return GMP_UNLIKELY(g_kernel_too.load(std::memory_order_seq_cst)); }

// The kernel's count: 0 and negative numbers wake one. Every waiter in the lot matches all bits.
long wake_n(uint32_t* addr, int n, uint32_t bits = FUTEX_BITSET_MATCH_ANY) {
  size_t want = n < 1 ? 1 : size_t(n);
  size_t woken = wake(key_of(addr), want);
  if (kernel_too() && woken < want) {
    long r = sys(SYS_futex, addr, FUTEX_WAKE_BITSET_PRIVATE, want - woken, 0, 0, bits);
    if (r > 0) woken += size_t(r);
  }
  return long(woken);
}

long move(uint32_t* from, uint32_t* to, int n_wake, int n_move, const uint32_t* expected) {
  if (n_wake < 0 || n_move < 0 || !aligned(to)) return -EINVAL;
  if (expected && load(from) != *expected) return -EAGAIN;
  if (from == to) return n_wake ? wake_n(from, n_wake) : 0;
  bool changed = false;
  size_t woken = 0, moved = 0;
  auto decide = [&](size_t&, size_t&) {
    changed = expected && load(from) != *expected;
    return !changed;
  };
  auto after = [&](size_t w, size_t m, size_t) { woken = w, moved = m; };
  requeue(key_of(from), key_of(to), size_t(n_wake), size_t(n_move), decide, after);
  if (changed) return -EAGAIN;
  long r = 0;
  if (kernel_too()) r = sys(SYS_futex, from, FUTEX_REQUEUE_PRIVATE, size_t(n_wake) - woken, size_t(n_move) - moved, to, 0);
  return long(woken + moved) + (r > 0 ? r : 0);
}

// FUTEX_WAKE_OP: an atomic operation on the second word, then one or two wakes.
long wake_op(uint32_t* a, uint32_t* b, int n_a, int n_b, uint32_t code) {
  if (!aligned(b)) return -EINVAL;
  const unsigned op = code >> 28 & 7, cmp = code >> 24 & 15;
  int arg = int(code << 8) >> 20, cmparg = int(code << 20) >> 20;
  if (code >> 28 & 8) arg = int(1u << (arg & 31));
  if (op > FUTEX_OP_XOR || cmp > FUTEX_OP_CMP_GE) return -ENOSYS;
  uint32_t old = load(b), now;
  do {
    switch (op) {
    case FUTEX_OP_SET: now = uint32_t(arg); break;
    case FUTEX_OP_ADD: now = old + uint32_t(arg); break;
    case FUTEX_OP_OR: now = old | uint32_t(arg); break;
    case FUTEX_OP_ANDN: now = old & ~uint32_t(arg); break;
    default: now = old ^ uint32_t(arg); break;
    }
  } while (!__atomic_compare_exchange_n(b, &old, now, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  long woken = wake_n(a, n_a);
  const int v = int(old);
  bool holds = false;
  switch (cmp) {
  case FUTEX_OP_CMP_EQ: holds = v == cmparg; break;
  case FUTEX_OP_CMP_NE: holds = v != cmparg; break;
  case FUTEX_OP_CMP_LT: holds = v < cmparg; break;
  case FUTEX_OP_CMP_LE: holds = v <= cmparg; break;
  case FUTEX_OP_CMP_GT: holds = v > cmparg; break;
  case FUTEX_OP_CMP_GE: holds = v >= cmparg; break;
  }
  return holds ? woken + wake_n(b, n_b) : woken;
}

} // namespace

void futex_kernel_too() {
  if (!g_kernel_too.load(std::memory_order_relaxed)) g_kernel_too.store(true, std::memory_order_seq_cst);
}

long hook_futex(uint32_t* addr, int op, uint32_t val, long val2, uint32_t* addr2, uint32_t val3) {
  const int cmd = op & FUTEX_CMD_MASK;
  const bool ours = op & FUTEX_PRIVATE_FLAG;
  if (ours && !aligned(addr)) return -EINVAL;
  const auto* timeout = reinterpret_cast<const timespec*>(val2);
  const bool realtime = op & FUTEX_CLOCK_REALTIME;
  switch (ours ? cmd : -1) {
  case FUTEX_WAIT:
  case FUTEX_WAIT_BITSET: {
    if (cmd == FUTEX_WAIT && realtime) return -ENOSYS;
    if (cmd == FUTEX_WAIT_BITSET && val3 == 0) return -EINVAL;
    if (timeout && (timeout->tv_sec < 0 || uint64_t(timeout->tv_nsec) >= 1'000'000'000)) return -EINVAL;
    if (cmd == FUTEX_WAIT_BITSET && val3 != FUTEX_BITSET_MATCH_ANY) {
      futex_kernel_too();
      break;
    }
    int64_t deadline = kNoDeadline;
    if (timeout && cmd == FUTEX_WAIT) deadline_in(timeout, &deadline);
    else if (timeout) deadline_from(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, timeout, &deadline);
    return wait_for(addr, val, deadline);
  }
  case FUTEX_WAKE: return realtime ? -ENOSYS : wake_n(addr, int(val));
  case FUTEX_WAKE_BITSET: return realtime ? -ENOSYS : !val3 ? -EINVAL : wake_n(addr, int(val), val3);
  case FUTEX_REQUEUE: return realtime ? -ENOSYS : move(addr, addr2, int(val), int(val2), nullptr);
  case FUTEX_CMP_REQUEUE: return realtime ? -ENOSYS : move(addr, addr2, int(val), int(val2), &val3);
  case FUTEX_WAKE_OP: return realtime ? -ENOSYS : wake_op(addr, addr2, int(val), int(val2), val3);
  }
  switch (cmd) {
  case FUTEX_WAIT_REQUEUE_PI: futex_kernel_too(); [[fallthrough]];
  case FUTEX_WAIT:
  case FUTEX_WAIT_BITSET:
  case FUTEX_LOCK_PI:
  case FUTEX_LOCK_PI2: return blocking_sys(SYS_futex, addr, op, val, val2, addr2, val3);
  default: return sys(SYS_futex, addr, op, val, val2, addr2, val3);
  }
}

} // namespace gmp
