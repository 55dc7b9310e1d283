#include "hooks/start.hpp"
#include "hooks/signal.hpp"

namespace gmp {
void hooks_start() {
  signal_start();
  cancel_start();
}
} // namespace gmp
