// The rules for standing aside: whoever can't be served runs as if we were not there.
#include "preload/standaside.hpp"
#include <elf.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include "runtime/gmp.hpp"

// Weak references: ld.so has looked them up by the time we run, without dlsym's malloc for "not found".
extern "C" {
[[gnu::weak]] void __asan_init();
[[gnu::weak]] void __tsan_init();
[[gnu::weak]] void __msan_init();
[[gnu::weak]] void __hwasan_init();
[[gnu::weak]] void __lsan_init();
[[gnu::weak]] void __dfsan_init();
[[gnu::weak]] void crosscall2(); // every Go program and library with cgo exports it
}

namespace gmp {
namespace {

// A Go program schedules its own goroutines on threads that it makes and signals itself. The linker leaves a note with
// owner "Go" in every one, unless told -buildid=; with cgo (else it would be static) crosscall2 is there too.
bool go_note(const char* at, size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    auto* note = reinterpret_cast<const ElfW(Nhdr)*>(at);
    size_t name = align_up(note->n_namesz, 4), whole = sizeof *note + name + align_up(note->n_descsz, 4);
    if (whole > size) return false;
    const char* owner = at + sizeof *note;
    if (note->n_namesz == 4 && owner[0] == 'G' && owner[1] == 'o' && !owner[2]) return true;
    at += whole;
    size -= whole;
  }
  return false;
}

bool main_program_is_go() {
  auto* phdr = reinterpret_cast<const ElfW(Phdr)*>(getauxval(AT_PHDR));
  size_t n = getauxval(AT_PHNUM);
  if (!phdr) return false;
  uintptr_t base = 0;
  for (size_t i = 0; i < n; ++i)
    if (phdr[i].p_type == PT_PHDR) base = uintptr_t(phdr) - phdr[i].p_vaddr;
  for (size_t i = 0; i < n; ++i)
    if (phdr[i].p_type == PT_NOTE && go_note(reinterpret_cast<const char*>(base + phdr[i].p_vaddr), phdr[i].p_memsz))
      return true;
  return false;
}

bool glibc_too_old() {
  const char* v = gnu_get_libc_version(); // "2.36"
  if (v[0] != '2' || v[1] != '.') return v[0] < '2';
  int minor = 0;
  for (v += 2; *v >= '0' && *v <= '9'; ++v) minor = minor * 10 + (*v - '0');
  return minor < 34;
}

// Invalid flags: a kernel that knows the call says EINVAL and makes nothing.
bool kernel_lacks_polling() {
  return sys(SYS_epoll_create1, -1) == -ENOSYS || sys(SYS_eventfd2, 0, -1) == -ENOSYS;
}

} // namespace

const char* why_stand_aside() {
  if (__asan_init || __tsan_init || __msan_init || __hwasan_init || __lsan_init || __dfsan_init)
    return "a sanitizer's runtime, which follows threads itself, is linked in";
  // Its tools know threads as the kernel does, and take what a switch of stacks and a used-again TLS bring for the program's errors.
  if (arch::under_valgrind()) return "valgrind follows threads itself";
  if (crosscall2 || main_program_is_go()) return "this is a Go program, which has such a scheduler of its own";
  if (glibc_too_old()) return "glibc is older than 2.34";
  if (kernel_lacks_polling()) return "the kernel has no epoll or no eventfd";
  return probe();
}

} // namespace gmp
