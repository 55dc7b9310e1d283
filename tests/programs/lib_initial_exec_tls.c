// A library with initial-exec TLS: dlopened in mid-run, ld.so must reach the static TLS of every living thread.
__attribute__((tls_model("initial-exec"))) static __thread int initialised = 77;
__attribute__((tls_model("initial-exec"))) static __thread int zeroed;
int* initial_exec_tls(void) { return &initialised; }
int* initial_exec_zero(void) { return &zeroed; }
