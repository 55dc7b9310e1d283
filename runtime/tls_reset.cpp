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

// Below the thread pointer, where every thread has this module's block; 0: nowhere, each thread's is made when it is first used.
size_t static_offset(size_t module) {
  const Modules& m = g_modules;
  if (!m.list) return 0;
  for (const char* l = m.list; l; l = at<const char*>(l, m.next)) {
    const size_t len = at<size_t>(l, m.len);
    if (module >= len) {
      module -= len;
      continue;
    }
    const char* map = at<const char*>(l + m.slots + module * m.slot_size, m.map);
    const size_t offset = map ? at<size_t>(map, m.offset) : 0;
    return offset + 1 > 1 ? offset : 0; // -1: dynamic, by force
  }
  return 0;
}

// Modules whose TLS is kept over the reuse of a shell: libc's (malloc cache, arena, ctype tables) and our own (hooks reset it).
int reset_module(dl_phdr_info* info, size_t, void*) {
  if (!info->dlpi_tls_modid) return 0;
  const ElfW(Phdr)* tls = nullptr;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_TLS) tls = &info->dlpi_phdr[i];
  if (!tls) return 0;
  const uintptr_t tp = arch::thread_pointer();
  char* d = static_cast<char*>(info->dlpi_tls_data);
  if (!d) {
    const size_t below = static_offset(info->dlpi_tls_modid);
    if (!below) return 0;
    d = reinterpret_cast<char*>(tp - below);
  }
  char* e = d + tls->p_memsz;
  auto holds = [&](const void* p) { return p >= d && p < e; };
  if (holds(&errno) || holds(&t_g)) return 0;
  // While another thread is in dlopen, dlpi_tls_data of the new module can be anything: ld.so lists it before it counts it, and reads this
  // thread's table beyond its end. Blocks in the static area are where the layout puts them; the others are given back below.
  if (uintptr_t(d) < tp - static_tls_below() || uintptr_t(e) > tp) return 0;
  memcpy(d, reinterpret_cast<void*>(info->dlpi_addr + tls->p_vaddr), tls->p_filesz);
  memset(d + tls->p_filesz, 0, tls->p_memsz - tls->p_filesz);
  return 0;
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

void tls_reset_start() { learn_modules(); }

void tls_reset_for_reuse() {
  free_dynamic_blocks();
  dl_iterate_phdr(reset_module, nullptr);
  if (uselocale(nullptr) != LC_GLOBAL_LOCALE) uselocale(LC_GLOBAL_LOCALE);
  errno = 0;
}

} // namespace gmp
