#include "hooks/start.hpp"

namespace gmp {
void hooks_start() {}
} // namespace gmp
