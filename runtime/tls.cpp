// A G's TLS block and TCB (DESIGN 3): copied from a template thread, so that nothing here knows the layout of struct pthread.
//
// What is learnt at start, from one real pthread made with odd sizes:
//   - size of struct pthread, place of tid and of the list node: libthread_db's descriptors (exported for debuggers, kept stable);
//   - words that point into the struct itself: rebased;
//   - words that hold the stack's block, size and guard: recognised by value, replaced;
//   - other words into the template's stack: zeroed;
//   - static TLS words in which a running thread differs from what _dl_allocate_tls gives (ctype tables, resolver pointer): overlaid.
// The learnt image is kept, not the live template: that thread goes on to start Ms and would acquire a malloc cache of its own.
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <linux/futex.h>
#include <linux/rseq.h>
#include <link.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {
namespace {

struct ListNode { ListNode *next, *prev; };

struct Layout {
  size_t psize, tid_off, list_off, tls_size, tls_align;
  size_t tls_below;              // static TLS below the TCB
  char* rtld_global;
  size_t user_off, used_off;
  void* (*allocate_tls)(void*);
  void (*lock_wait)(void*);
  void (*lock_wake)(void*);
  ptrdiff_t rseq_off;
  unsigned rseq_size;
  // learnt:
  char* image;                   // struct pthread, words zeroed and ready for rebase
  uint16_t* self_words;          // offsets of words to rebase (value kept relative to the struct)
  unsigned n_self;
  size_t block_word, size_word, guard_word; // 0: not found (not needed then)
  struct Overlay { uint32_t below; bool rebase; uintptr_t value; }* overlay; // word at tcb - below
  unsigned n_overlay;
} L;

constexpr size_t kTplStack = 0x13000 + 0x5000, kTplGuard = 0x5000; // sizes nobody else has
pthread_t tpl_thread;
std::atomic<uint32_t> tpl_ready;

template <class T> bool find(const char* name, T* out) {
  void* p = dlsym(RTLD_DEFAULT, name);
  if (!p) return false;
  *out = reinterpret_cast<T>(p);
  return true;
}

const char* g_missing;
uint32_t* descriptor(const char* name) {
  uint32_t* d = nullptr;
  if (!find(name, &d)) g_missing = name;
  return d;
}

// ld.so's lock over its stack lists lies behind the lists: used, user, cache (16 bytes each), two words, lock. When it is contended we ask
// libc's own functions, for where its waiters wait may have been changed (preload/detour.cpp).
void lock_wait(void* w) {
  auto* word = static_cast<std::atomic<uint32_t>*>(w);
  while (word->exchange(2, std::memory_order_acquire) != 0) futex_wait(word, 2);
}
void lock_wake(void* w) { futex_wake(static_cast<std::atomic<uint32_t>*>(w), 1); }
std::atomic<uint32_t>* stack_lock() { return reinterpret_cast<std::atomic<uint32_t>*>(L.rtld_global + L.user_off + 16 + 16 + 8 + 8); }
void lock_stacks() {
  uint32_t z = 0;
  if (!stack_lock()->compare_exchange_strong(z, 1, std::memory_order_acquire)) L.lock_wait(stack_lock());
}
void unlock_stacks() {
  if (stack_lock()->exchange(0, std::memory_order_seq_cst) == 2) L.lock_wake(stack_lock());
}
ListNode* user_list() { return reinterpret_cast<ListNode*>(L.rtld_global + L.user_off); }
ListNode* used_list() { return reinterpret_cast<ListNode*>(L.rtld_global + L.used_off); }

uintptr_t& word(void* base, ptrdiff_t off) { return *reinterpret_cast<uintptr_t*>(static_cast<char*>(base) + off); }

bool in_list(ListNode* head, const void* tcb) {
  int n = 0;
  for (ListNode* i = head->next; i != head && n++ < 100000; i = i->next)
    if (reinterpret_cast<char*>(i) == static_cast<const char*>(tcb) + L.list_off) return true;
  return false;
}

void* template_main(void*) {
  t_g = nullptr;
  tpl_ready.store(1, std::memory_order_release);
  futex_wake(&tpl_ready, 1);
  // Nothing here may call libc until the image has been taken.
  template_loop();
}

bool learn(char* tpl, char* block, size_t block_size, size_t guard) {
  L.image = static_cast<char*>(map_pages(align_up(L.psize, kPage)));
  L.self_words = static_cast<uint16_t*>(map_pages(align_up(L.psize, kPage)));
  if (!L.image || !L.self_words) return false;
  memcpy(L.image, tpl, L.psize);
  uintptr_t t = uintptr_t(tpl), b = uintptr_t(block);
  for (size_t o = 0; o + 8 <= L.psize; o += 8) {
    uintptr_t v = word(tpl, o);
    if (v >= t && v < t + L.psize) {
      L.self_words[L.n_self++] = uint16_t(o);
      word(L.image, o) = v - t;
    } else if (o <= L.tid_off) {
      continue; // header: canary, pointer guard, flags: the same for all threads
    } else if (v == b) {
      L.block_word = o;
    } else if (v == block_size) {
      L.size_word = o;
    } else if (v == guard) {
      L.guard_word = o;
    } else if (v > b && v < t) {
      word(L.image, o) = 0; // into the template's own stack
    } else if (v == uintptr_t(&template_main)) {
      word(L.image, o) = 0; // start_routine
    }
  }
  word(L.image, 8) = 0; // dtv: _dl_allocate_tls makes one
  // Nobody's id until a G has one: libc's setxid would signal the template thread for a shell in its list, and wait for the shell's word for ever.
  *reinterpret_cast<int*>(L.image + L.tid_off) = 0;
  return true;
}

void put_image(char* tcb, char* block, size_t block_size, size_t guard) {
  memcpy(tcb, L.image, L.psize);
  for (unsigned i = 0; i < L.n_self; i++) word(tcb, L.self_words[i]) += uintptr_t(tcb);
  if (L.block_word) word(tcb, L.block_word) = uintptr_t(block);
  if (L.size_word) word(tcb, L.size_word) = block_size;
  if (L.guard_word) word(tcb, L.guard_word) = guard;
  ListNode* n = reinterpret_cast<ListNode*>(tcb + L.list_off);
  n->next = n->prev = n;
}

// What the kernel writes to: it registers 32 bytes at least, of which libc may tell that only the first 20 mean anything.
size_t rseq_bytes() { return L.rseq_size < 32 ? 32 : L.rseq_size; }

// An rseq area that no kernel thread has registered: readers fall back to getcpu.
void unregister_rseq_area(char* tcb) {
  if (!L.rseq_size) return;
  char* a = tcb + L.rseq_off;
  memset(a, 0, rseq_bytes());
  reinterpret_cast<struct rseq*>(a)->cpu_id = uint32_t(-2); // RSEQ_CPU_ID_REGISTRATION_FAILED
}

char* tcb_place(char* top) {
  uintptr_t p = uintptr_t(top) - align_up(sizeof(G), 64) - align_up(L.psize, 64);
  return reinterpret_cast<char*>(p & ~uintptr_t(L.tls_align - 1));
}

// Which TLS words does a running thread have that a fresh block lacks?
bool learn_overlay(char* tpl) {
  size_t bytes = align_up(L.tls_size + sizeof(G) + 256, kPage);
  char* m = static_cast<char*>(map_pages(bytes));
  L.overlay = static_cast<Layout::Overlay*>(map_pages(align_up(L.tls_below / 8 * sizeof(Layout::Overlay), kPage)));
  if (!m || !L.overlay) return false;
  char* tcb = tcb_place(m + bytes);
  put_image(tcb, m, bytes, 0);
  if (!L.allocate_tls(tcb)) return false;
  uintptr_t t = uintptr_t(tpl);
  for (size_t o = 8; o <= L.tls_below; o += 8) {
    uintptr_t v = word(tpl, -ptrdiff_t(o)), f = word(tcb, -ptrdiff_t(o));
    if (L.rseq_size && ptrdiff_t(-o) >= L.rseq_off && ptrdiff_t(-o) < L.rseq_off + ptrdiff_t(rseq_bytes())) continue;
    bool inside = v >= t - L.tls_below && v < t + L.psize;
    uintptr_t expect = inside ? v - t + uintptr_t(tcb) : v;
    if (expect == f) continue;
    L.overlay[L.n_overlay++] = {uint32_t(o), inside, inside ? v - t : v};
  }
  // The trial block leaks: it is one page or two, and its dtv belongs to it.
  return true;
}

} // namespace

void tls_reset_start(); // tls_reset.cpp
void stack_learn();     // stack.cpp

bool tls_ready() { return tpl_ready.load(std::memory_order_acquire) == 2; }

size_t shell_overhead() { return L.tls_below + align_up(L.psize, 64) + align_up(sizeof(G), 64) + L.tls_align + 128; }

bool tls_probe(const char** why) {
  uint32_t *size = nullptr, *d;
  arch::arch_init();
  if (!find("_thread_db_sizeof_pthread", &size)) g_missing = "_thread_db_sizeof_pthread";
  else L.psize = *size;
  if ((d = descriptor("_thread_db_pthread_tid"))) L.tid_off = d[2];
  if ((d = descriptor("_thread_db_pthread_list"))) L.list_off = d[2];
  if ((d = descriptor("_thread_db_rtld_global__dl_stack_user"))) L.user_off = d[2];
  if ((d = descriptor("_thread_db_rtld_global__dl_stack_used"))) L.used_off = d[2];
  void (*info)(size_t*, size_t*) = nullptr;
  if (!find("_rtld_global", &L.rtld_global)) g_missing = "_rtld_global";
  if (!find("_dl_allocate_tls", &L.allocate_tls)) g_missing = "_dl_allocate_tls";
  if (!find("_dl_get_tls_static_info", &info)) g_missing = "_dl_get_tls_static_info";
  if (!find("__lll_lock_wait_private", &L.lock_wait) || !find("__lll_lock_wake_private", &L.lock_wake)) L.lock_wait = lock_wait, L.lock_wake = lock_wake;
  if (g_missing) {
    *why = "this libc lacks a symbol that the thread control blocks need (glibc 2.34 or later is required)";
    return false;
  }
  ptrdiff_t* ro = nullptr;
  unsigned* rs = nullptr;
  if (find("__rseq_offset", &ro) && find("__rseq_size", &rs) && *rs) L.rseq_off = *ro, L.rseq_size = *rs;
  info(&L.tls_size, &L.tls_align);
  if (L.psize < 512 || L.psize > 16384 || L.tid_off + 4 > L.psize || L.list_off + 16 > L.psize || L.tls_size < L.psize ||
      L.used_off + 16 != L.user_off) {
    *why = "this libc's thread descriptor does not look as expected";
    return false;
  }
  L.tls_below = L.tls_size - align_up(L.psize, 64);
  tls_reset_start();
  return true;
}

bool tls_init(const char** why) {
  if (!L.psize && !tls_probe(why)) return false;
  stack_learn();
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setstacksize(&a, kTplStack);
  pthread_attr_setguardsize(&a, kTplGuard);
  // Ms are started by the template thread and inherit its mask: everything blocked but libc's own signals 32 and 33.
  uint64_t block = ~((1ull << 31) | (1ull << 32)), old = 0;
  sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &block, &old, 8);
  tpl_ready.store(0);
  int e = g_real_pthread_create(&tpl_thread, &a, template_main, nullptr);
  sys(SYS_rt_sigprocmask, 2, &old, 0, 8);
  pthread_attr_destroy(&a);
  if (e) {
    *why = "no kernel thread could be made for the scheduler";
    return false;
  }
  lockedm_template(tcb_tid(tpl_thread));
  while (!tpl_ready.load(std::memory_order_acquire)) futex_wait(&tpl_ready, 0);
  char* tpl = reinterpret_cast<char*>(tpl_thread);
  if (word(tpl, 0) != uintptr_t(tpl) || word(tpl, 16) != uintptr_t(tpl) || (!in_list(used_list(), tpl) && !in_list(user_list(), tpl)) ||
      stack_lock()->load() > 1) {
    *why = "this libc's thread lists do not look as expected";
    return false;
  }
  pthread_attr_t b;
  void* lo = nullptr;
  size_t usable = 0, guard = 0;
  // Not by its name: hooks define that one.
  int (*getattr)(pthread_t, pthread_attr_t*) = reinterpret_cast<decltype(getattr)>(dlsym(RTLD_NEXT, "pthread_getattr_np"));
  if (!getattr || getattr(tpl_thread, &b) != 0) {
    *why = "the template thread's attributes can't be read";
    return false;
  }
  pthread_attr_getstack(&b, &lo, &usable);
  pthread_attr_getguardsize(&b, &guard);
  pthread_attr_destroy(&b);
  if (!learn(tpl, static_cast<char*>(lo) - guard, usable + guard, guard) || !learn_overlay(tpl)) {
    *why = "out of memory";
    return false;
  }
  tpl_ready.store(2, std::memory_order_release); // the template may use libc from here on
  futex_wake(&tpl_ready, 1);
  return true;
}

// ---------------------------------------------------------------- registry of handles
// Is there a TCB of ours in this page? Two levels over 47 bits of address: a bit for each page, tables made at need. Readers
// take no lock, and a handle that names nothing reads a zero.
namespace {
constexpr unsigned kLeafBits = 18; // 1 GB of addresses a leaf: 32 KB
std::atomic<std::atomic<uint64_t>*>* g_top;
std::atomic<uint64_t>* leaf_of(uintptr_t a, bool make) {
  if (a >> 47 || !g_top) return nullptr;
  auto& slot = g_top[a >> (12 + kLeafBits)];
  auto* l = slot.load(std::memory_order_acquire);
  if (!l && make) {
    auto* n = static_cast<std::atomic<uint64_t>*>(map_pages((1ul << kLeafBits) / 8));
    if (!n) return nullptr;
    if (slot.compare_exchange_strong(l, n, std::memory_order_acq_rel)) return n;
    sys(SYS_munmap, n, (1ul << kLeafBits) / 8);
  }
  return l;
}
} // namespace

bool register_room(uintptr_t tcb) {
  if (!g_top) g_top = static_cast<decltype(g_top)>(map_pages((1ul << (47 - 12 - kLeafBits)) * 8)); // by the first caller, alone
  return leaf_of(tcb, true);
}

void register_tcb(uintptr_t tcb, bool on) {
  auto* l = leaf_of(tcb, false);
  if (!l) return;
  uint64_t page = (tcb >> 12) & ((1ul << kLeafBits) - 1), bit = 1ul << (page % 64);
  if (on) l[page / 64].fetch_or(bit);
  else l[page / 64].fetch_and(~bit);
}

bool libc_thread(uintptr_t tcb) {
  if (!tcb || (tcb & 7) || !tls_ready()) return false;
  RtScope rt;
  lock_stacks();
  const bool found = in_list(used_list(), reinterpret_cast<void*>(tcb));
  unlock_stacks();
  return found;
}

bool registered(uintptr_t tcb) {
  auto* l = leaf_of(tcb, false);
  if (!l) return false;
  uint64_t page = (tcb >> 12) & ((1ul << kLeafBits) - 1);
  return l[page / 64].load(std::memory_order_relaxed) >> (page % 64) & 1;
}

void tls_forget() {
  Layout keep = L;
  // The learnt image stays true (same libc, same modules); only the thread it was learnt from is gone. A new template is
  // made by the next start(), which learns again: modules may have been loaded since.
  L = Layout{};
  L.psize = keep.psize, L.tid_off = keep.tid_off, L.list_off = keep.list_off, L.tls_size = keep.tls_size;
  L.tls_align = keep.tls_align, L.tls_below = keep.tls_below, L.rtld_global = keep.rtld_global;
  L.user_off = keep.user_off, L.used_off = keep.used_off, L.allocate_tls = keep.allocate_tls, L.lock_wait = keep.lock_wait, L.lock_wake = keep.lock_wake;
  L.rseq_off = keep.rseq_off, L.rseq_size = keep.rseq_size;
  g_top = nullptr; // old handles name nobody here
}

void set_tcb_tid(uintptr_t tcb, int tid) { *reinterpret_cast<int*>(tcb + L.tid_off) = tid; }
size_t tcb_tid_offset() { return L.tid_off; }
int tcb_tid(uintptr_t tcb) { return *reinterpret_cast<int*>(tcb + L.tid_off); }
void tcb_unregister_rseq(uintptr_t tcb) {
  if (!L.rseq_size) return;
  // The kernel keeps writing into the area of the thread that registered it: fatal once another thread runs on that TCB.
  // By the length that it was registered with: libc's own struct until 2.40, then what the kernel says it may use.
  if (sys(SYS_rseq, tcb + L.rseq_off, 32, 1 /*RSEQ_FLAG_UNREGISTER*/, 0x53053053) == -EINVAL)
    if (size_t align = getauxval(28 /*AT_RSEQ_ALIGN*/))
      sys(SYS_rseq, tcb + L.rseq_off, align_up(getauxval(27 /*AT_RSEQ_FEATURE_SIZE*/), align), 1, 0x53053053);
  unregister_rseq_area(reinterpret_cast<char*>(tcb));
}

// Where the record of a shell's G lies, seen from its TCB.
G* g_beside(uintptr_t tcb) { return reinterpret_cast<G*>(tcb + align_up(L.psize, 64)); }

// ---------------------------------------------------------------- shells
char* map_stack(size_t len, size_t guard); // stack.cpp

size_t shell_length(size_t stack_size, size_t guard_size) {
  const size_t beyond = size_t(1) << 47; // more than there are addresses: the sum must not wrap, the mapping will be refused
  if (GMP_UNLIKELY(stack_size >= beyond || guard_size >= beyond)) return beyond;
  return align_up(align_up(guard_size, kPage) + align_up(stack_size, kPage) + signal_slack() + shell_overhead(), kPage);
}

G* new_shell(size_t stack_size, size_t guard_size, void* stack_addr) {
  guard_size = align_up(guard_size, kPage);
  size_t len = stack_addr ? align_up(shell_overhead(), kPage) : shell_length(stack_size, guard_size);
  char* map = map_stack(len, stack_addr ? 0 : guard_size);
  if (!map) return nullptr;
  char* tcb = tcb_place(map + len);
  if (!register_room(uintptr_t(tcb))) {
    sys(SYS_munmap, map, len);
    return nullptr;
  }
  G* g = reinterpret_cast<G*>(tcb + align_up(L.psize, 64));
  g->map = map;
  g->map_len = len;
  g->tp = uintptr_t(tcb);
  g->guard_size = guard_size;
  g->user_stack = stack_addr != nullptr;
  if (!stack_addr) { // else spawn_prepare fills it in
    g->stack_lo = map + guard_size;
    g->stack_top = reinterpret_cast<char*>((uintptr_t(tcb) - L.tls_below) & ~63ul);
    g->stack_size = size_t(g->stack_top - g->stack_lo);
  }
  put_image(tcb, map, len, guard_size);
  unregister_rseq_area(tcb);
  if (!L.allocate_tls(tcb)) {
    sys(SYS_munmap, map, len);
    return nullptr;
  }
  for (unsigned i = 0; i < L.n_overlay; i++) {
    auto& o = L.overlay[i];
    word(tcb, -ptrdiff_t(o.below)) = o.rebase ? o.value + uintptr_t(tcb) : o.value;
  }
  // Into ld.so's list: a library dlopened later with initial-exec TLS initialises the copies of all threads it finds there.
  lock_stacks();
  ListNode *n = reinterpret_cast<ListNode*>(tcb + L.list_off), *h = user_list();
  n->next = h->next;
  n->prev = h;
  h->next->prev = n;
  h->next = n;
  unlock_stacks();
  *tls_in(g->tp, &t_g) = g;
  return g;
}

// libc keeps a thread's policy and its priority ceilings in places that nobody tells of.
void tcb_renew(G* g) {
  char* tcb = reinterpret_cast<char*>(g->tp);
  const uintptr_t dtv = word(tcb, 8);
  lock_stacks();
  const ListNode at = *reinterpret_cast<ListNode*>(tcb + L.list_off);
  put_image(tcb, g->map, g->map_len, g->guard_size);
  word(tcb, 8) = dtv;
  *reinterpret_cast<ListNode*>(tcb + L.list_off) = at;
  unlock_stacks();
  unregister_rseq_area(tcb);
}

void destroy_shell(G* g) {
  void (*dealloc)(void*, bool) = nullptr;
  lock_stacks();
  ListNode* n = reinterpret_cast<ListNode*>(g->tp + L.list_off);
  n->next->prev = n->prev;
  n->prev->next = n->next;
  unlock_stacks();
  if (find("_dl_deallocate_tls", &dealloc)) dealloc(reinterpret_cast<void*>(g->tp), false);
  sys(SYS_munmap, g->map, g->map_len);
}

size_t static_tls_below() { return L.tls_below; }

} // namespace gmp
