#include "runtime/traceback.hpp"
#include <cstring>
#include <dlfcn.h>
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include "runtime/base.hpp"

namespace gmp {
namespace {

decltype(&unw_init_local2) f_init;
decltype(&unw_step) f_step;
decltype(&unw_get_reg) f_get_reg;

#define STRING(x) #x
#define NAME(x) STRING(x)

const char* base_name(const char* path) {
  const char* b = path;
  for (; *path; path++)
    if (*path == '/') b = path + 1;
  return b;
}

bool is_code(uintptr_t a) {
  Dl_info i;
  return dladdr(reinterpret_cast<void*>(a), &i) != 0;
}

// pcs[0] is there. The stack pointer stays in [lo, hi), or it is the end.
size_t walk(unw_context_t& context, uintptr_t lo, uintptr_t hi, uintptr_t* pcs, size_t max) {
  unw_cursor_t cursor;
  if (f_init(&cursor, &context, UNW_INIT_SIGNAL_FRAME) != 0) return 1;
  size_t n = 1;
  while (n < max && f_step(&cursor) > 0) {
    unw_word_t ip = 0, sp = 0;
    f_get_reg(&cursor, UNW_REG_IP, &ip);
    f_get_reg(&cursor, UNW_REG_SP, &sp);
    if (ip == 0 || sp < lo || sp >= hi) break;
    pcs[n++] = ip - 1; // the call, not what comes after it
  }
  return n;
}

// The frame pointer, where it is not known. Most frames do not need it; for those that do: the nearest place that looks like one, a word that
// points further up, and above it an address of code.
uintptr_t likely_frame(uintptr_t sp, uintptr_t most) {
  for (uintptr_t a = (sp + 15) & ~uintptr_t(15); a + 16 <= most; a += 16) {
    auto* w = reinterpret_cast<uintptr_t*>(a);
    if (w[0] > a && w[0] < sp + (1 << 23) && is_code(w[1])) return a;
  }
  return 0;
}

} // namespace

bool traceback_load() {
  static bool tried;
  if (tried) return f_init != nullptr;
  tried = true;
  void* lib = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
  auto init = lib ? dlsym(lib, NAME(unw_init_local2)) : nullptr;
  f_step = reinterpret_cast<decltype(f_step)>(lib ? dlsym(lib, NAME(unw_step)) : nullptr);
  f_get_reg = reinterpret_cast<decltype(f_get_reg)>(lib ? dlsym(lib, NAME(unw_get_reg)) : nullptr);
  if (f_step && f_get_reg) f_init = reinterpret_cast<decltype(f_init)>(init);
  if (!f_init) say("no libunwind.so.8 here: stacks are one frame deep (apt install libunwind8)");
  return f_init != nullptr;
}

size_t traceback(uintptr_t pc, uintptr_t sp, uintptr_t stack_hi, uintptr_t* pcs, size_t max) {
  pcs[0] = pc;
  if (!f_init) return 1;
  const uintptr_t most = stack_hi > sp && stack_hi - sp < 8192 ? stack_hi : sp + (stack_hi ? 8192 : 512);
  unw_context_t context{};
  context.uc_mcontext.gregs[REG_RIP] = greg_t(pc);
  context.uc_mcontext.gregs[REG_RSP] = greg_t(sp);
  context.uc_mcontext.gregs[REG_RBP] = greg_t(likely_frame(sp, most));
  return walk(context, 0, ~0ul, pcs, max);
}

Registers saved_registers(const char* context) {
  auto at = [context](int offset) {
    uintptr_t v;
    memcpy(&v, context + offset, sizeof v);
    return v;
  };
  namespace saved = arch::context;
  return {at(saved::rip), 0, at(saved::rbx), at(saved::rbp), at(saved::r12), at(saved::r13), at(saved::r14), at(saved::r15)};
}

size_t traceback_copy(const Registers& from, char* copy, size_t n, uintptr_t stack_hi, uintptr_t* pcs, size_t max) {
  pcs[0] = from.rip;
  if (!f_init) return 1;
  const uintptr_t lo = from.rsp, moved = uintptr_t(copy) - lo, size = stack_hi > lo && stack_hi - lo < kStackRoom ? stack_hi - lo : kStackRoom;
  auto here = [&](uintptr_t v) { return v - lo < size ? v + moved : v; };
  auto* word = reinterpret_cast<uintptr_t*>(copy);
  for (size_t i = 0; i < n / sizeof *word; i++) word[i] = here(word[i]);
  unw_context_t context{};
  auto& r = context.uc_mcontext.gregs;
  r[REG_RIP] = greg_t(from.rip), r[REG_RSP] = greg_t(copy);
  r[REG_RBP] = greg_t(from.rbp ? here(from.rbp) : likely_frame(uintptr_t(copy), uintptr_t(copy) + (n < 8192 ? n : 8192)));
  r[REG_RBX] = greg_t(here(from.rbx)), r[REG_R12] = greg_t(here(from.r12)), r[REG_R13] = greg_t(here(from.r13));
  r[REG_R14] = greg_t(here(from.r14)), r[REG_R15] = greg_t(here(from.r15));
  return walk(context, uintptr_t(copy), uintptr_t(copy) + n, pcs, max);
}

const char* symbolize(uintptr_t pc, char* b, size_t size) {
  Dl_info i{};
  if (!dladdr(reinterpret_cast<void*>(pc), &i) || !i.dli_fname) format(b, size, "0x%lx", static_cast<unsigned long>(pc));
  else if (i.dli_sname)
    format(b, size, "%s+0x%lx (%s+0x%lx)", i.dli_sname, static_cast<unsigned long>(pc - uintptr_t(i.dli_saddr)), base_name(i.dli_fname),
           static_cast<unsigned long>(pc - uintptr_t(i.dli_fbase)));
  else
    format(b, size, "%s+0x%lx", base_name(i.dli_fname), static_cast<unsigned long>(pc - uintptr_t(i.dli_fbase)));
  return b;
}

} // namespace gmp
