#include "preload/settings.hpp"

namespace gmp {
namespace {

constexpr uint64_t kMostProcs = 1024;
constexpr uint64_t kLeastStack = 16384; // PTHREAD_STACK_MIN
constexpr uint64_t kMostStack = 1ull << 40;
constexpr uint64_t kMostMs = 1000000;

// A piece of an environment string: not terminated.
struct Text {
  const char* at;
  size_t size;
  bool is(const char* s) const {
    size_t i = 0;
    for (; i < size && s[i]; ++i)
      if (at[i] != s[i]) return false;
    return i == size && !s[i];
  }
};

bool number(Text t, uint64_t* out) {
  if (t.size == 0 || t.size > 19) return false; // 19 digits can't overflow
  uint64_t v = 0;
  for (size_t i = 0; i < t.size; ++i) {
    if (t.at[i] < '0' || t.at[i] > '9') return false;
    v = v * 10 + uint64_t(t.at[i] - '0');
  }
  *out = v;
  return true;
}

bool number_in(Text t, uint64_t least, uint64_t most, uint64_t* out) {
  return number(t, out) && *out >= least && *out <= most;
}

// 262144, 256K, 256k, 256KB, 256KiB: all mean the power of two.
bool bytes(Text t, uint64_t* out) {
  size_t n = t.size;
  if (n > 1 && (t.at[n - 1] == 'B' || t.at[n - 1] == 'b')) {
    --n;
    if (n > 1 && t.at[n - 1] == 'i') --n;
    if (t.at[n - 1] >= '0' && t.at[n - 1] <= '9' && n + 1 != t.size) return false; // "1iB"
  }
  unsigned shift = 0;
  if (n) {
    switch (t.at[n - 1] | 0x20) {
    case 'k': shift = 10; break;
    case 'm': shift = 20; break;
    case 'g': shift = 30; break;
    }
    if (shift) --n;
  }
  uint64_t v;
  if (!number({t.at, n}, &v) || v > (kMostStack >> shift)) return false;
  *out = v << shift;
  return *out >= kLeastStack;
}

// The value of NAME=... when `entry` is that setting, else null.
const char* value_of(const char* entry, const char* name) {
  for (; *name; ++name, ++entry)
    if (*entry != *name) return nullptr;
  return *entry == '=' ? entry + 1 : nullptr;
}

Text whole(const char* s) {
  size_t n = 0;
  while (s[n]) ++n;
  return {s, n};
}

bool flag(Text v, bool* out) {
  if (!v.is("0") && !v.is("1")) return false;
  *out = v.is("1");
  return true;
}

bool debug_pair(Text key, Text value, Config& c) {
  uint64_t n;
  if (key.is("schedtrace")) return number_in(value, 0, 1000000000, &n) && (c.schedtrace_ms = int(n), true);
  if (key.is("scheddetail")) return flag(value, &c.scheddetail);
  if (key.is("blocktrace")) return number_in(value, 0, 2, &n) && (c.blocktrace = int(n), true);
  if (key.is("chaos")) return number(value, &c.chaos);
  if (key.is("verbose")) return flag(value, &c.verbose);
  if (key.is("detours")) return flag(value, &c.detours);
  if (key.is("preempt")) return flag(value, &c.preempt);
  if (key.is("maxms")) return number_in(value, 1, kMostMs, &n) && (c.max_ms = int(n), true);
  if (key.is("dumpsig")) return number_in(value, 1, 64, &n) && n != 9 && n != 19 && n != 32 && n != 33 && (c.dumpsig = int(n), true);
  if (key.is("deadlock")) {
    c.deadlock = value.is("abort") ? Config::Deadlock::Abort : Config::Deadlock::Report;
    return value.is("report") || value.is("abort");
  }
  return false;
}

bool debug(const char* s, Config& c) {
  while (*s) {
    Text key{s, 0}, value{nullptr, 0};
    while (*s && *s != '=' && *s != ',') ++s, ++key.size;
    if (*s == '=') {
      value.at = ++s;
      while (*s && *s != ',') ++s, ++value.size;
    }
    if (!value.at || !debug_pair(key, value, c)) return false;
    if (*s == ',' && !*++s) return false; // nothing after the comma
  }
  return true;
}

Settings bad(const char* name, const char* value, const char* remedy) {
  say("%s=%s: %s; running natively until it is set right or unset", name, value, remedy);
  return Settings::Bad;
}

} // namespace

Settings read_settings(char** envp, Config& config, bool& children) {
  bool disabled = false;
  children = true;
  for (char** e = envp; e && *e; ++e) {
    const char* entry = *e;
    // All but a few entries end here.
    if (entry[0] != 'G' || entry[1] != 'M' || entry[2] != 'P' || entry[3] != '_') continue;
    uint64_t n;
    // An empty value is as good as none: `GMP_MAXPROCS= cmd` is how a shell user unsets for one command.
    if (const char* v = value_of(entry, "GMP_MAXPROCS"); v && *v) {
      if (!number_in(whole(v), 1, kMostProcs, &n)) return bad("GMP_MAXPROCS", v, "must be a number from 1 to 1024");
      config.maxprocs = int(n);
    } else if (const char* v = value_of(entry, "GMP_STACK"); v && *v) {
      if (!bytes(whole(v), &n)) return bad("GMP_STACK", v, "must be bytes, 16384 or more, or like 256K, 8M, 1G");
      config.stack_cap = size_t(n);
    } else if (const char* v = value_of(entry, "GMP_DEBUG"); v && *v) {
      if (!debug(v, config))
        return bad("GMP_DEBUG", v,
                   "must be key=value,... of schedtrace=MS scheddetail=0|1 blocktrace=0|1|2 chaos=SEED verbose=0|1 detours=0|1 preempt=0|1 maxms=N "
                   "dumpsig=N deadlock=report|abort");
    } else if (const char* v = value_of(entry, "GMP_DISABLE"); v && *v) {
      if (!flag(whole(v), &disabled)) return bad("GMP_DISABLE", v, "must be 0 or 1");
    } else if (const char* v = value_of(entry, "GMP_CHILDREN"); v && *v) {
      if (!flag(whole(v), &children)) return bad("GMP_CHILDREN", v, "must be 0 or 1");
    }
  }
  return disabled ? Settings::Disabled : Settings::Good;
}

} // namespace gmp
