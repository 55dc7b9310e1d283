// A G's socket calls, raw results: shared by the single and the batched hooks.
#pragma once
#include <sys/socket.h>
#include "hooks/ioloop.hpp"

namespace gmp {
// SO_RCVLOWAT: MSG_DONTWAIT returns what is below the mark, and poll knows it on TCP only: such a read waits in the kernel.
bool has_mark_slow(int fd);
inline bool has_mark(int fd) { return GMP_UNLIKELY(g_rcvlowat_used.load(std::memory_order_relaxed)) && has_mark_slow(fd); }
// A message has gone: what it carried, another process may have now.
void fds_passed(const msghdr* m);
long g_recvfrom(int fd, void* buf, size_t n, int flags, sockaddr* addr, socklen_t* len);
long g_recvmsg(int fd, msghdr* m, int flags);
long g_sendto(int fd, const void* buf, size_t n, int flags, const sockaddr* addr, socklen_t len);
// from: bytes of the message that are sent already.
long g_sendmsg(int fd, const msghdr* m, int flags, size_t from = 0);
} // namespace gmp
