// Gives the shells of a crowd that has gone back to the kernel.
//
// The free lists keep shells for reuse, with their stack pages dropped, but each still costs its TCB page and a page table. Once most of
// a crowd has been gone for a second (few living, many free: the next crowd may be on its way), the template thread unmaps the surplus - it, because _dl_deallocate_tls calls
// free(), and because whoever ends a G may stand on g0. It goes through the list in the order of addresses: unmapping at random
// would cut the one mapping that neighbouring stacks form into tens of thousands (vm.max_map_count).
//
// Who has looked a thread up by its number may still hold its record when the thread has ended and its shell is surplus. What is taken
// from the list of all is condemned first and unmapped a second later: nobody finds it meanwhile, and who had found it is long done.
#include "runtime/sched.hpp"

namespace gmp {

void destroy_shell(G*);

constexpr long kMany = 4096, kKeep = 1024;
constexpr int64_t kGrace = 1000000000;

bool reap_wanted() { return sched.ngfree > kMany && sched.ng.load(std::memory_order_relaxed) < kMany; }

static int64_t gone_since; // 0: not. The template thread's

static G* merge(G* a, G* b) {
  G *head = nullptr, **tail = &head;
  while (a && b) {
    G*& hi = a->map > b->map ? a : b; // highest first: that is where new mappings come from
    G* g = hi;
    hi = g->schedlink;
    *tail = g;
    tail = &g->schedlink;
  }
  *tail = a ? a : b;
  return head;
}

static G* sorted(G* list, long n) {
  if (n < 2) {
    if (list) list->schedlink = nullptr;
    return list;
  }
  G* mid = list;
  for (long i = 0; i < n / 2 - 1; i++) mid = mid->schedlink;
  G* second = mid->schedlink;
  mid->schedlink = nullptr;
  return merge(sorted(list, n / 2), sorted(second, n - n / 2));
}

int64_t reap() {
  if (!sched.condemned && !reap_wanted()) return gone_since = 0, -1;
  const int64_t now = nanotime();
  if (sched.condemned && now - sched.condemned_at < kGrace) return kGrace - (now - sched.condemned_at);
  while (G* g = sched.condemned) {
    sched.condemned = g->schedlink;
    // sysmon reads the record of whatever G an M says it runs: not while it does.
    Locked l(sched.reap_lock);
    destroy_shell(g);
  }
  if (gone_since == 0) gone_since = now;
  if (now - gone_since < kGrace) return kGrace - (now - gone_since);
  gone_since = 0;
  G* list;
  long n;
  {
    Locked l(sched.lock);
    if (!reap_wanted()) return -1;
    list = sched.gfree;
    n = sched.ngfree;
    sched.gfree = nullptr;
    sched.ngfree = 0;
  }
  list = sorted(list, n);
  G* keep = list;
  G* last = nullptr;
  for (long i = 0; i < kKeep; i++) last = list, list = list->schedlink;
  last->schedlink = nullptr;
  {
    Locked l(sched.lock);
    last->schedlink = sched.gfree;
    sched.gfree = keep;
    sched.ngfree += kKeep;
  }
  {
    Locked l(sched.allg_lock);
    for (G* g = list; g; g = g->schedlink) {
      (g->all_prev ? g->all_prev->all_next : sched.allg) = g->all_next;
      if (g->all_next) g->all_next->all_prev = g->all_prev;
    }
  }
  sched.condemned = list;
  sched.condemned_at = now;
  return kGrace;
}

} // namespace gmp
