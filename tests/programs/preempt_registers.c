// Nothing that a thread keeps in registers is lost when it is preempted between two instructions and goes on elsewhere: general registers, flags,
// vector registers and masks as far as the machine has them, the x87 stack, control words, and the 128 bytes below the stack pointer.
#include <stdatomic.h>
#include <stddef.h>
#include "check.h"

#if defined(__x86_64__)

struct state {
  uint64_t general[14];          // 0: rax rbx rdx rsi rdi rbp r8 ... r15
  uint64_t flags;                // 112
  uint32_t mxcsr;                // 120
  uint16_t control, unused;      // 124
  uint8_t red_zone[128];         // 128
  uint8_t x87[108];              // 256
  uint8_t pad[20];               // 364
  uint64_t masks[8];             // 384
  uint8_t vector[32][64];        // 448
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct state, x87) == 256 && offsetof(struct state, masks) == 384 && offsetof(struct state, vector) == 448, "asm below");

// burn(in, out, rounds): everything from *in into registers, a loop, everything into *out.
void burn_sse(const struct state*, struct state*, long);
void burn_avx(const struct state*, struct state*, long);
void burn_avx512(const struct state*, struct state*, long);

#define NAME_(a, b) a##b
#define STR_(...) #__VA_ARGS__
#define STR(...) STR_(__VA_ARGS__)
// clang-format off
#define EACH16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH32(X) EACH16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define EACH8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LOAD_SSE(n) "movdqu 448+64*" #n "(%rsi), %xmm" #n "\n"
#define SAVE_SSE(n) "movdqu %xmm" #n ", 448+64*" #n "(%rcx)\n"
#define LOAD_AVX(n) "vmovdqu 448+64*" #n "(%rsi), %ymm" #n "\n"
#define SAVE_AVX(n) "vmovdqu %ymm" #n ", 448+64*" #n "(%rcx)\n"
#define LOAD_512(n) "vmovdqu64 448+64*" #n "(%rsi), %zmm" #n "\n"
#define SAVE_512(n) "vmovdqu64 %zmm" #n ", 448+64*" #n "(%rcx)\n"
#define LOAD_K(n) "kmovq 384+8*" #n "(%rsi), %k" #n "\n"
#define SAVE_K(n) "kmovq %k" #n ", 384+8*" #n "(%rcx)\n"
#define RED(n) "mov 128+8*" #n "(%rsi), %rax\n mov %rax, -8-8*" #n "(%rsp)\n"
#define UNRED(n) "mov -8-8*" #n "(%rsp), %rax\n mov %rax, 128+8*" #n "(%rcx)\n"

#define BURN(name, load, save, end)                                                                       \
  ".globl " name "\n.type " name ", @function\n" name ":\n"                                               \
  "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; sub $24, %rsp\n"                     \
  "stmxcsr 8(%rsp); fnstcw 12(%rsp); mov %rsi, (%rsp); mov %rdi, %rsi; mov %rdx, %rcx\n"                  \
  EACH16(RED)                                                                                             \
  load                                                                                                    \
  "ldmxcsr 120(%rsi); fldcw 124(%rsi); fldpi; fldl2e\n"                                                   \
  "mov 0(%rsi), %rax; mov 8(%rsi), %rbx; mov 16(%rsi), %rdx; mov 32(%rsi), %rdi; mov 40(%rsi), %rbp\n"    \
  "mov 48(%rsi), %r8; mov 56(%rsi), %r9; mov 64(%rsi), %r10; mov 72(%rsi), %r11; mov 80(%rsi), %r12\n"    \
  "mov 88(%rsi), %r13; mov 96(%rsi), %r14; mov 104(%rsi), %r15\n"                                         \
  /* flags without a push, which would go into the red zone: the stack pointer steps over it */           \
  "lea -256(%rsp), %rsp; pushq 112(%rsi); popfq; lea 256(%rsp), %rsp\n"                                   \
  "mov 24(%rsi), %rsi\n"                                                                                  \
  "1: lea -1(%rcx), %rcx; jrcxz 2f; jmp 1b\n"                                                             \
  "2: mov (%rsp), %rcx\n"                                                                                 \
  "lea -256(%rsp), %rsp; pushfq; popq 112(%rcx); lea 256(%rsp), %rsp\n"                                   \
  "cld; mov %rax, 0(%rcx); mov %rbx, 8(%rcx); mov %rdx, 16(%rcx); mov %rsi, 24(%rcx); mov %rdi, 32(%rcx)\n" \
  "mov %rbp, 40(%rcx); mov %r8, 48(%rcx); mov %r9, 56(%rcx); mov %r10, 64(%rcx); mov %r11, 72(%rcx)\n"    \
  "mov %r12, 80(%rcx); mov %r13, 88(%rcx); mov %r14, 96(%rcx); mov %r15, 104(%rcx)\n"                     \
  EACH16(UNRED)                                                                                           \
  save                                                                                                    \
  "stmxcsr 120(%rcx); fnstcw 124(%rcx); fnsave 256(%rcx); fninit\n"                                       \
  "ldmxcsr 8(%rsp); fldcw 12(%rsp); add $24, %rsp\n" end                                                  \
  "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n.size " name ", . - " name "\n"
// clang-format on

__asm__(".text\n" BURN("burn_sse", EACH16(LOAD_SSE), EACH16(SAVE_SSE), "") BURN("burn_avx", EACH16(LOAD_AVX), EACH16(SAVE_AVX), "vzeroupper\n")
          BURN("burn_avx512", EACH32(LOAD_512) EACH8(LOAD_K), EACH32(SAVE_512) EACH8(SAVE_K), "vzeroupper\n"));

enum { kFlags = 0xcd5 }; // carry, parity, adjust, zero, sign, direction, overflow

static uint64_t next_random(uint64_t* x) {
  *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
  return *x;
}

static atomic_bool stop;
static atomic_long rounds[16];
static long loop_length = 300000;

static void* burner(void* n) {
  const intptr_t me = (intptr_t)n;
  uint64_t x = 88172645463325252u + (uint64_t)me * 1000003;
  static struct state ins[16], outs[16];
  struct state *in = &ins[me], *out = &outs[me];
  const int kind = __builtin_cpu_supports("avx512bw") ? 2 : __builtin_cpu_supports("avx") ? 1 : 0;
  const size_t width = kind == 2 ? 64 : kind == 1 ? 32 : 16;
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    for (size_t i = 0; i < sizeof *in / 8; i++) ((uint64_t*)in)[i] = next_random(&x);
    in->mxcsr = 0x1f80 | (uint32_t)(x & 3) << 13 | (uint32_t)(x & 4) << 13;
    in->control = (uint16_t)(0x37f & ~(x & 8 ? 0x300 : 0));
    in->flags = 0x202 | (x & kFlags);
    (kind == 2 ? burn_avx512 : kind == 1 ? burn_avx : burn_sse)(in, out, loop_length);
    for (int i = 0; i < 14; i++)
      if (in->general[i] != out->general[i]) FAIL("general register %d is %lx, expected %lx", i, (long)out->general[i], (long)in->general[i]);
    EQ(out->flags & kFlags, in->flags & kFlags);
    EQ(out->mxcsr, in->mxcsr);
    EQ(out->control, in->control);
    CHECK(memcmp(in->red_zone, out->red_zone, sizeof in->red_zone) == 0);
    for (int i = 0; i < (kind == 2 ? 32 : 16); i++)
      if (memcmp(in->vector[i], out->vector[i], width)) FAIL("vector register %d has changed", i);
    if (kind == 2) CHECK(memcmp(in->masks, out->masks, sizeof in->masks) == 0);
    long double l2e, pi;
    memcpy(&l2e, out->x87 + 28, 10), memcpy(&pi, out->x87 + 38, 10);
    CHECK(l2e > 1.4426L && l2e < 1.4427L && pi > 3.1415L && pi < 3.1416L);
    atomic_fetch_add(&rounds[me], 1);
  }
  return NULL;
}

// --size=N: until each thread has been round N times.
CASE(registers_survive) {
  enum { kThreads = 6 };
  pthread_t t[kThreads];
  const long wanted = size_or(60);
  atomic_store(&stop, false);
  for (intptr_t i = 0; i < kThreads; i++) t[i] = start(burner, (void*)i);
  for (int i = 0; i < kThreads; i++)
    while (atomic_load(&rounds[i]) < wanted) pause_ms(2);
  atomic_store(&stop, true);
  for (int i = 0; i < kThreads; i++) finish(t[i]);
}

#else
CASE(registers_survive) {}
#endif
