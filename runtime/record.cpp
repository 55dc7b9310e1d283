#include "runtime/record.hpp"
#include "runtime/sched.hpp"

namespace gmp {
namespace {

constinit int64_t g_tid_offset = 0; // of the thread id in a TCB; 0: no thread has been made yet

#define VARIABLE(name, variable) {name, &(variable), 0}
#define NUMBER(name, number) {name, nullptr, int64_t(number)}
#define FIELD(type, field) {#type "." #field, nullptr, int64_t(offsetof(type, field))}
#define STATUS(name, s) {"status:" name, nullptr, int64_t(GStatus::s)}
#define REASON(name, r) {"wait:" name, nullptr, int64_t(WaitReason::r)}

constinit const RecordEntry g_entries[] = {
  VARIABLE("mode", g_mode), VARIABLE("allg", sched.allg), VARIABLE("allm", sched.allm), VARIABLE("nprocs", sched.nprocs),
  VARIABLE("ng", sched.ng), VARIABLE("npidle", sched.npidle), VARIABLE("cycles_per_ms", sched.cycles_per_ms),
  VARIABLE("main", g_main), VARIABLE("tid_offset", g_tid_offset),
  NUMBER("G.size", sizeof(G)), FIELD(G, ctx), FIELD(G, tp), FIELD(G, m), FIELD(G, wait), FIELD(G, steal), FIELD(G, insys), FIELD(G, status),
  FIELD(G, reason), FIELD(G, wait_addr), FIELD(G, wait_since), FIELD(G, wait_n), FIELD(G, goid), FIELD(G, stack_lo), FIELD(G, stack_size),
  FIELD(G, name), FIELD(G, all_next), FIELD(G, lockedm), NUMBER("G.until", offsetof(G, timer) + offsetof(Timer, when)),
  NUMBER("G.timer", offsetof(G, timer) + offsetof(Timer, index)),
  NUMBER("M.size", sizeof(M)), FIELD(M, curg), FIELD(M, p), FIELD(M, id), FIELD(M, tid), FIELD(M, all_next), FIELD(P, id),
  NUMBER("Waiter.key", kWaiterKey), NUMBER("PollItem.size", sizeof(PollItem)), FIELD(PollItem, fd), FIELD(PollItem, events),
  NUMBER("wait.parked", waitword::Parked),
  // A saved context: where it has the registers that a call keeps, and how far above it the stack goes on.
  NUMBER("ctx.rbx", arch::context::rbx), NUMBER("ctx.rbp", arch::context::rbp), NUMBER("ctx.r12", arch::context::r12),
  NUMBER("ctx.r13", arch::context::r13), NUMBER("ctx.r14", arch::context::r14), NUMBER("ctx.r15", arch::context::r15),
  NUMBER("ctx.rip", arch::context::rip), NUMBER("ctx.size", arch::context::size),
  STATUS("idle", Idle), STATUS("runnable", Runnable), STATUS("running", Running), STATUS("in a call", Syscall), STATUS("waiting", Waiting),
  STATUS("dead", Dead),
  REASON("none", None), REASON("lock", Lot), REASON("sleep", Sleep), REASON("read", PollRead), REASON("write", PollWrite),
  REASON("poll", PollMany), REASON("mutex", Mutex), REASON("cond", Cond), REASON("read lock", ReadLock), REASON("write lock", WriteLock),
  REASON("semaphore", Semaphore), REASON("join", Join), REASON("barrier", Barrier), REASON("once", Once), REASON("futex", Futex),
  REASON("libc lock", LibcLock), REASON("kernel thread", Room), REASON("signal", Signal),
};

} // namespace

extern "C" {
extern const Record gmp_debug_record __attribute__((visibility("hidden")));
constinit const Record gmp_debug_record = {{'g', 'm', 'p', ' ', 'd', 'b', 'g', 0}, kRecordVersion, sizeof g_entries / sizeof g_entries[0],
                                           g_entries};
}
const Record* debug_record() { return &gmp_debug_record; }

asm(R"(
  .pushsection .note.gmp, "a", @note
  .p2align 2
  .long 4, 8, 1
  .asciz "gmp"
1: .quad gmp_debug_record - 1b
  .popsection
)");
static_assert(kRecordNote == 1);

void record_started() { g_tid_offset = int64_t(tcb_tid_offset()); }

} // namespace gmp
