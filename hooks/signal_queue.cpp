// What is pending in user space. A fixed slab of entries, claimed and given back by their state words alone; to whom an entry belongs is
// written in it, and a set's word says of which signals there are any. Standard signals have one entry at most, real-time ones
// as many as were sent, oldest first.
//
// The word is cleared before the entries are looked through and set again if more are left, and it is set after an entry is in place: so
// an entry without its bit is one that somebody is just looking at.
#include <cstring>
#include <sys/resource.h>
#include "hooks/signal.hpp"

namespace gmp {

namespace {

struct Entry {
  enum State : uint32_t { Free, Mine, Full };
  std::atomic<uint32_t> state;
  int sig;
  uint64_t owner, order;
  Arrival what;
};
constexpr uint32_t kEntries = 4096;
constinit Entry g_entries[kEntries]{};
constinit std::atomic<uint32_t> g_high{0}; // none is in use from here on
constinit std::atomic<int> g_used{0};
constinit std::atomic<uint64_t> g_order{1};

Entry* get_entry() {
  for (uint32_t i = 0; i < kEntries; i++) {
    uint32_t free = Entry::Free;
    Entry* e = &g_entries[i];
    if (e->state.load(std::memory_order_relaxed) != Entry::Free || !e->state.compare_exchange_strong(free, Entry::Mine)) continue;
    uint32_t high = g_high.load();
    while (high <= i && !g_high.compare_exchange_weak(high, i + 1)) {}
    g_used.fetch_add(1);
    return e;
  }
  return nullptr;
}

void put_entry(Entry* e) {
  g_used.fetch_sub(1);
  e->state.store(Entry::Free, std::memory_order_release);
}

// The oldest of them becomes the caller's. *more: there are others.
Entry* claim_entry(uint64_t owner, int sig, bool* more) {
  for (;;) {
    Entry* best = nullptr;
    *more = false;
    const uint32_t high = g_high.load();
    for (uint32_t i = 0; i < high; i++) {
      Entry* e = &g_entries[i];
      if (e->state.load(std::memory_order_acquire) != Entry::Full || e->owner != owner || e->sig != sig) continue;
      if (best) *more = true;
      if (!best || e->order < best->order) best = e;
    }
    if (!best) return nullptr;
    uint32_t full = Entry::Full;
    if (!best->state.compare_exchange_strong(full, Entry::Mine)) continue;
    if (best->owner == owner && best->sig == sig) return best;
    best->state.store(Entry::Full); // given back and used again in between
  }
}

bool out_of_room() {
  rlimit most;
  return sys(SYS_prlimit64, 0, RLIMIT_SIGPENDING, 0, &most) == 0 && uint64_t(g_used.load()) >= most.rlim_cur;
}

} // namespace

constinit std::atomic<uint64_t> g_process_set{0};

PendingSet of_thread(G* g) { return {&thread_at(thread_pointer_of(g))->sig_pending, goid(g)}; }

bool any_entries() { return g_used.load(std::memory_order_relaxed) > 0; }

long add_pending(PendingSet p, int sig, const Arrival& a) {
  const bool queued = sig > 33 || p.owner == kNobody; // not yet sorted out
  if (!queued && (p.set->load() & sigbit(sig))) return 0;
  Entry* e = queued && out_of_room() ? nullptr : get_entry();
  // As the kernel: a standard signal is never lost, at worst its siginfo is.
  if (!e && sig > 33 && a.info.si_code != SI_USER) return -EAGAIN;
  const uint64_t order = g_order.fetch_add(1);
  if (e) {
    e->sig = sig;
    e->owner = p.owner;
    e->order = order;
    e->what = a;
    e->state.store(Entry::Full, std::memory_order_release);
  }
  if ((p.set->fetch_or(sigbit(sig), std::memory_order_seq_cst) & sigbit(sig)) && !queued && e) {
    uint32_t full = Entry::Full; // two senders at once: one entry is enough
    if (e->state.compare_exchange_strong(full, Entry::Mine)) e->order == order ? put_entry(e) : e->state.store(Entry::Full);
  }
  return 0;
}

bool take_pending(PendingSet p, int sig, Arrival* a) {
  if (!(p.set->fetch_and(~sigbit(sig), std::memory_order_seq_cst) & sigbit(sig))) return false;
  bool more;
  Entry* e = claim_entry(p.owner, sig, &more);
  if (more) p.set->fetch_or(sigbit(sig), std::memory_order_seq_cst);
  if (e) {
    *a = e->what;
    put_entry(e);
  } else {
    memset(a, 0, sizeof *a);
    a->info.si_signo = sig;
  }
  return true;
}

bool peek_pending(PendingSet p, int sig, uint64_t* order, Arrival* a) {
  if (!(p.set->load(std::memory_order_seq_cst) & sigbit(sig))) return false;
  const uint64_t after = *order;
  const Entry* best = nullptr;
  for (uint32_t i = 0, high = g_high.load(); i < high; i++) {
    const Entry* e = &g_entries[i];
    if (e->state.load(std::memory_order_acquire) == Entry::Full && e->owner == p.owner && e->sig == sig && e->order > after && (!best || e->order < best->order)) best = e;
  }
  if (best) {
    *a = best->what;
    *order = best->order;
    // Only its owner takes it, but ignoring the signal forgets it, for any thread.
    std::atomic_thread_fence(std::memory_order_acquire);
    return best->state.load(std::memory_order_relaxed) == Entry::Full && best->owner == p.owner && best->sig == sig;
  }
  if (after != 0) return false;
  *order = ~0ull;
  memset(a, 0, sizeof *a);
  a->info.si_signo = sig;
  return true;
}

void drop_pending(PendingSet p, uint64_t signals) {
  Arrival a;
  for (uint64_t s; (s = p.set->load() & signals);) take_pending(p, __builtin_ctzll(s) + 1, &a);
}

// The child has one thread, and nothing is pending there.
void pending_in_child() {
  for (uint32_t i = 0, n = g_high.load(); i < n; i++) g_entries[i].state.store(Entry::Free, std::memory_order_relaxed);
  g_used.store(0);
  g_high.store(0);
  g_process_set.store(0);
  self()->sig_pending.store(0);
}

} // namespace gmp
