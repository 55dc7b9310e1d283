#include "hooks/start.hpp"
#include "hooks/mutex.hpp"
#include "hooks/process.hpp"
#include "hooks/signal.hpp"

namespace gmp {
void (*g_process_begins)();
void (*g_process_stays_native)();
bool g_detoured;

static constexpr char kNotAlone = 0;
const char* g_single_threaded = &kNotAlone;

void hooks_start() {
  if (void* p = dlsym(RTLD_DEFAULT, "__libc_single_threaded")) g_single_threaded = static_cast<const char*>(p);
  signal_start();
  cancel_start();
  process_start();
}
} // namespace gmp
