// signalfd. The kernel's reads see what is pending for the process and for the kernel thread that reads. What is sent to one thread is pending in
// user space (signal_queue.cpp), where neither read nor poll would find it. So, once a descriptor has been made for a signal:
//
//  - What is sent to a thread that blocks it, when all others block it too (as whoever uses signalfd is told to do), goes to the kernel as the
//    process's. Which thread reads it is no longer said then, and si_code is SI_USER where it would have been SI_TKILL.
//  - When some other thread takes it, it stays in the thread's own set, and that thread's reads look there first. poll, select and
//    epoll do not see it.
#include <cstring>
#include <fcntl.h>
#include <sys/signalfd.h>
#include "hooks/signal.hpp"

namespace gmp {

constinit std::atomic<uint64_t> g_signalfd_mask{0};

bool kernel_keeps(int sig, const siginfo_t& info) {
  auto taken = [sig] { return with_g([sig](G* g) { return !(get_sigmask(g) & sigbit(sig)); }, [](G*) {}); };
  auto mains = [sig] { return alive(main_g()) && !(get_sigmask(main_g()) & sigbit(sig)); };
  if (mains() || taken()) return false;
  nobody_takes(sigbit(sig), true);
  if (mains() || taken()) return false;
  siginfo_t copy = info;
  const long pid = sys(SYS_getpid), r = sys(SYS_rt_sigqueueinfo, pid, sig, &copy);
  return r == 0 || (r == -EPERM && sys(SYS_kill, pid, sig) == 0); // SI_TKILL is for the kernel alone to say
}

// What is pending already for the caller, which is about to ask for it here.
void signalfd_made(uint64_t mask) {
  mask &= ~kUnblockable;
  g_signalfd_mask.fetch_or(mask, std::memory_order_seq_cst);
  G* g = getg();
  if (!g || GMP_LIKELY(!any_entries())) return;
  for (int sig = 1; sig <= kSignals; sig++) {
    if (!(mask & get_sigmask(g) & sigbit(sig))) continue;
    Arrival a;
    while (take_pending(of_thread(g), sig, &a))
      if (!kernel_keeps(sig, a.info)) {
        add_pending(of_thread(g), sig, a);
        break;
      }
  }
}

// The descriptor's mask, which only /proc tells; 0: it is none of that kind.
static uint64_t mask_of(int fd) {
  char text[256], *at = text;
  memcpy(at, "/proc/self/fdinfo/", 18);
  at += 18;
  char digits[12];
  int n = 0;
  for (unsigned x = unsigned(fd); n == 0 || x; x /= 10) digits[n++] = char('0' + x % 10);
  while (n > 0) *at++ = digits[--n];
  *at = 0;
  const long f = sys(SYS_openat, AT_FDCWD, text, O_RDONLY | O_CLOEXEC);
  if (f < 0) return 0;
  const long got = sys(SYS_read, f, text, sizeof text - 1);
  sys(SYS_close, f);
  text[got > 0 ? got : 0] = 0;
  const char* m = strstr(text, "sigmask:");
  if (!m) return 0;
  uint64_t mask = 0;
  for (m += 8; *m == ' ' || *m == '\t';) m++;
  for (; (*m >= '0' && *m <= '9') || (*m >= 'a' && *m <= 'f'); m++) mask = mask << 4 | uint64_t(*m <= '9' ? *m - '0' : *m - 'a' + 10);
  return mask;
}

static signalfd_siginfo told(const siginfo_t& i) {
  signalfd_siginfo s;
  memset(&s, 0, sizeof s);
  s.ssi_signo = uint32_t(i.si_signo);
  s.ssi_errno = i.si_errno;
  s.ssi_code = i.si_code;
  if (i.si_code == SI_TIMER) {
    s.ssi_tid = uint32_t(i.si_timerid);
    s.ssi_overrun = uint32_t(i.si_overrun);
  } else {
    s.ssi_pid = uint32_t(i.si_pid);
    s.ssi_uid = i.si_uid;
  }
  s.ssi_int = i.si_int;
  s.ssi_ptr = uintptr_t(i.si_ptr);
  return s;
}

long signalfd_read_own(int fd, const iovec* v, int n) {
  if (n < 1 || n > 1024) return 0; // the kernel's to refuse
  const uint64_t mask = mask_of(fd);
  G* g = getg();
  long done = 0;
  for (int i = 0; i < n; i++)
    for (size_t at = 0; v[i].iov_len - at >= sizeof(signalfd_siginfo); at += sizeof(signalfd_siginfo)) {
      const uint64_t have = of_thread(g).set->load() & mask;
      Arrival a;
      if (!have || !take_pending(of_thread(g), __builtin_ctzll(have) + 1, &a)) return done;
      const signalfd_siginfo s = told(a.info);
      memcpy(static_cast<char*>(v[i].iov_base) + at, &s, sizeof s);
      done += long(sizeof s);
    }
  return done;
}

} // namespace gmp
