// The function behind a hook: what the program would have got without us. That is dlsym(RTLD_NEXT), but until 2.33 libc keeps dlsym in libdl,
// which a program need not have loaded, and which calls pthread_once itself. There the libraries behind us are looked through by hand, for
// such a libc is not served and its programs shall run (preload/standaside.cpp).
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <cstring>
#include "hooks/hook.hpp"

extern "C" {
[[gnu::weak]] void* __libc_dlopen_mode(const char*, int); // until 2.33
}

namespace gmp {
namespace {

struct Symbols {
  const ElfW(Sym)* sym = nullptr;
  const char* text = nullptr;
  const ElfW(Half)* versions = nullptr;
  const uint32_t* hash = nullptr; // DT_GNU_HASH
  explicit Symbols(const link_map* m) {
    for (const ElfW(Dyn)* d = m->l_ld; d && d->d_tag != DT_NULL; d++) {
      // ld.so has relocated these in place, but for the kernel's own library, which it can't write.
      auto at = reinterpret_cast<const char*>(d->d_un.d_ptr < m->l_addr ? d->d_un.d_ptr + m->l_addr : d->d_un.d_ptr);
      switch (d->d_tag) {
      case DT_SYMTAB: sym = reinterpret_cast<const ElfW(Sym)*>(at); break;
      case DT_STRTAB: text = at; break;
      case DT_VERSYM: versions = reinterpret_cast<const ElfW(Half)*>(at); break;
      case DT_GNU_HASH: hash = reinterpret_cast<const uint32_t*>(at); break;
      }
    }
  }
  // The default version of the name; where there are only versions for old programs, one of them.
  const ElfW(Sym)* find(const char* name) const {
    if (!sym || !text || !hash) return nullptr;
    uint32_t h = 5381;
    for (const char* c = name; *c; c++) h = h * 33 + static_cast<unsigned char>(*c);
    const uint32_t buckets = hash[0], first = hash[1], *bucket = hash + 4 + hash[2] * (sizeof(ElfW(Addr)) / 4), *chain = bucket + buckets;
    uint32_t i = buckets ? bucket[h % buckets] : 0;
    const ElfW(Sym)* old = nullptr;
    if (i < first) return nullptr;
    for (;; i++) {
      const uint32_t of_chain = chain[i - first];
      if ((of_chain | 1) == (h | 1) && sym[i].st_shndx != SHN_UNDEF && strcmp(text + sym[i].st_name, name) == 0) {
        if (!versions || !(versions[i] & 0x8000)) return &sym[i];
        old = &sym[i];
      }
      if (of_chain & 1) return old;
    }
  }
};

void* behind_us(const char* name) {
  const link_map* m = _r_debug.r_map;
  while (m && m->l_ld != _DYNAMIC) m = m->l_next;
  for (m = m ? m->l_next : nullptr; m; m = m->l_next) {
    const ElfW(Sym)* s = Symbols(m).find(name);
    if (!s) continue;
    void* at = reinterpret_cast<void*>(m->l_addr + s->st_value);
    return ELF64_ST_TYPE(s->st_info) == STT_GNU_IFUNC ? reinterpret_cast<void* (*)()>(at)() : at;
  }
  return nullptr;
}

// dlvsym passes over who defines the name without a version (a sanitizer's library, a tracer preloaded with us), though ld.so binds the program's
// versioned reference to him: libc's version is meant where the next definition is libc's, no further. (dlsym would find him, but not the names that libc
// has for old programs only, and failing it calls malloc.)
bool same_file(const void* a, const void* b) {
  Dl_info x, y;
  return dladdr(a, &x) && dladdr(b, &y) && x.dli_fbase == y.dli_fbase;
}

} // namespace

GMP_NOINLINE void* find_real(const char* name, const char* version) {
  void* p = nullptr;
  if (__libc_dlopen_mode) {
    p = behind_us(name);
    // Programs and libraries ask whether pthread_once and the like are there, and because of us they are.
    if (!p && __libc_dlopen_mode("libpthread.so.0", RTLD_NOW | int(0x80000000) /*__RTLD_DLOPEN*/)) p = behind_us(name);
  } else {
    if (version) p = dlvsym(RTLD_NEXT, name, version);
    if (p) {
      if (void* next = behind_us(name); next && !same_file(next, p)) p = next;
    } else {
      p = dlsym(RTLD_NEXT, name);
    }
  }
  if (!p) die("libc has no %s: unset LD_PRELOAD or use GMP_DISABLE=1", name);
  return p;
}

} // namespace gmp
