// A G's TLS lent to the child of a vfork (hooks/vfork.cpp): t_g is null there meanwhile, and this says whose it is.
#pragma once
#include "runtime/gmp.hpp"

namespace gmp {
extern constinit thread_local G* t_lent __attribute__((tls_model("initial-exec")));
}
