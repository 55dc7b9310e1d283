// Robust mutexes within the process: a thread keeps a list of those it holds, linked through __data.__list, and its end hands them on.
// (Process-shared ones are libc's and the kernel's.) Only the holder touches its list and __owner, __count and __nusers of its
// mutexes, so none of this is atomic but what others look at.
#include "hooks/mutex.hpp"

namespace gmp {

namespace {
pthread_mutex_t* of(__pthread_internal_list* l) { return reinterpret_cast<pthread_mutex_t*>(l); }
__pthread_internal_list* link(pthread_mutex_t* m) { return reinterpret_cast<__pthread_internal_list*>(m); }
} // namespace

int robust_acquired(pthread_mutex_t* m) {
  auto& d = m->__data;
  if (d.__owner == kOwnerNotRecoverable) {
    d.__count = 0;
    mutex_release(m);
    return ENOTRECOVERABLE;
  }
  Thread* t = self();
  d.__list.__prev = nullptr; // both ends point at mutexes, not at the link fields
  d.__list.__next = link(t->robust_held);
  if (t->robust_held) t->robust_held->__data.__list.__prev = link(m);
  t->robust_held = m;
  __atomic_store_n(&d.__nusers, unsigned(mutex_self()), __ATOMIC_RELAXED);
  d.__count = 1;
  if (d.__owner == kOwnerDied) {
    d.__owner = kOwnerInconsistent;
    return EOWNERDEAD;
  }
  d.__owner = mutex_self();
  return 0;
}

void robust_unlink(pthread_mutex_t* m) {
  auto& l = m->__data.__list;
  if (l.__prev)
    of(l.__prev)->__data.__list.__next = l.__next;
  else
    self()->robust_held = of(l.__next);
  if (l.__next) of(l.__next)->__data.__list.__prev = l.__prev;
  __atomic_store_n(&m->__data.__nusers, 0u, __ATOMIC_RELAXED);
}

void robust_owner_died() {
  while (pthread_mutex_t* m = self()->robust_held) {
    robust_unlink(m);
    m->__data.__owner = kOwnerDied; // seen by the next owner, after its acquire of the word
    mutex_release(m);
  }
}

} // namespace gmp
