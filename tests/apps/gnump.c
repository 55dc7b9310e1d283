/* A program linked with GNU MP, whose library has our name: libgmp.so.10. Threads compute factorials by product trees,
 * share a running sum under a mutex, meet at a barrier, and check their results against GNU MP's own; the sums go to
 * standard output. */
#include <gmp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 24, EACH = 6 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static mpz_t sum;
static unsigned long digits[THREADS];

static void product(mpz_t out, unsigned long from, unsigned long to) {
  if (to - from < 8) {
    mpz_set_ui(out, from);
    for (unsigned long i = from + 1; i <= to; i++) mpz_mul_ui(out, out, i);
    return;
  }
  mpz_t right;
  mpz_init(right);
  const unsigned long middle = (from + to) / 2;
  product(out, from, middle);
  product(right, middle + 1, to);
  mpz_mul(out, out, right);
  mpz_clear(right);
}

/* While all wait at the barrier each is alive: natively a kernel thread each. */
static void tell_threads(void) {
  char line[128];
  FILE* f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, "Threads:", 8)) fprintf(stderr, "held %d connections, %d threads\n", THREADS, atoi(line + 8));
  if (f) fclose(f);
}

static void* work(void* arg) {
  const unsigned long index = (unsigned long)arg;
  mpz_t mine, theirs;
  mpz_inits(mine, theirs, NULL);
  for (unsigned long i = 0; i < EACH; i++) {
    const unsigned long n = 2000 + index * 97 + i * 1500;
    product(mine, 1, n);
    mpz_fac_ui(theirs, n);
    if (mpz_cmp(mine, theirs)) {
      fprintf(stderr, "thread %lu: %lu! is wrong\n", index, n);
      exit(1);
    }
    digits[index] += mpz_sizeinbase(mine, 10);
    pthread_mutex_lock(&lock);
    mpz_add(sum, sum, mine);
    pthread_mutex_unlock(&lock);
  }
  mpz_clears(mine, theirs, NULL);
  pthread_barrier_wait(&barrier);
  if (index == 0) tell_threads();
  pthread_barrier_wait(&barrier);
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  mpz_init(sum);
  if (pthread_barrier_init(&barrier, NULL, THREADS)) return 1;
  for (unsigned long i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, (void*)i)) return 1;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS; i++) printf("%d %lu\n", i, digits[i]);
  gmp_printf("GNU MP %s sum mod 2^127-1 with %zu digits: ", gmp_version, mpz_sizeinbase(sum, 10));
  mpz_t m;
  mpz_init(m);
  mpz_ui_pow_ui(m, 2, 127);
  mpz_sub_ui(m, m, 1);
  mpz_mod(m, sum, m);
  gmp_printf("%Zd\n", m);
  mpz_clears(m, sum, NULL);
  return 0;
}
