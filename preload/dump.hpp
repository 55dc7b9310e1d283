// Dumps from within: GMP_DEBUG=dumpsig=N (every G on standard error when signal N comes) and deadlock=report|abort. For processes that no
// `gmp dump` can reach; that command and gdb need nothing of this.
#pragma once

namespace gmp {
// In the constructor, after the settings are known. Does nothing unless one of the two is set.
void dump_start_up();
} // namespace gmp
