// The second line of interposition: libc's own calls to itself. stdio, the resolver, syslog and malloc's locks block in functions
// that no symbol of ours stands before, but libc's internal callers reach the same bodies as the public names. A jump over the entry of
// each body leads them to the hook, which needs no original (it makes the system call itself).
//
// Written when the first thread is about to be made, by the only thread there is, so that nobody executes what is written. Through
// /proc/self/mem, which needs no page to be writable; where there is no /proc, by mprotect for the moment. Where neither is allowed
// everything works as without (GMP_DEBUG=detours=0): sysmon finds those who block unannounced and hands their P on.
#pragma once

namespace gmp {
// True: the jumps stand (also when they did before). False: *why says what forbids it, and nothing is changed.
bool detours_install(const char** why);
// The entries as they were. For a process that turns out to run natively: hooks call the real functions there.
void detours_remove();
} // namespace gmp
