// Learns and tries what thread_libc.hpp describes.
#include "hooks/thread_libc.hpp"
#include "hooks/thread.hpp"

namespace gmp {

constinit LibcThread g_libc_thread{};

// A descriptor of libthread_db's: size in bits, number, offset.
static bool field(const char* name, uint32_t bits, uint32_t* offset) {
  auto* d = static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, name));
  if (!d || (bits && d[0] != bits)) return false;
  *offset = d[2];
  return true;
}

static bool size_is(const char* name, uint32_t expected) {
  auto* s = static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, name));
  return s && *s == expected;
}

static bool learn_cancel(LibcThread& l, uintptr_t tp) {
  auto* word = reinterpret_cast<std::atomic<uint32_t>*>(tp + l.cancel);
  int old, old_type;
  // Never enabled and asynchronous at once: a request that waits would act here.
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
  pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old_type);
  uint32_t off = word->load();
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  l.cancel_async = word->load() & ~off;
  pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, nullptr);
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
  uint32_t on = word->load();
  pthread_setcancelstate(old, nullptr);
  pthread_setcanceltype(old_type, nullptr);
  l.cancel_disabled = off & ~on;
  return l.cancel_async && l.cancel_disabled && (off ^ on) == l.cancel_disabled && !(l.cancel_disabled & (l.cancel_disabled - 1));
}

// specific_used follows the array; tried with a key of our own, because an end of thread that overlooks values would leak them.
static void learn_specific(LibcThread& l, uintptr_t tp) {
  auto* used = reinterpret_cast<volatile unsigned char*>(tp + l.specific + kLevel2s * sizeof(void*));
  pthread_key_t key;
  if (pthread_key_create(&key, nullptr) != 0) return;
  unsigned char before = *used;
  pthread_setspecific(key, &l);
  bool right = before <= 1 && *used == 1;
  pthread_setspecific(key, nullptr);
  pthread_key_delete(key);
  if (!right) return;
  *used = before;
  l.specific_used = l.specific + kLevel2s * sizeof(void*);
}

bool libc_thread_init() {
  if (g_libc_thread.size) return true;
  LibcThread l{};
  uint32_t zero = 1;
  auto* size = static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread"));
  l.keys = static_cast<KeyStruct*>(dlsym(RTLD_DEFAULT, "__pthread_keys"));
  l.call_tls_dtors = reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, "__call_tls_dtors"));
  if (!size || !l.keys || !field("_thread_db_pthread_tid", 32, &l.tid) ||
      !field("_thread_db_pthread_cancelhandling", 32, &l.cancel) ||
      !field("_thread_db_pthread_specific", kLevel2s * 64, &l.specific) ||
      !size_is("_thread_db_sizeof_pthread_key_struct", sizeof(KeyStruct)) ||
      !size_is("_thread_db_sizeof_pthread_key_data", sizeof(KeyData)) ||
      !size_is("_thread_db_sizeof_pthread_key_data_level2", sizeof(KeyData) * kKeysOfLevel2) ||
      !field("_thread_db_pthread_key_data_data", 64, &zero) || zero != offsetof(KeyData, data) ||
      !field("_thread_db_pthread_key_struct_destr", 64, &zero) || zero != offsetof(KeyStruct, destructor))
    return false;
  uintptr_t tp = arch::thread_pointer();
  if (!learn_cancel(l, tp)) return false;
  learn_specific(l, tp);
  l.size = *size;
  g_libc_thread = l;
  return true;
}

} // namespace gmp
