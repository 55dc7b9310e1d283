// A program's timespecs as the runtime's deadlines.
#include "hooks/hook.hpp"

namespace gmp {

static constexpr int64_t kSecond = 1000000000;

static bool valid(const timespec* t) { return t->tv_nsec >= 0 && t->tv_nsec < kSecond; }

// Nanoseconds; beyond 292 years: for ever.
static int64_t saturated(const timespec* t) {
  int64_t ns;
  if (__builtin_mul_overflow(int64_t(t->tv_sec), kSecond, &ns) || __builtin_add_overflow(ns, int64_t(t->tv_nsec), &ns))
    return t->tv_sec < 0 ? INT64_MIN : kNoDeadline;
  return ns;
}

bool deadline_from(clockid_t clock, const timespec* abs, int64_t* out) {
  *out = kNoDeadline;
  if (!abs) return true;
  if (!valid(abs)) return false;
  int64_t until = saturated(abs);
  if (until == kNoDeadline) return true;
  if (until < 0) until = 0; // before any clock's start: passed
  if (clock == CLOCK_MONOTONIC) {
    *out = until;
    return true;
  }
  timespec now;
  if (clock_gettime(clock, &now) != 0) return false;
  int64_t mono = nanotime(), left;
  if (__builtin_sub_overflow(until, saturated(&now), &left) || __builtin_add_overflow(mono, left, out)) *out = kNoDeadline;
  if (*out < 0) *out = 0;
  return true;
}

bool deadline_in(const timespec* rel, int64_t* out) {
  *out = kNoDeadline;
  if (!rel) return true;
  if (!valid(rel) || rel->tv_sec < 0) return false;
  if (__builtin_add_overflow(nanotime(), saturated(rel), out)) *out = kNoDeadline;
  return true;
}

} // namespace gmp
