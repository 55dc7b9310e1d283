// What makes a process a GMP process. The library is linked with -z initfirst: this constructor runs before any other,
// libc's own included, so that a thread made in another library's constructor is served too. Hence the environment comes
// from the argument (libc's `environ` is not set yet). The scheduler itself starts at the first pthread_create.
#include <dlfcn.h>
#include "hooks/start.hpp"
#include "preload/detour.hpp"
#include "preload/dump.hpp"
#include "preload/settings.hpp"
#include "preload/standaside.hpp"

namespace gmp {
namespace {

void stand_aside() { g_mode.store(Mode::Native, std::memory_order_relaxed); }

void find_real_pthread_create() {
  void* p = dlvsym(RTLD_NEXT, "pthread_create", "GLIBC_2.34");
  if (!p) p = dlsym(RTLD_NEXT, "pthread_create");
  g_real_pthread_create = reinterpret_cast<decltype(g_real_pthread_create)>(p);
}

void begins() {
  const char* why;
  if (!g_config.detours) return;
  g_detoured = detours_install(&why);
  if (!g_detoured && g_config.verbose)
    say("libc's inside calls block unannounced (%s); sysmon hands their P on", why);
}

__attribute__((constructor(101))) void start_up(int, char**, char** envp) {
  Config config;
  bool children;
  const Settings settings = read_settings(envp, config, children);
  if (!children) leave_children_alone(envp);
  switch (settings) {
  case Settings::Bad: return stand_aside(); // has been said
  case Settings::Disabled: return stand_aside();
  case Settings::Good: break;
  }
  const char* why = why_stand_aside();
  if (!why) {
    find_real_pthread_create();
    if (!g_real_pthread_create) why = "libc has no pthread_create";
  }
  if (why) {
    if (config.verbose) say("standing aside: %s", why);
    return stand_aside();
  }
  g_config = config;
  g_process_begins = begins;
  g_process_stays_native = detours_remove;
  hooks_start();
  dump_start_up();
}

// Ordered behind the program's own ends: libraries end in reverse order.
__attribute__((destructor(101))) void wind_up() { at_process_end(); }

} // namespace
} // namespace gmp
