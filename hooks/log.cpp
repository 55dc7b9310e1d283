// The system's log: when the daemon does not keep up, its socket's queue is full and the writer waits. Announced. Variadic
// names go by libc's function for a list of arguments.
#include <cstdarg>
#include <sys/klog.h>
#include <syslog.h>
#include "hooks/announce.hpp"

using namespace gmp;

extern "C" {
void __syslog_chk(int, int, const char*, ...);
void __vsyslog_chk(int, int, const char*, va_list);
}

GMP_ANNOUNCED(void, vsyslog, (int priority, const char* format, va_list args), (priority, format, args))
GMP_ANNOUNCED(void, __vsyslog_chk, (int priority, int flag, const char* format, va_list args), (priority, flag, format, args))

GMP_HOOK void syslog(int priority, const char* format, ...) {
  va_list args;
  va_start(args, format);
  vsyslog(priority, format, args);
  va_end(args);
}
GMP_HOOK void __syslog_chk(int priority, int flag, const char* format, ...) {
  va_list args;
  va_start(args, format);
  __vsyslog_chk(priority, flag, format, args);
  va_end(args);
}

GMP_ANNOUNCED(int, klogctl, (int type, char* b, int n), (type, b, n), noexcept)
