// The other names of input and output, pipes inside the kernel, other processes' memory, terminals, random bytes, locked pages.
#include "beside.h"
#include "net.h"
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <syslog.h>
#include <termios.h>
#include <utmp.h>

extern ssize_t __read(int, void*, size_t), __write(int, const void*, size_t), __send(int, const void*, size_t, int);
extern ssize_t __pread64(int, void*, size_t, off_t), __pwrite64(int, const void*, size_t, off_t);
extern ssize_t __pread64_chk(int, void*, size_t, off_t, size_t);
extern int __close(int), __dup2(int, int), __fcntl(int, int, ...), __pipe(int*), __poll(struct pollfd*, nfds_t, int);
extern int __connect(int, const struct sockaddr*, socklen_t), __select(int, fd_set*, fd_set*, fd_set*, struct timeval*);
// libc's own libraries call it; others may, if they ask the linker so.
__asm__(".symver private_recv, __recv@GLIBC_PRIVATE");
extern ssize_t private_recv(int, void*, size_t, int);

CASE_ANYWHERE(underscored) {
  int fd[2];
  char c = 0;
  SYS(__pipe(fd));
  EQ(__write(fd[1], "x", 1), 1);
  struct pollfd p = {.fd = fd[0], .events = POLLIN};
  EQ(__poll(&p, 1, -1), 1);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd[0], &set);
  EQ(__select(fd[0] + 1, &set, NULL, NULL, NULL), 1);
  EQ(__read(fd[0], &c, 1), 1);
  EQ(c, 'x');
  EQ(__dup2(fd[0], fd[1]), fd[1]);
  EQ(__fcntl(fd[1], F_GETFL) & O_ACCMODE, O_RDONLY);
  EQ(fcntl64(fd[1], F_GETFL) & O_ACCMODE, O_RDONLY);
  SYS(__close(fd[0]));
  SYS(__close(fd[1]));

  int listener = listening(1), from = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = address_of(listener);
  SYS(__connect(from, (struct sockaddr*)&a, sizeof a));
  int to = accept(listener, NULL, NULL);
  SYS(to);
  EQ(__send(from, "y", 1, 0), 1);
  EQ(private_recv(to, &c, 1, 0), 1);
  EQ(c, 'y');
  SYS(close(from));
  SYS(close(to));
  SYS(close(listener));

  char name[] = "/tmp/gmp-io-XXXXXX";
  int file = mkstemp(name);
  SYS(file);
  SYS(unlink(name));
  EQ(__pwrite64(file, "abcd", 4, 2), 4);
  EQ(pwrite64(file, "e", 1, 6), 1);
  EQ(__pread64(file, &c, 1, 3), 1);
  EQ(c, 'b');
  EQ(__pread64_chk(file, &c, 1, 4, 1), 1);
  EQ(c, 'c');
  EQ(pread64(file, &c, 1, 6), 1);
  EQ(c, 'e');
  SYS(close(file));
}

// The parked thread gets its byte by the other name too.
static void* recv_private(void* fd) {
  char c = 0;
  blocking = true;
  EQ(private_recv(((int*)fd)[0], &c, 1, 0), 1);
  EQ(c, 'x');
  return NULL;
}
static void send_x(void* fd) { EQ(__send(((int*)fd)[1], "x", 1, 0), 1); }
CASE(private_recv_waits) {
  int fd[2];
  tcp_pair(fd);
  beside(recv_private, fd, send_x);
  close_pair(fd);
}

CASE_ANYWHERE(pipes_in_the_kernel) {
  int a[2], b[2];
  SYS(pipe(a));
  SYS(pipe(b));
  struct iovec v = {"hello", 5};
  EQ(vmsplice(a[1], &v, 1, 0), 5);
  EQ(tee(a[0], b[1], 5, 0), 5);
  EQ(splice(a[0], NULL, b[1], NULL, 5, 0), 5);
  char text[16];
  EQ(read(b[0], text, sizeof text), 10);
  CHECK(memcmp(text, "hellohello", 10) == 0);
  close_pair(a);
  close_pair(b);
  int e = eventfd(3, 0);
  eventfd_t value;
  SYS(eventfd_write(e, 4));
  SYS(eventfd_read(e, &value));
  EQ(value, 7);
  SYS(close(e));
}

CASE_ANYWHERE(memory_of_processes) {
  char from[8] = "abcdefg", to[8] = "";
  struct iovec mine = {to, 8}, theirs = {from, 8};
  EQ(process_vm_readv(getpid(), &mine, 1, &theirs, 1, 0), 8);
  CHECK(strcmp(to, "abcdefg") == 0);
  memcpy(to, "ABCDEFG", 8);
  EQ(process_vm_writev(getpid(), &mine, 1, &theirs, 1, 0), 8);
  CHECK(strcmp(from, "ABCDEFG") == 0);
  int self = pidfd_open(getpid(), 0);
  SYS(self);
  void* page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  *(char*)page = 1;
  struct iovec v = {page, 4096};
  ssize_t n = process_madvise(self, &v, 1, MADV_COLD, 0);
  CHECK(n == 4096 || (n == -1 && errno == EPERM)); // CAP_SYS_NICE
  EQ(process_mrelease(self, 0), -1);
  CHECK(errno == EINVAL || errno == ENOSYS); // it is not dying
  SYS(close(self));
  SYS(munmap(page, 4096));
}

CASE_ANYWHERE(locked_pages) {
  void* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  unsigned char in_memory[2];
  SYS(mlock(page, 4096));
  SYS(mlock2((char*)page + 4096, 4096, 0));
  SYS(mincore(page, 8192, in_memory));
  CHECK((in_memory[0] & 1) && (in_memory[1] & 1));
  SYS(munlock(page, 8192));
  SYS(munmap(page, 8192));
  ERRNO(mlockall(0), EINVAL);
}

CASE_ANYWHERE(random_bytes) {
  unsigned char a[32] = "", b[32] = "";
  for (int i = 0; i < 3; i++) { // the first may wait, the others know that they need not
    EQ(getrandom(a, sizeof a, i == 2 ? GRND_NONBLOCK : 0), sizeof a);
    OK(getentropy(b, sizeof b));
    CHECK(memcmp(a, b, sizeof a) != 0);
  }
  ERRNO(getrandom(a, sizeof a, ~0u), EINVAL);
  char many[512];
  ERRNO(getentropy(many, sizeof many), EIO);
}

CASE_ANYWHERE(terminals) {
  int master, slave;
  SYS(openpty(&master, &slave, NULL, NULL, NULL));
  struct termios t, u;
  SYS(tcgetattr(slave, &t));
  t.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
  SYS(tcsetattr(slave, TCSADRAIN, &t));
  SYS(tcgetattr(slave, &u));
  EQ(u.c_lflag & (ECHO | ICANON), 0);
  ERRNO(tcsetattr(slave, 77, &t), EINVAL);
  SYS(tcsendbreak(slave, 0));
  SYS(tcdrain(slave));
  SYS(close(slave));
  SYS(close(master));
}

// login_tty gives a process its terminal, and closes what it was given.
CASE_ANYWHERE(own_terminal) {
  int master, slave;
  SYS(openpty(&master, &slave, NULL, NULL, NULL));
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    SYS(close(master));
    if (login_tty(slave) != 0) _exit(1);
    if (close(slave) != -1 || errno != EBADF) _exit(2);
    char line[16] = "";
    if (!isatty(0) || !isatty(1) || !isatty(2) || write(1, "who?\n", 5) != 5 || read(0, line, sizeof line) != 4) _exit(3);
    _exit(memcmp(line, "you\n", 4) == 0 ? 0 : 4);
  }
  SYS(close(slave));
  static char text[1 << 20];
  size_t n = 0;
  ssize_t r;
  do { // the newline comes as two; ld.so may say something first (called.bats)
    SYS(r = read(master, text + n, sizeof text - 1 - n));
    text[n += (size_t)r] = 0;
  } while (!strstr(text, "who?\r\n"));
  EQ(write(master, "you\n", 4), 4);
  while (read(master, text, sizeof text) > 0) {
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
  SYS(close(master));
}

extern void __syslog_chk(int, int, const char*, ...), __vsyslog_chk(int, int, const char*, va_list);
static void log_list(bool checked, const char* format, ...) {
  va_list args;
  va_start(args, format);
  if (checked) __vsyslog_chk(LOG_DEBUG, 1, format, args);
  else vsyslog(LOG_DEBUG, format, args);
  va_end(args);
}
// LOG_PERROR: a copy goes to standard error, where a pipe stands for it.
CASE_ANYWHERE(system_log) {
  int fd[2], keep = dup(2);
  SYS(keep);
  SYS(pipe(fd));
  SYS(dup2(fd[1], 2));
  openlog("gmp-test", LOG_PERROR, LOG_USER);
  syslog(LOG_DEBUG, "one %d", 1);
  __syslog_chk(LOG_DEBUG, 1, "two %s", "2");
  log_list(false, "three %d", 3);
  log_list(true, "four %d", 4);
  closelog();
  SYS(dup2(keep, 2));
  SYS(close(keep));
  SYS(close(fd[1]));
  char text[65536] = "";
  size_t n = 0;
  ssize_t r;
  while ((r = read(fd[0], text + n, sizeof text - 1 - n)) > 0) n += (size_t)r;
  fputs(text, stderr);
  const char *line[] = {"gmp-test: one 1\n", "gmp-test: two 2\n", "gmp-test: three 3\n", "gmp-test: four 4\n"}, *at = text;
  for (int i = 0; i < 4; i++, at++) // in this order; ld.so may say something in between (called.bats)
    if (!(at = strstr(at, line[i]))) FAIL("logged: %s", text);
  SYS(close(fd[0]));
  errno = 0;
  EQ(klogctl(77, NULL, 0), -1); // no such command
  CHECK(errno == EINVAL || errno == EPERM);
}

CASE_ANYWHERE(closing_many) {
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    int high = fcntl(0, F_DUPFD, 100);
    if (high < 100) _exit(1);
    closefrom(50);
    if (fcntl(high, F_GETFD) != -1 || errno != EBADF || fcntl(0, F_GETFD) == -1) _exit(2);
    int fd[2];
    if (pipe(fd) != 0 || write(fd[1], "x", 1) != 1 || read(fd[0], &(char){0}, 1) != 1) _exit(3);
    _exit(0);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
}
