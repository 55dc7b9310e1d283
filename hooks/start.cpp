#include "hooks/start.hpp"
#include "hooks/process.hpp"
#include "hooks/signal.hpp"

namespace gmp {
void (*g_process_begins)();
void (*g_process_stays_native)();
bool g_detoured;

void hooks_start() {
  signal_start();
  cancel_start();
  process_start();
}
} // namespace gmp
