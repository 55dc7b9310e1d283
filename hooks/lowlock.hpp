// libc's private low-level lock, under stdio's FILE locks, malloc's arenas and libc's own tables: a word that is 0 free, 1 taken, 2 taken with
// waiters, and two functions for when it is contended. Ours take their place by a detour (preload/detour.cpp), so that a G waits for such
// a lock as it does for a mutex.
#pragma once

namespace gmp {
// The contract of __lll_lock_wait_private: returns with the lock taken, the word at 2. Any stack, any thread.
void lowlock_wait(int* word);
// The contract of __lll_lock_wake_private: called after the word went from 2 to 0; the lock may be gone by now.
void lowlock_wake(int* word);
// The same for __lll_lock_wait and __lll_lock_wake, under the mutexes that libc and ld.so have for themselves. shared: 0, or 128 for those in
// memory shared with other processes.
void lowlock_wait_for(int* word, int shared);
void lowlock_wake_for(int* word, int shared);
} // namespace gmp
