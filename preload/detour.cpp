#include "preload/detour.hpp"
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ctime>
#include <unistd.h>
#include "hooks/fdtable.hpp"
#include "hooks/lowlock.hpp"
#include "hooks/mutex.hpp"
#include "hooks/start.hpp"
#include "runtime/gmp.hpp"

namespace gmp {
namespace {

// libc.so's name for a body, and what stands for it. Only functions through which libc calls itself, and of these only what blocks,
// ends a descriptor or makes one that will be waited for. Not dup2, fcntl, *_nocancel but close: the child of posix_spawn, which shares our memory, calls them.
struct Detour {
  const char* name;
  void* to;
};
#define TO(f) reinterpret_cast<void*>(static_cast<decltype(::f)*>(&::f))
constexpr int kMost = 40;
int list(Detour* d) {
  const Detour all[kMost] = {
    {"read", TO(read)},         {"write", TO(write)},       {"readv", TO(readv)},       {"writev", TO(writev)},
    {"poll", TO(poll)},         {"ppoll", TO(ppoll)},       {"select", TO(select)},     {"pselect", TO(pselect)},
    {"recv", TO(recv)},         {"recvfrom", TO(recvfrom)}, {"recvmsg", TO(recvmsg)},   {"recvmmsg", TO(recvmmsg)},
    {"send", TO(send)},         {"sendto", TO(sendto)},     {"sendmsg", TO(sendmsg)},   {"sendmmsg", TO(sendmmsg)},
    {"connect", TO(connect)},   {"accept", TO(accept)},     {"accept4", TO(accept4)},   {"open", TO(open)},
    {"socket", TO(socket)},     {"openat", TO(openat)},     {"close", TO(close)},       {"wait4", TO(wait4)},
    {"waitid", TO(waitid)},     {"nanosleep", TO(nanosleep)},
    {"clock_nanosleep", TO(clock_nanosleep)},
    {"sched_yield", TO(sched_yield)},
    {"__close_nocancel", reinterpret_cast<void*>(close_uncancelled)},
    {"__lll_lock_wait_private", reinterpret_cast<void*>(lowlock_wait)},
    {"__lll_lock_wake_private", reinterpret_cast<void*>(lowlock_wake)},
  };
  int n = 0;
  while (n < kMost && all[n].name) d[n] = all[n], n++;
  return n;
}

struct Patch {
  char* at;
  void* to;
  char was[arch::kJumpSize];
};
constinit Patch g_patches[kMost + 2]{}; // and the two of add_mutexes()
constinit int g_patched = 0;

// The segment of libc that is executed: whatever else a symbol leads to (another preloaded library's wrapper, an indirect function's
// resolver in ld.so) is left alone.
struct Text {
  const void* inside; // some function of libc
  char *lo, *hi;
};
int find_text(dl_phdr_info* info, size_t, void* arg) {
  auto* t = static_cast<Text*>(arg);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& h = info->dlpi_phdr[i];
    char* lo = reinterpret_cast<char*>(info->dlpi_addr + h.p_vaddr);
    if (h.p_type != PT_LOAD || !(h.p_flags & PF_X) || t->inside < lo || t->inside >= lo + h.p_memsz) continue;
    t->lo = lo;
    t->hi = lo + h.p_memsz;
    return 1;
  }
  return 0;
}

void remember(char* at, void* to) {
  Patch& p = g_patches[g_patched++];
  p.at = at;
  p.to = to;
  memcpy(p.was, at, sizeof p.was);
}

size_t size_of(void* function) {
  Dl_info info;
  ElfW(Sym)* sym = nullptr;
  if (!dladdr1(function, &info, reinterpret_cast<void**>(&sym), RTLD_DL_SYMENT) || !sym || info.dli_saddr != function) return 0;
  return sym->st_size;
}

// Both names of a body (open and open64) lead to one patch. A body shorter than the jump is left alone.
bool add(void* libc, const Text& text, const Detour& d) {
  char* entry = static_cast<char*>(dlsym(libc, d.name));
  if (!entry || entry < text.lo || entry >= text.hi) return false;
  char* at = arch::after_landing_pad(entry);
  for (int i = 0; i < g_patched; i++)
    if (g_patches[i].at == at) return true;
  if (entry + size_of(entry) < at + arch::kJumpSize) return false;
  remember(at, d.to);
  return true;
}

// ld.so's lock over dlopen, a library's constructors and thread_local registrations, setlocale's ...: mutexes that libc locks for itself.
// A G that holds one may wait for a lock of the program's (malloc's, if that is jemalloc); were all Ms blocked behind it, the
// one that shall run it could not even be made, for that takes such a lock too.
bool add_mutexes(void* libc) {
  void *wait = dlsym(libc, "__lll_lock_wait_private"), *wake = dlsym(libc, "__lll_lock_wake_private"), *lock = dlsym(libc, "pthread_mutex_lock");
  char *at_wait, *at_wake;
  if (!wait || !wake || !lock || !arch::find_lock_paths(wait, wake, lock, size_of(lock), &at_wait, &at_wake)) return false;
  remember(arch::after_landing_pad(at_wait), reinterpret_cast<void*>(lowlock_wait_for));
  remember(arch::after_landing_pad(at_wake), reinterpret_cast<void*>(lowlock_wake_for));
  return true;
}

class Writer {
  long fd_ = -1;
  char* lo_ = nullptr;
  size_t n_ = 0;

public:
  bool open(const Text& text) {
    fd_ = sys(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (fd_ >= 0) {
      // The same byte again: does this kernel let us?
      if (sys(SYS_pwrite64, fd_, text.lo, 1, text.lo) == 1) return true;
      sys(SYS_close, fd_);
      fd_ = -1;
    }
    lo_ = align_down(text.lo);
    n_ = align_up(size_t(text.hi - lo_), kPage);
    // Never without PROT_EXEC: what forbids pages that are both would forbid the way back.
    return sys(SYS_mprotect, lo_, n_, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
  }
  static char* align_down(char* p) { return reinterpret_cast<char*>(uintptr_t(p) & ~(kPage - 1)); }
  bool put(char* at, const void* bytes) {
    if (fd_ >= 0) return sys(SYS_pwrite64, fd_, bytes, arch::kJumpSize, at) == long(arch::kJumpSize);
    memcpy(at, bytes, arch::kJumpSize);
    return true;
  }
  void close(bool opened = true) {
    if (fd_ >= 0) sys(SYS_close, fd_);
    else if (opened) sys(SYS_mprotect, lo_, n_, PROT_READ | PROT_EXEC);
  }
};

bool write_all(Writer& w, bool back, int n) {
  for (int i = 0; i < n; i++) {
    char jump[arch::kJumpSize];
    arch::make_jump(jump, g_patches[i].to);
    if (!w.put(g_patches[i].at, back ? g_patches[i].was : jump)) return false;
  }
  return true;
}

bool find_libc(Text* text, void** libc) {
  *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  text->inside = *libc ? dlsym(*libc, "gnu_get_libc_version") : nullptr;
  return text->inside && dl_iterate_phdr(find_text, text) == 1;
}

} // namespace

bool detours_install(const char** why) {
  if (g_patched) return true; // in the child of a process that had them
  Text text;
  void* libc;
  *why = "libc.so.6 was not found in memory";
  if (!find_libc(&text, &libc)) return false;
  *why = "another thread runs already";
  if (!*g_single_threaded) return false;
  Detour all[kMost];
  for (int i = 0, n = list(all); i < n; i++)
    if (!add(libc, text, all[i]) && g_config.verbose) say("no detour for %s", all[i].name);
  if (!add_mutexes(libc) && g_config.verbose) say("no detour for the mutexes inside libc");
  Writer w;
  *why = "neither /proc/self/mem nor mprotect may change libc's code";
  const bool open = w.open(text), done = open && write_all(w, false, g_patched);
  if (open && !done) write_all(w, true, g_patched);
  if (!done) g_patched = 0;
  w.close(open);
  return done;
}

void detours_remove() {
  if (!g_patched) return;
  Text text;
  void* libc;
  Writer w;
  if (!find_libc(&text, &libc) || !w.open(text) || !write_all(w, true, g_patched)) die("libc's own code can't be put back: use GMP_DEBUG=detours=0 here");
  g_patched = 0;
  w.close();
}

} // namespace gmp
