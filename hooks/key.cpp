// Thread-specific data: libc's own functions and its storage in the TCB serve; only a G's end is ours, because libc runs key
// destructors in start_thread, which a G never enters. The same as libc's __nptl_deallocate_tsd, over the same tables.
#include <climits>
#include <cstdlib>
#include <cstring>
#include "hooks/thread_libc.hpp"

namespace gmp {

// One round over all values in the order of the keys. A value whose key was deleted, or deleted and made anew, since it was set has
// another sequence number: dropped without a call, as POSIX leaves it to the program.
static void one_round(KeyData** level1) {
  for (size_t i = 0; i < kLevel2s; i++) {
    KeyData* level2 = level1[i];
    if (!level2) continue;
    for (size_t k = 0; k < kKeysOfLevel2; k++) {
      void* data = level2[k].data;
      if (!data) continue;
      level2[k].data = nullptr;
      KeyStruct& key = g_libc_thread.keys[i * kKeysOfLevel2 + k];
      auto destructor = key.destructor;
      if (level2[k].seq == key.seq && destructor) destructor(data);
    }
  }
}

static bool any_value(KeyData** level1) {
  for (size_t i = 0; i < kLevel2s; i++)
    for (size_t k = 0; level1[i] && k < kKeysOfLevel2; k++)
      if (level1[i][k].data) return true;
  return false;
}

// The destructors may set values again: up to PTHREAD_DESTRUCTOR_ITERATIONS rounds. What is left then is forgotten, so that the next
// thread in this shell starts with nulls. A destructor may end the thread anew (pthread_exit): this then runs again from the start.
void run_key_destructors() {
  char* tcb = reinterpret_cast<char*>(arch::thread_pointer());
  auto* used = reinterpret_cast<volatile bool*>(tcb + g_libc_thread.specific_used);
  auto** level1 = reinterpret_cast<KeyData**>(tcb + g_libc_thread.specific);
  if (!g_libc_thread.specific_used) used = nullptr;
  if (used && !*used) return;
  int round = 0;
  bool again;
  do {
    if (used) *used = false;
    one_round(level1);
    again = used ? *used : any_value(level1);
  } while (again && ++round < PTHREAD_DESTRUCTOR_ITERATIONS);
  // The first block is part of the TCB; the others libc allocated. Its sequence numbers go too: stale ones would not matter.
  if (again && level1[0]) memset(level1[0], 0, kKeysOfLevel2 * sizeof(KeyData));
  for (size_t i = 1; i < kLevel2s; i++)
    if (level1[i]) {
      free(level1[i]);
      level1[i] = nullptr;
    }
  if (used) *used = false;
}

} // namespace gmp
