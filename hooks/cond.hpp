// Condition variables for C11's face of them.
#pragma once
#include "hooks/mutex.hpp"

namespace gmp {
int cond_wait(pthread_cond_t*, pthread_mutex_t*, const Until*); // what pthread_cond_wait and its timed forms do, after their checks
int cond_signal(pthread_cond_t*);
int cond_broadcast(pthread_cond_t*);
} // namespace gmp
