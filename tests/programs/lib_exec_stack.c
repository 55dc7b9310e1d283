// A library that wants stacks executable, those of living threads too. (glibc 2.41 and later refuse to load it.)
int exec_stack_loaded(void) { return 1; }
