// Gives the shells of a crowd that has gone back to the kernel.
//
// The free lists keep shells for reuse, with their stack pages dropped, but each still costs its TCB page and a page table. Once most of
// a crowd is gone (few living, many free), the template thread unmaps the surplus - it, because _dl_deallocate_tls calls
// free(), and because whoever ends a G may stand on g0. It goes through the list in the order of addresses: unmapping at random
// would cut the one mapping that neighbouring stacks form into tens of thousands (vm.max_map_count).
#include "runtime/sched.hpp"

namespace gmp {

void destroy_shell(G*);

constexpr long kMany = 4096, kKeep = 1024;

bool reap_wanted() { return sched.ngfree > kMany && sched.ng.load(std::memory_order_relaxed) < kMany; }

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

void reap() {
  G* list;
  long n;
  {
    Locked l(sched.lock);
    if (!reap_wanted()) return;
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
  while (list) {
    G* g = list;
    list = g->schedlink;
    {
      Locked l(sched.allg_lock);
      (g->all_prev ? g->all_prev->all_next : sched.allg) = g->all_next;
      if (g->all_next) g->all_next->all_prev = g->all_prev;
    }
    // sysmon reads the record of whatever G an M says it runs: not while it does.
    Locked l(sched.reap_lock);
    destroy_shell(g);
  }
}

} // namespace gmp
