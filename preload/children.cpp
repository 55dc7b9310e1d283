// GMP_CHILDREN=0: the programs that this one starts run natively. Whatever way it starts them (exec, posix_spawn, system, a shell's
// scripts) they get its environment, so libgmp.so is taken out of LD_PRELOAD there, once, at the start, before anybody could have copied it.
// The program sees that in getenv("LD_PRELOAD"). Children by fork alone go on as this process does.
#include <cstring>
#include <link.h>
#include "preload/settings.hpp"

namespace gmp {
namespace {

bool separates(char c) { return c == ' ' || c == ':'; }

// As ld.so was told to load us, or, where it searched, by the name alone.
bool is_this_library(const char* item, size_t n) {
  const link_map* m = _r_debug.r_map;
  while (m && m->l_ld != _DYNAMIC) m = m->l_next;
  if (!m) return false;
  if (strlen(m->l_name) == n && memcmp(m->l_name, item, n) == 0) return true;
  const char* name = m->l_name;
  for (const char* c = name; *c; c++)
    if (*c == '/') name = c + 1;
  const size_t length = strlen(name);
  return n >= length && memcmp(item + n - length, name, length) == 0 && (n == length || item[n - length - 1] == '/');
}

} // namespace

void leave_children_alone(char** envp) {
  constexpr char kName[] = "LD_PRELOAD=";
  for (char** e = envp; e && *e; e++) {
    if (strncmp(*e, kName, sizeof kName - 1) != 0) continue;
    // In place: the list may become empty, but its entry stays, for some programs look for what lies behind the environment.
    char* to = *e + sizeof kName - 1;
    for (const char* from = to; *from;) {
      size_t n = 0;
      while (from[n] && !separates(from[n])) n++;
      const size_t with = n + (from[n] != 0);
      if (n == 0 || !is_this_library(from, n)) {
        memmove(to, from, with);
        to += with;
      }
      from += with;
    }
    *to = 0;
  }
}

} // namespace gmp
