// Linked statically: no preload reaches it, and none may disturb it.
#include <pthread.h>
#include <stdio.h>
static void* body(void* argument) { return argument; }
int main(void) {
  pthread_t t;
  void* result = NULL;
  if (pthread_create(&t, NULL, body, &result) != 0 || pthread_join(t, &result) != 0 || result != &result) return 1;
  puts("static and right");
  return 0;
}
