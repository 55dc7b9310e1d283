#include "preload/look.hpp"
#include <cstring>
#include <sys/syscall.h>
#include <sys/uio.h>

namespace gmp::look {

bool read_process(const Memory* m, uint64_t at, void* to, size_t n) {
  iovec here{to, n}, there{reinterpret_cast<void*>(at), n};
  return sys(SYS_process_vm_readv, m->pid, &here, 1, &there, 1, 0) == long(n);
}

namespace {

struct Want {
  const char* name;
  void* to;
  int size;
};

bool same(const char* a, const char* b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

} // namespace

const char* learn(const Memory& mem, uint64_t record, Layout* l) {
  Record r;
  if (!mem.get(record, &r) || memcmp(r.magic, kRecordMagic, sizeof r.magic) != 0) return "its record for debuggers can't be read";
  if (r.version != kRecordVersion) return "its libgmp.so is of another version than this command";
#define AT(field, entry) {entry, &l->field, int(sizeof l->field)}
  const Want wants[] = {
    AT(mode, "mode"), AT(allg, "allg"), AT(allm, "allm"), AT(nprocs, "nprocs"), AT(ng, "ng"), AT(cycles_per_ms, "cycles_per_ms"),
    AT(main, "main"), AT(tid_offset, "tid_offset"), AT(g_size, "G.size"), AT(ctx, "G.ctx"), AT(tp, "G.tp"), AT(m, "G.m"),
    AT(wait, "G.wait"), AT(steal, "G.steal"), AT(status, "G.status"), AT(reason, "G.reason"), AT(wait_addr, "G.wait_addr"),
    AT(wait_since, "G.wait_since"), AT(wait_n, "G.wait_n"), AT(goid, "G.goid"), AT(stack_lo, "G.stack_lo"), AT(stack_size, "G.stack_size"),
    AT(name, "G.name"), AT(all_next, "G.all_next"), AT(lockedm, "G.lockedm"), AT(until, "G.until"), AT(timer, "G.timer"), AT(m_size, "M.size"), AT(curg, "M.curg"),
    AT(m_p, "M.p"), AT(m_id, "M.id"), AT(m_tid, "M.tid"), AT(m_next, "M.all_next"), AT(p_id, "P.id"), AT(waiter_key, "Waiter.key"),
    AT(item_size, "PollItem.size"), AT(item_fd, "PollItem.fd"), AT(item_events, "PollItem.events"), AT(parked, "wait.parked"),
    AT(rbx, "ctx.rbx"), AT(rbp, "ctx.rbp"), AT(r12, "ctx.r12"), AT(r13, "ctx.r13"), AT(r14, "ctx.r14"), AT(r15, "ctx.r15"), AT(rip, "ctx.rip"),
    AT(ctx_size, "ctx.size")};
#undef AT
  size_t found = 0;
  for (uint32_t i = 0; i < r.n && i < 1000; i++) {
    RecordEntry e;
    if (!mem.get(uint64_t(r.entries + i), &e)) return "its record for debuggers can't be read";
    e.name[sizeof e.name - 1] = 0;
    const uint64_t value = e.at ? uint64_t(e.at) : uint64_t(e.value);
    for (const Want& w : wants)
      if (same(w.name, e.name)) {
        if (w.size == 8) *static_cast<uint64_t*>(w.to) = value;
        else *static_cast<uint32_t*>(w.to) = uint32_t(value);
        found++;
      }
  }
  if (found != sizeof wants / sizeof wants[0] || l->g_size > 4096 || l->m_size > 4096) return "its libgmp.so is of another version than this command";
  mem.get(l->cycles_per_ms, &l->per_ms);
  mem.get(l->tid_offset, &l->tid_off);
  return nullptr;
}

bool first(const Memory& mem, const Layout& l, uint64_t* at) { return mem.get(l.allg, at); }

bool alive(const Thread& t) { return t.status != GStatus::Idle && t.status != GStatus::Dead; }

static bool in_lot(WaitReason r) { return r == WaitReason::Lot || (r >= WaitReason::Mutex && r != WaitReason::Signal); }

bool read(const Memory& mem, const Layout& l, uint64_t at, Thread* t) {
  char b[4096];
  if (!mem.copy(&mem, at, b, l.g_size)) return false;
  auto word = [&](uint32_t offset, auto* to) { memcpy(to, b + offset, sizeof *to); };
  *t = Thread{};
  t->at = at;
  t->m_id = t->p_id = t->own_m = t->blocker = -1;
  word(l.all_next, &t->next), word(l.goid, &t->goid), word(l.tp, &t->tp), word(l.ctx, &t->ctx), word(l.stack_lo, &t->stack_lo);
  word(l.stack_size, &t->stack_size), word(l.status, &t->status), word(l.reason, &t->reason), word(l.wait, &t->wait);
  word(l.name, &t->name), word(l.m, &t->m), word(l.wait_n, &t->items), word(l.wait_addr, &t->what);
  t->name[15] = 0;
  uint8_t steal;
  word(l.steal, &steal);
  t->robbed = steal == stealflag::Taken;
  if (!alive(*t)) return true;
  mem.get(t->tp + uint64_t(l.tid_off), &t->tid);
  uint64_t own;
  word(l.lockedm, &own);
  if (own && mem.get(own + l.m_tid, &t->own_tid)) mem.get(own + l.m_id, &t->own_m);
  if (t->status == GStatus::Waiting) {
    t->m = 0;
    word(l.wait_since, &t->since);
    int32_t place;
    word(l.timer, &place);
    if (place >= 0) word(l.until, &t->until);
    if (in_lot(t->reason) && !mem.get(t->what + l.waiter_key, &t->what)) t->what = 0;
    return true;
  }
  if (t->status == GStatus::Runnable || !t->m) return true;
  char mb[4096];
  if (!mem.copy(&mem, t->m, mb, l.m_size)) return true;
  uint64_t p;
  memcpy(&t->m_id, mb + l.m_id, 4);
  memcpy(&t->kernel_tid, mb + l.m_tid, 4);
  memcpy(&p, mb + l.m_p, 8);
  if (p) mem.get(p + l.p_id, &t->p_id);
  return true;
}

// New Gs are put before the first, so one pass sees all that were there when it began, unless a record that leads on is unmapped meanwhile.
int read_all(const Memory& mem, const Layout& l, Thread* to, int room) {
  uint64_t at, mark = 0, steps = 0, again = 64;
  int n = 0;
  if (!first(mem, l, &at)) return -1;
  while (at) {
    Thread t;
    if (at == mark || !read(mem, l, at, &t)) return -1;
    if (++steps == again) mark = at, again *= 2; // stale links may lead in a circle (Brent)
    if (alive(t)) {
      if (n < room) to[n] = t;
      n++;
    }
    at = t.next;
  }
  return n;
}

bool still_so(const Memory& mem, const Layout& l, const Thread& t) {
  Thread now;
  return read(mem, l, t.at, &now) && now.goid == t.goid && now.status == t.status && now.wait == t.wait && now.ctx == t.ctx && now.since == t.since &&
         now.what == t.what;
}

size_t describe_name(const Thread& t, char* b, size_t size) {
  char name[16];
  for (int i = 0; i < 16; i++) name[i] = t.name[i] && (t.name[i] < ' ' || t.name[i] == '"') ? '?' : t.name[i];
  return format(b, size, "G%lu \"%s\"", t.goid, name);
}

size_t describe_own(const Thread& t, char* b, size_t size) {
  *b = 0;
  return t.own_m < 0 ? 0 : format(b, size, " [runs on M%d (tid %d) only]", t.own_m, t.own_tid);
}

size_t describe_time(int64_t ns, char* b, size_t size) {
  if (ns < 0) ns = 0;
  if (ns < 1000000) return format(b, size, "%ld us", long(ns / 1000));
  if (ns < 1000000000) return format(b, size, "%ld ms", long(ns / 1000000));
  const long s = long(ns / 1000000000);
  if (s < 60) return format(b, size, "%ld.%ld s", s, long(ns / 100000000 % 10));
  if (s < 3600) return format(b, size, "%ld min %ld s", s / 60, s % 60);
  return format(b, size, "%ld h %ld min", s / 3600, s / 60 % 60);
}

} // namespace gmp::look
