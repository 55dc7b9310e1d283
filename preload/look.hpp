// Reading the Gs of a process through its record (runtime/record.hpp): by the gmp command from outside, by libgmp.so of its own process.
// Nothing is stopped for it. What is read may change at any moment or be unmapped; so all memory is read by a function that may say no,
// every list has an end, and a G's record is believed when it reads the same a second time (still_so).
// No malloc, no exceptions, no iostreams: it runs inside other people's processes.
#pragma once
#include "runtime/g.hpp"
#include "runtime/record.hpp"

namespace gmp::look {

// Copies n bytes at `at`; false: not there.
struct Memory {
  bool (*copy)(const Memory*, uint64_t at, void* to, size_t n);
  int pid;
  template <class T> bool get(uint64_t at, T* to) const { return copy(this, at, to, sizeof *to); }
};
// process_vm_readv: of our own process as well, for what may be unmapped.
bool read_process(const Memory*, uint64_t at, void* to, size_t n);

// The numbers of the record that we use.
struct Layout {
  uint64_t mode = 0, allg = 0, allm = 0, nprocs = 0, ng = 0, cycles_per_ms = 0, main = 0, tid_offset = 0;
  uint32_t g_size = 0, ctx = 0, tp = 0, m = 0, wait = 0, steal = 0, status = 0, reason = 0, wait_addr = 0, wait_since = 0, wait_n = 0, goid = 0, stack_lo = 0,
           stack_size = 0, name = 0, all_next = 0, lockedm = 0, until = 0, timer = 0, m_size = 0, curg = 0, m_p = 0, m_id = 0, m_tid = 0, m_next = 0, p_id = 0,
           waiter_key = 0, item_size = 0, item_fd = 0, item_events = 0, parked = 0;
  int rbx = 0, rbp = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0, rip = 0, ctx_size = 0;
  // Read once: they don't change while Gs live.
  uint64_t per_ms = 0;
  int64_t tid_off = 0;
};
// Null, or what is wrong with the record at that address.
const char* learn(const Memory&, uint64_t record, Layout*);

struct Thread { // a G
  uint64_t at, next, goid, tp, ctx, stack_lo, stack_size, m;
  uint64_t what;   // lock, descriptor or PollItems
  uint64_t since;  // cycles(), 0: unknown
  int64_t until;   // nanotime(); 0: for ever
  uint32_t wait;
  int tid, kernel_tid, m_id, p_id; // of the M that it runs on; -1
  int own_m, own_tid;              // the M that it runs on only; -1
  uint16_t items;
  GStatus status;
  WaitReason reason;
  bool robbed;
  char name[16];
  // The wait-for graph, by place in the array: who must go on before this one can. -1: anybody, or unknown.
  int blocker;
  int holder_tid; // of the lock it waits for, 0: unknown
  bool asleep() const { return status == GStatus::Waiting; }
  bool has_context() const { return status == GStatus::Waiting || status == GStatus::Runnable; }
};

// Address of the first G's record, and one of them. False: unreadable.
bool first(const Memory&, const Layout&, uint64_t* at);
bool read(const Memory&, const Layout&, uint64_t at, Thread*);
bool alive(const Thread&);
// All that live, the newest first. Returns how many there are, which may be more than there is room for; -1: the list changed, try again.
int read_all(const Memory&, const Layout&, Thread* to, int room);
// Does it still sleep in the very wait that t tells of?
bool still_so(const Memory&, const Layout&, const Thread& t);

// Fills in blocker and holder_tid. by_tid and by_tp are room for n places each.
void link(const Memory&, Thread*, int n, int* by_tid, int* by_tp);
// Calls found(first) for every circle of Gs that wait for each other for ever; follow `blocker` from there. mark: room for n.
void circles(const Thread*, int n, int* mark, FnRef<void(int)> found);

// "mutex 0x7f.. held by G5 "name"" and the like: what a waiting G waits for. descriptor() tells what one is.
size_t describe_wait(const Memory&, const Thread*, int n, const Thread&, FnRef<void(int fd, char* to, size_t size)> descriptor, char* to, size_t size);
size_t describe_name(const Thread&, char* to, size_t size); // G5 "name"
size_t describe_own(const Thread&, char* to, size_t size);  // that it has a kernel thread of its own, if it has
// "G3 "a" holds mutex 0x.. and waits for ..." for the circle that i is in, a piece for each member.
size_t describe_link(const Memory&, const Thread*, int i, char* to, size_t size);
// 1.234 s, 12 min
size_t describe_time(int64_t ns, char* to, size_t size);

} // namespace gmp::look
