// Recognising functions of libc that have no name for us, by their machine code.
#include <cstring>
#include "runtime/arch/x86_64/arch.hpp"

namespace gmp::arch {
namespace {

bool contains(const unsigned char* code, size_t size, const void* bytes, size_t n) { return memmem(code, size, bytes, n) != nullptr; }
#define HAS(...)                                                                                                       \
  [&] {                                                                                                                \
    const unsigned char b[] = {__VA_ARGS__};                                                                           \
    return contains(code, size, b, sizeof b);                                                                          \
  }()

// The futex system call with the private flag taken from the second argument: xor $flag,%sil or %esi; mov $202,%eax; syscall.
bool futex_with_flag(const unsigned char* code, size_t size, unsigned char flag) {
  return (HAS(0x40, 0x80, 0xf6, flag) || HAS(0x81, 0xf6, flag, 0, 0, 0)) && HAS(0xb8, 0xca, 0, 0, 0) && HAS(0x0f, 0x05);
}

bool calls(const unsigned char* code, size_t size, const unsigned char* target) {
  for (size_t i = 0; i + 5 <= size; i++) {
    int32_t distance;
    memcpy(&distance, code + i + 1, 4);
    if (code[i] == 0xe8 && code + i + 5 + distance == target) return true;
  }
  return false;
}

} // namespace

bool find_lock_paths(const void* wait_private, const void* wake_private, const void* mutex_lock, size_t mutex_lock_size, char** wait,
                     char** wake) {
  *wait = *wake = nullptr;
  for (size_t at = 16; at <= 0x90; at += 16) {
    auto* code = static_cast<const unsigned char*>(wait_private) + at;
    const size_t size = 48;
    const auto* entry = reinterpret_cast<const unsigned char*>(after_landing_pad(reinterpret_cast<char*>(const_cast<unsigned char*>(code))));
    if (entry[0] == 0x8b && entry[1] == 0x07 && HAS(0x87, 0x07) && futex_with_flag(code, size, 0x80) &&
        calls(static_cast<const unsigned char*>(mutex_lock), mutex_lock_size, code)) {
      *wait = reinterpret_cast<char*>(const_cast<unsigned char*>(code));
      break;
    }
  }
  for (size_t at = 16; at <= 0x40; at += 16) {
    auto* code = static_cast<const unsigned char*>(wake_private) + at;
    const size_t size = 24;
    if (HAS(0xba, 1, 0, 0, 0) && !HAS(0x87, 0x07) && futex_with_flag(code, size, 0x81)) {
      *wake = reinterpret_cast<char*>(const_cast<unsigned char*>(code));
      break;
    }
  }
  return *wait && *wake;
}

} // namespace gmp::arch
