// Our read-write lock itself; rwlock_calls.cpp has the functions that programs call.
#pragma once
#include <pthread.h>
#include "hooks/hook.hpp"

namespace gmp {
int rwlock_read(pthread_rwlock_t*, int64_t deadline); // 0, EAGAIN, EDEADLK, ETIMEDOUT
int rwlock_write(pthread_rwlock_t*, int64_t deadline);
int rwlock_try_read(pthread_rwlock_t*);
int rwlock_try_write(pthread_rwlock_t*);
void rwlock_unlock(pthread_rwlock_t*);
} // namespace gmp
