// The versions under which libgmp.so asks libc for its functions. Built on a newer glibc it would ask for GLIBC_2.34 and ld.so of an older
// one would refuse to start any program at all; so whatever an older libc lacks, or has in a library that may not be loaded (libpthread, libdl,
// libutil), is asked for weakly under its old version. There libgmp.so is loaded, finds that it can't serve (preload/standaside.cpp)
// and calls none of these. preload/exports checks that no newer version is needed.
#pragma once
#include <dlfcn.h>
#include <pthread.h>

#define GMP_OLD_LIBC(name, version)                                                                                   \
  extern "C" [[gnu::weak]] decltype(name) name;                                                                       \
  __asm__(".symver " #name "," #name "@GLIBC_" #version)

extern "C" {
void __pthread_register_cancel(__pthread_unwind_buf_t*);
void __pthread_unregister_cancel(__pthread_unwind_buf_t*);
__attribute__((noreturn)) void __pthread_unwind_next(__pthread_unwind_buf_t*);
}

GMP_OLD_LIBC(__pthread_register_cancel, 2.3.3);
GMP_OLD_LIBC(__pthread_unregister_cancel, 2.3.3);
GMP_OLD_LIBC(__pthread_unwind_next, 2.3.3);
GMP_OLD_LIBC(dladdr, 2.2.5);
GMP_OLD_LIBC(dladdr1, 2.3.3);
GMP_OLD_LIBC(dlopen, 2.2.5);
GMP_OLD_LIBC(dlsym, 2.2.5);
GMP_OLD_LIBC(dlvsym, 2.2.5);
GMP_OLD_LIBC(pthread_attr_getaffinity_np, 2.3.4);
GMP_OLD_LIBC(pthread_attr_getguardsize, 2.2.5);
GMP_OLD_LIBC(pthread_attr_getstack, 2.2.5);
GMP_OLD_LIBC(pthread_attr_getstacksize, 2.2.5);
GMP_OLD_LIBC(pthread_attr_setaffinity_np, 2.3.4);
GMP_OLD_LIBC(pthread_attr_setguardsize, 2.2.5);
GMP_OLD_LIBC(pthread_attr_setstack, 2.2.5);
GMP_OLD_LIBC(pthread_attr_setstacksize, 2.2.5);
GMP_OLD_LIBC(pthread_barrierattr_destroy, 2.2.5);
GMP_OLD_LIBC(pthread_barrierattr_init, 2.2.5);
GMP_OLD_LIBC(pthread_barrierattr_setpshared, 2.2.5);
GMP_OLD_LIBC(pthread_condattr_setclock, 2.3.3);
GMP_OLD_LIBC(pthread_condattr_setpshared, 2.2.5);
GMP_OLD_LIBC(pthread_getattr_default_np, 2.18);
GMP_OLD_LIBC(pthread_key_create, 2.2.5);
GMP_OLD_LIBC(pthread_key_delete, 2.2.5);
GMP_OLD_LIBC(pthread_mutexattr_destroy, 2.2.5);
GMP_OLD_LIBC(pthread_mutexattr_getpshared, 2.2.5);
GMP_OLD_LIBC(pthread_mutexattr_init, 2.2.5);
GMP_OLD_LIBC(pthread_mutexattr_settype, 2.2.5);
GMP_OLD_LIBC(pthread_setspecific, 2.2.5);
GMP_OLD_LIBC(pthread_testcancel, 2.2.5);
