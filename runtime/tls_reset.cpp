// A thread has ended and another will have its shell: TLS as if it were new (DESIGN 3, step 5).
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <locale.h>
#include "runtime/sched.hpp"

namespace gmp {

size_t static_tls_below(); // tls.cpp: bytes of static TLS below the TCB

namespace {

// ld.so's list of modules with TLS, by number, as libthread_db reads it. dl_iterate_phdr tells where a thread has a module's block only when the
// thread's own table knows the module, and a library that came later with initial-exec TLS is used without any table.
struct Modules {
  char* list = nullptr;
  uint32_t len, next, slots, slot_size, map, offset;
};
constinit Modules g_modules{};

bool descriptor(const char* name, uint32_t* offset) {
  auto* d = static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, name));
  if (d) *offset = d[2];
  return d;
}
bool learn_modules() {
  Modules m{};
  uint32_t head;
  auto* global = static_cast<char*>(dlsym(RTLD_DEFAULT, "_rtld_global"));
  auto* size = static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, "_thread_db_sizeof_dtv_slotinfo"));
  if (!global || !size || !descriptor("_thread_db_rtld_global__dl_tls_dtv_slotinfo_list", &head) ||
      !descriptor("_thread_db_dtv_slotinfo_list_len", &m.len) || !descriptor("_thread_db_dtv_slotinfo_list_next", &m.next) ||
      !descriptor("_thread_db_dtv_slotinfo_list_slotinfo", &m.slots) || !descriptor("_thread_db_dtv_slotinfo_map", &m.map) ||
      !descriptor("_thread_db_link_map_l_tls_offset", &m.offset))
    return false;
  m.slot_size = *size;
  m.list = *reinterpret_cast<char**>(global + head);
  g_modules = m;
  return m.list != nullptr;
}

template <class T> T at(const char* base, size_t offset) { return *reinterpret_cast<const T*>(base + offset); }

// ld.so's word on where every thread has this module's block, as bytes below the thread pointer: kDynamic says for good that each thread's is made
// when it is first used, kOpen that it is not decided yet (or not to be known).
constexpr size_t kOpen = 0, kDynamic = size_t(-1);
size_t static_offset(size_t module) {
  const Modules& m = g_modules;
  if (!m.list) return kOpen;
  for (const char* l = m.list; l; l = at<const char*>(l, m.next)) {
    const size_t len = at<size_t>(l, m.len);
    if (module >= len) {
      module -= len;
      continue;
    }
    const char* map = at<const char*>(l + m.slots + module * m.slot_size, m.map);
    return map ? at<size_t>(map, m.offset) : kOpen;
  }
  return kOpen;
}

struct Image {
  size_t below; // of the thread pointer
  const char* from;
  size_t filled, size;
  void put(uintptr_t tp) const {
    char* d = reinterpret_cast<char*>(tp - below);
    memcpy(d, from, filled);
    memset(d + filled, 0, size - filled);
  }
};

// What the last walk found, good for as long as ld.so's list of modules is what it was then (it counts the additions and removals). Read and
// written inside dl_iterate_phdr alone, that is, under ld.so's lock, which also keeps the images mapped. A list in which the place of some
// module is open is walked each time: nothing is counted when it is decided.
struct Plan {
  static constexpr size_t kMost = 16;
  bool good; // complete, and nothing in it open
  unsigned long long adds, subs;
  size_t n;
  Image images[kMost];
};
constinit Plan g_plan{};

// Modules whose TLS is kept over the reuse of a shell: libc's (malloc cache, arena, ctype tables) and our own (hooks reset it).
void reset_module(const dl_phdr_info* info, Plan* plan) {
  if (!info->dlpi_tls_modid) return;
  const ElfW(Phdr)* tls = nullptr;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_TLS) tls = &info->dlpi_phdr[i];
  if (!tls) return;
  const uintptr_t tp = arch::thread_pointer();
  const size_t below = static_offset(info->dlpi_tls_modid);
  if (below == kOpen) plan->good = false;
  char* d = static_cast<char*>(info->dlpi_tls_data);
  if (!d) {
    if (below == kOpen || below == kDynamic) return;
    d = reinterpret_cast<char*>(tp - below);
  }
  char* e = d + tls->p_memsz;
  auto holds = [&](const void* p) { return p >= d && p < e; };
  if (holds(&errno) || holds(&t_g)) return;
  // While another thread is in dlopen, dlpi_tls_data of the new module can be anything: ld.so lists it before it counts it, and reads this
  // thread's table beyond its end. Blocks in the static area are where the layout puts them; the others are given back below.
  if (uintptr_t(d) < tp - static_tls_below() || uintptr_t(e) > tp) {
    if (below != kDynamic) plan->good = false;
    return;
  }
  const Image image{tp - uintptr_t(d), reinterpret_cast<const char*>(info->dlpi_addr + tls->p_vaddr), tls->p_filesz, tls->p_memsz};
  image.put(tp);
  if (image.below != below || plan->n == Plan::kMost) plan->good = false;
  else plan->images[plan->n++] = image;
}

struct Walk {
  enum { First, Further, Publish } at = First;
  Plan found;
};
int reset_modules(dl_phdr_info* info, size_t, void* walk) {
  Walk& w = *static_cast<Walk*>(walk);
  if (w.at != Walk::Further) {
    const bool current = g_plan.good && g_plan.adds == info->dlpi_adds && g_plan.subs == info->dlpi_subs;
    if (w.at == Walk::Publish) {
      if (current || w.found.adds != info->dlpi_adds || w.found.subs != info->dlpi_subs) return 1;
      g_plan.good = false; // a fork may copy the process at any point: good is what stands last
      std::atomic_signal_fence(std::memory_order_seq_cst);
      g_plan.adds = w.found.adds, g_plan.subs = w.found.subs, g_plan.n = w.found.n;
      memcpy(g_plan.images, w.found.images, sizeof g_plan.images);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      g_plan.good = true;
      return 1;
    }
    if (current) {
      const uintptr_t tp = arch::thread_pointer();
      for (size_t i = 0; i < g_plan.n; i++) g_plan.images[i].put(tp);
      return 1;
    }
    w.at = Walk::Further;
    w.found.good = true, w.found.adds = info->dlpi_adds, w.found.subs = info->dlpi_subs, w.found.n = 0;
  }
  reset_module(info, &w.found);
  return 0;
}
// libc's, whatever the program has put before it (some remember the list, to unwind without ld.so's lock): the plan counts on the lock.
constinit decltype(&dl_iterate_phdr) g_walk = nullptr;
void reset_static_blocks() {
  Walk w;
  if (g_walk(reset_modules, &w) || !w.found.good) return;
  w.at = Walk::Publish;
  g_walk(reset_modules, &w);
}

// ld.so's table of this thread's TLS blocks, by module (the ABI's dtv): [-1] holds its length, [0] its generation.
struct Dtv {
  void* block;
  void* to_free; // null: static, or none yet
};

// Blocks that were made at first use go the way they go when a native thread ends; ld.so makes new ones at the next use.
void free_dynamic_blocks() {
  auto* dtv = *reinterpret_cast<Dtv**>(arch::thread_pointer() + 8);
  const size_t n = *reinterpret_cast<const size_t*>(&dtv[-1]);
  for (size_t i = 1; i <= n; i++)
    if (void* p = dtv[i].to_free) {
      dtv[i] = {reinterpret_cast<void*>(-1l), nullptr}; // TLS_DTV_UNALLOCATED
      free(p);
    }
}

} // namespace

void tls_reset_start() {
  learn_modules();
  auto* libcs = reinterpret_cast<decltype(&dl_iterate_phdr)>(dlsym(RTLD_NEXT, "dl_iterate_phdr"));
  g_walk = libcs ? libcs : dl_iterate_phdr;
}

void tls_reset_for_reuse() {
  free_dynamic_blocks();
  reset_static_blocks();
  if (uselocale(nullptr) != LC_GLOBAL_LOCALE) uselocale(LC_GLOBAL_LOCALE);
  errno = 0;
}

} // namespace gmp
