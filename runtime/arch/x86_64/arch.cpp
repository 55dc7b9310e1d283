#include "runtime/arch/x86_64/arch.hpp"
#include <asm/prctl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

namespace gmp::arch {

bool has_fsgsbase;

void arch_init() { has_fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0; }

void set_thread_pointer_slow(uintptr_t v) { syscall6(SYS_arch_prctl, ARCH_SET_FS, long(v)); }

} // namespace gmp::arch
