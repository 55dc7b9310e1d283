#pragma once

namespace gmp {
// Called once from libgmp.so's constructor when the process is to be served: what hooks can't constant-initialise.
void hooks_start();
// Set by preload: called when the first thread is about to be made, by the only thread, and when it turns out that the process can't be
// served after all. May be null.
extern void (*g_process_begins)();
extern void (*g_process_stays_native)();
// Set by preload before there is a second thread: libc's inside calls come to the hooks.
extern bool g_detoured;
// GMP_DEBUG=dumpsig: takes the signal, if the program has not; handler is called by the kernel. (signal_dump.cpp)
bool dump_signal_take(int sig, void (*handler)(int, void*, void*));
bool program_handles(int sig); // has the program a handler for it?
} // namespace gmp
