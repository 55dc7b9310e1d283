// C11's mutexes and condition variables are the POSIX ones under other names and result codes.
#include <pthread.h>
#include <threads.h>
#include "hooks/mutex.hpp"

namespace gmp {
static int code(int e) {
  return e == 0 ? thrd_success : e == EBUSY ? thrd_busy : e == ETIMEDOUT ? thrd_timedout : e == ENOMEM ? thrd_nomem : thrd_error;
}
static pthread_mutex_t* px(mtx_t* m) { return reinterpret_cast<pthread_mutex_t*>(m); }
static pthread_cond_t* px(cnd_t* c) { return reinterpret_cast<pthread_cond_t*>(c); }
} // namespace gmp

using namespace gmp;

GMP_HOOK int mtx_init(mtx_t* m, int type) {
  if (type & ~(mtx_timed | mtx_recursive)) return thrd_error;
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_settype(&a, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
  int r = pthread_mutex_init(px(m), &a);
  pthread_mutexattr_destroy(&a);
  return code(r);
}
GMP_HOOK int mtx_lock(mtx_t* m) { return code(pthread_mutex_lock(px(m))); }
GMP_HOOK int mtx_trylock(mtx_t* m) { return code(pthread_mutex_trylock(px(m))); }
GMP_HOOK int mtx_timedlock(mtx_t* m, const timespec* t) { return code(pthread_mutex_timedlock(px(m), t)); }
GMP_HOOK int mtx_unlock(mtx_t* m) { return code(pthread_mutex_unlock(px(m))); }
GMP_HOOK void mtx_destroy(mtx_t* m) { pthread_mutex_destroy(px(m)); }
GMP_HOOK int cnd_init(cnd_t* c) { return code(pthread_cond_init(px(c), nullptr)); }
GMP_HOOK int cnd_signal(cnd_t* c) { return code(pthread_cond_signal(px(c))); }
GMP_HOOK int cnd_broadcast(cnd_t* c) { return code(pthread_cond_broadcast(px(c))); }
GMP_HOOK int cnd_wait(cnd_t* c, mtx_t* m) { return code(pthread_cond_wait(px(c), px(m))); }
GMP_HOOK int cnd_timedwait(cnd_t* c, mtx_t* m, const timespec* t) { return code(pthread_cond_timedwait(px(c), px(m), t)); }
GMP_HOOK void cnd_destroy(cnd_t* c) { pthread_cond_destroy(px(c)); }
