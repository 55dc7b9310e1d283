// Thread-locals of every kind, in a shared library: what a recycled thread must find fresh.
#include <atomic>

std::atomic<long> tls_made{0}, tls_gone{0};
struct Counted {
  int value = 7;
  Counted() { tls_made++; }
  ~Counted() { tls_gone++; }
};
static thread_local Counted counted;
static __thread int initialised = 41;
static __thread char zeros[3000];

int& tls_initialised() { return initialised; }
char* tls_zeros() { return zeros; }
int& tls_counted() { return counted.value; }
