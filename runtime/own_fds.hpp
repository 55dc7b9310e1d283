// A table of descriptors of sysmon's own (own_fds.cpp).
#pragma once
#include <cstddef>

namespace gmp {

// The calling thread leaves the process's table and keeps the two of netpoll. False: it can't; then it must open nothing.
bool own_fds_begin();
// What a small file says, into b, ended by 0; its length, or -1. The number it uses for a moment is the table's lowest free one.
long read_file(const char* path, char* b, size_t size);

} // namespace gmp
