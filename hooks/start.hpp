#pragma once

namespace gmp {
// Called once from libgmp.so's constructor when the process is to be served: what hooks can't constant-initialise.
void hooks_start();
} // namespace gmp
