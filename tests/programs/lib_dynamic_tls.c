// A library with dynamic TLS, dlopened and closed while threads live.
static __thread int value = 41;
static __thread char padding[3000];
int* dynamic_tls(void) {
  padding[0] = 1;
  return &value;
}
