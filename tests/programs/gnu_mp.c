// A program of the other libgmp, GNU MP: big factorials by several threads, checked against each other and against
// what is known of them.
#include "check.h"
#include <gmp.h>

static void* factorial(void* argument) {
  mpz_t* value = argument;
  mpz_init_set_ui(*value, 1);
  for (unsigned long i = 2; i <= 1000; i++) {
    mpz_mul_ui(*value, *value, i);
    if (i % 100 == 0) sched_yield();
  }
  return NULL;
}

CASE(factorials_by_threads) {
  mpz_t value[8], direct;
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(factorial, &value[i]);
  for (int i = 0; i < 8; i++) finish(t[i]);
  mpz_init(direct);
  mpz_fac_ui(direct, 1000);
  char* digits = mpz_get_str(NULL, 10, direct);
  EQ(strlen(digits), 2568);
  CHECK(strncmp(digits, "402387260077093773543702433923003985719374864210714632543799910429938512398629", 78) == 0);
  for (int i = 0; i < 8; i++) {
    EQ(mpz_cmp(value[i], direct), 0);
    mpz_clear(value[i]);
  }
  free(digits);
  mpz_clear(direct);
}

CASE(power_of_two) {
  mpz_t p;
  mpz_init(p);
  mpz_ui_pow_ui(p, 2, 1000);
  EQ(mpz_sizeinbase(p, 2), 1001);
  EQ(mpz_popcount(p), 1);
  gmp_printf("2^1000 = %Zd\n", p);
  mpz_clear(p);
}

CASE(library_is_gnu_mp) { printf("GNU MP %s\n", gmp_version); }
