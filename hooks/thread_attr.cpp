// What pthread_create reads from a pthread_attr_t. Its layout is libc's: only the public getters look inside. With a null attr the
// process's defaults count; they are read once and kept until pthread_setattr_default_np.
#include <climits>
#include <cstring>
#include "hooks/thread_libc.hpp"

namespace gmp {

GMP_REAL(pthread_setattr_default_np);
GMP_REAL(pthread_attr_getsigmask_np); // since 2.32

static constexpr size_t kMinStack = 16384; // PTHREAD_STACK_MIN

// The defaults when they are a stack size and a guard size and nothing else, as in every program that leaves them alone.
// kStale: to be read. A reader may use values that pthread_setattr_default_np is just replacing, as in libc.
enum : uint32_t { kStale, kPlain, kFull };
static constinit std::atomic<uint32_t> g_default{kStale};
static constinit std::atomic<size_t> g_default_stack{0}, g_default_guard{0};

static size_t capped(size_t stack) {
  size_t cap = g_config.stack_cap;
  return GMP_UNLIKELY(cap && stack > cap) ? (cap > kMinStack ? cap : kMinStack) : stack;
}

// pthread_attr_getaffinity_np fills in ones where nothing was set.
static void read_affinity(const pthread_attr_t* attr, ThreadSpec* spec) {
  if (pthread_attr_getaffinity_np(attr, sizeof spec->affinity, reinterpret_cast<cpu_set_t*>(spec->affinity)) != 0) return;
  for (unsigned char byte : spec->affinity)
    if (byte != 0xff) spec->affinity_set = true;
}

static int read_stack(const pthread_attr_t* attr, ThreadSpec* spec) {
  void* low = nullptr;
  size_t size = 0, guard = 0;
  pthread_attr_getstack(attr, &low, &size);
  pthread_attr_getguardsize(attr, &guard);
  char* top = static_cast<char*>(low) + size; // null: no stack of the program's own
  if (size == 0) pthread_attr_getstacksize(attr, &size); // the default
  if (top) {
    if (size < kMinStack) return EINVAL;
    spec->opts = {size, 0, top - size};
    return 0;
  }
  size_t rounded = (guard + kPage - 1) & ~(kPage - 1);
  if (rounded < guard || size + rounded < rounded) return EINVAL;
  if (size < 2048) return EINVAL; // nothing that pthread_attr_setstacksize lets pass
  spec->opts = {capped(size), guard, nullptr};
  return 0;
}

static int read_given(const pthread_attr_t* attr, ThreadSpec* spec) {
  spec->detached = spec->mask_set = spec->sched_set = spec->affinity_set = false;
  if (int error = read_stack(attr, spec)) return error;
  int value = PTHREAD_CREATE_JOINABLE;
  pthread_attr_getdetachstate(attr, &value);
  spec->detached = value == PTHREAD_CREATE_DETACHED;
  sigset_t mask;
  if (REAL(pthread_attr_getsigmask_np)(attr, &mask) == 0) {
    spec->mask_set = true;
    memcpy(&spec->mask, &mask, sizeof spec->mask);
  }
  read_affinity(attr, spec);
  value = PTHREAD_INHERIT_SCHED;
  pthread_attr_getinheritsched(attr, &value);
  if (value == PTHREAD_EXPLICIT_SCHED) {
    sched_param param{};
    pthread_attr_getschedpolicy(attr, &spec->sched_policy);
    pthread_attr_getschedparam(attr, &param);
    spec->sched_priority = param.sched_priority;
    spec->sched_set = true;
  }
  return 0;
}

// The order of the two stores against a concurrent pthread_setattr_default_np does not matter: its last act is kStale.
static int read_default(ThreadSpec* spec) {
  pthread_attr_t attr;
  if (int error = pthread_getattr_default_np(&attr)) return error;
  int error = read_given(&attr, spec);
  pthread_attr_destroy(&attr);
  if (error) return error;
  bool plain = !spec->detached && !spec->mask_set && !spec->affinity_set && !spec->sched_set;
  g_default_stack.store(spec->opts.stack_size, std::memory_order_relaxed);
  g_default_guard.store(spec->opts.guard_size, std::memory_order_relaxed);
  g_default.store(plain ? kPlain : kFull, std::memory_order_release);
  return 0;
}

int read_attr(const pthread_attr_t* attr, ThreadSpec* spec) {
  if (GMP_UNLIKELY(attr != nullptr)) return read_given(attr, spec);
  if (GMP_UNLIKELY(g_default.load(std::memory_order_acquire) != kPlain)) return read_default(spec);
  spec->opts = {g_default_stack.load(std::memory_order_relaxed), g_default_guard.load(std::memory_order_relaxed), nullptr};
  spec->detached = spec->mask_set = spec->sched_set = spec->affinity_set = false;
  return 0;
}

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_setattr_default_np(const pthread_attr_t* attr) {
  int error = REAL(pthread_setattr_default_np)(attr);
  g_default.store(kStale, std::memory_order_release);
  return error;
}
