// Every call that is a cancellation point: a thread cancelled while it is blocked there, one with the request already pending, and one
// with cancellation disabled, which must not notice. And calls that are none: they finish.
#include "caller.h"
#include <aio.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>

static char buffer[1 << 17], folder[] = "/tmp/gmp-cancel-XXXXXX", path[64];
static int empty[2], full[2], un[2], full_un[2], packets[2], idle[2], listener, backlogged, fifo, event, full_event, timer, watch, terminal[2], file,
    locked[2], epoll, sysv, signals;
static mqd_t queue, full_queue;
static pid_t child;
static sigset_t none, usr2;
static struct sockaddr_un name;
static socklen_t name_length;

static void fill(int fd) {
  int flags = fcntl(fd, F_GETFL);
  SYS(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
  while (write(fd, buffer, 4096) > 0) {
  }
  SYS(fcntl(fd, F_SETFL, flags));
}
static void prepare(void) {
  sigemptyset(&none);
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &usr2, NULL));
  memcpy(folder, "/tmp/gmp-cancel-XXXXXX", sizeof folder);
  CHECK(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/f", folder);
  SYS(pipe(idle));
  fflush(stdout);
  SYS(child = fork());
  if (child == 0) {
    close(idle[1]);
    _exit(read(idle[0], buffer, 1) == 0 ? 0 : 1);
  }
  SYS(pipe(empty));
  SYS(pipe(full));
  fill(full[1]);
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, un));
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, full_un));
  fill(full_un[1]);
  SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, packets));
  listener = listening(5);
  backlogged = socket(AF_UNIX, SOCK_STREAM, 0);
  name.sun_family = AF_UNIX;
  int n = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "gmp-cancel-%d", getpid());
  name_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
  SYS(bind(backlogged, (struct sockaddr*)&name, name_length));
  SYS(listen(backlogged, 0));
  int first = socket(AF_UNIX, SOCK_STREAM, 0);
  SYS(connect(first, (struct sockaddr*)&name, name_length));
  SYS(close(first));
  SYS(mkfifo(path, 0600));
  SYS(fifo = open(path, O_RDWR));
  SYS(event = eventfd(0, 0));
  SYS(full_event = eventfd(0, 0));
  SYS(eventfd_write(full_event, UINT64_MAX - 1));
  SYS(timer = timerfd_create(CLOCK_MONOTONIC, 0));
  SYS(watch = inotify_init1(0));
  SYS(signals = signalfd(-1, &usr2, 0));
  terminal[1] = posix_openpt(O_RDWR | O_NOCTTY);
  SYS(grantpt(terminal[1]));
  SYS(unlockpt(terminal[1]));
  SYS(terminal[0] = open(ptsname(terminal[1]), O_RDWR | O_NOCTTY));
  char other[80];
  snprintf(other, sizeof other, "%s/g", folder);
  SYS(file = open(other, O_RDWR | O_CREAT, 0600));
  SYS(ftruncate(file, 8192));
  SYS(locked[0] = open(other, O_RDWR));
  SYS(locked[1] = open(other, O_RDWR));
  SYS(unlink(other));
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  SYS(fcntl(locked[1], F_OFD_SETLK, &range));
  SYS(epoll = epoll_create1(0));
  SYS(sysv = msgget(IPC_PRIVATE, 0600));
  struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 16};
  snprintf(other, sizeof other, "/gmp-cancel-%d", getpid());
  SYS(queue = mq_open(other, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  SYS(mq_unlink(other));
  SYS(full_queue = mq_open(other, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  SYS(mq_unlink(other));
  SYS(mq_send(full_queue, "x", 1, 0));
}
static void clear_up(void) {
  SYS(close(idle[1]));
  EQ(waitpid(child, NULL, 0), child);
  SYS(msgctl(sysv, IPC_RMID, NULL));
  SYS(unlink(path));
  SYS(rmdir(folder));
}

static struct iovec one(void) { return (struct iovec){buffer, 1}; }
static struct msghdr message(struct iovec* v) { return (struct msghdr){.msg_iov = v, .msg_iovlen = 1}; }
static struct pollfd quiet(void) { return (struct pollfd){.fd = empty[0], .events = POLLIN}; }
static struct timespec long_time = {1000, 0};

#define CALLS(CALL)                                                                                                    \
  CALL(read_pipe, read(empty[0], buffer, 1))                                                                           \
  CALL(read_unix, read(un[0], buffer, 1))                                                                              \
  CALL(read_fifo, read(fifo, buffer, 1))                                                                               \
  CALL(read_event, read(event, buffer, 8))                                                                             \
  CALL(read_timer, read(timer, buffer, 8))                                                                             \
  CALL(read_inotify, read(watch, buffer, 4096))                                                                        \
  CALL(read_signals, read(signals, buffer, 128))                                                                       \
  CALL(read_terminal, read(terminal[0], buffer, 1))                                                                    \
  CALL(readv_pipe, ({ struct iovec v = one(); readv(empty[0], &v, 1); }))                                              \
  CALL(readv_unix, ({ struct iovec v = one(); readv(un[0], &v, 1); }))                                                 \
  CALL(preadv2_pipe, ({ struct iovec v = one(); preadv2(empty[0], &v, 1, -1, 0); }))                                   \
  CALL(write_pipe, write(full[1], buffer, 4096))                                                                       \
  CALL(write_unix, write(full_un[1], buffer, 4096))                                                                    \
  CALL(write_event, write(full_event, (uint64_t[]){1}, 8))                                                             \
  CALL(writev_pipe, ({ struct iovec v = {buffer, 4096}; writev(full[1], &v, 1); }))                                    \
  CALL(recv_unix, recv(un[0], buffer, 1, 0))                                                                           \
  CALL(recv_all, recv(un[0], buffer, 100, MSG_WAITALL))                                                                \
  CALL(recvfrom_unix, recvfrom(un[0], buffer, 1, 0, NULL, NULL))                                                       \
  CALL(recvmsg_unix, ({ struct iovec v = one(); struct msghdr m = message(&v); recvmsg(un[0], &m, 0); }))              \
  CALL(recvmmsg_unix, ({ struct iovec v = one(); struct mmsghdr m = {message(&v), 0}; recvmmsg(packets[0], &m, 1, 0, NULL); })) \
  CALL(send_unix, send(full_un[1], buffer, 4096, 0))                                                                   \
  CALL(sendto_unix, sendto(full_un[1], buffer, 4096, 0, NULL, 0))                                                      \
  CALL(sendmsg_unix, ({ struct iovec v = {buffer, 4096}; struct msghdr m = message(&v); sendmsg(full_un[1], &m, 0); })) \
  CALL(sendmmsg_unix, ({ struct iovec v = {buffer, 4096}; struct mmsghdr m = {message(&v), 0}; sendmmsg(full_un[1], &m, 1, 0); })) \
  CALL(accepting, accept(listener, NULL, NULL))                                                                        \
  CALL(accepting4, accept4(listener, NULL, NULL, SOCK_CLOEXEC))                                                        \
  CALL(connecting, ({ int s = socket(AF_UNIX, SOCK_STREAM, 0); connect(s, (struct sockaddr*)&name, name_length); }))   \
  CALL(opening, ({ char p[80]; snprintf(p, sizeof p, "%s/h", folder); mkfifo(p, 0600); open(p, O_RDONLY); }))          \
  CALL(openat_fifo, ({ char p[80]; snprintf(p, sizeof p, "%s/h", folder); mkfifo(p, 0600); openat(AT_FDCWD, p, O_WRONLY); })) \
  CALL(polling, ({ struct pollfd p = quiet(); poll(&p, 1, -1); }))                                                     \
  CALL(polling_nothing, poll(NULL, 0, 1000000))                                                                        \
  CALL(ppolling, ({ struct pollfd p = quiet(); ppoll(&p, 1, &long_time, NULL); }))                                     \
  CALL(ppolling_mask, ({ struct pollfd p = quiet(); ppoll(&p, 1, NULL, &usr2); }))                                     \
  CALL(selecting, ({ fd_set s; FD_ZERO(&s); FD_SET(empty[0], &s); select(empty[0] + 1, &s, NULL, NULL, NULL); }))      \
  CALL(pselecting, pselect(0, NULL, NULL, NULL, &long_time, NULL))                                                     \
  CALL(pselecting_mask, ({ fd_set s; FD_ZERO(&s); FD_SET(empty[0], &s); pselect(empty[0] + 1, &s, NULL, NULL, NULL, &usr2); })) \
  CALL(epolling, epoll_wait(epoll, (struct epoll_event*)buffer, 1, -1))                                                \
  CALL(epolling_p, epoll_pwait(epoll, (struct epoll_event*)buffer, 1, -1, NULL))                                       \
  CALL(epolling_mask, epoll_pwait(epoll, (struct epoll_event*)buffer, 1, 1000000, &usr2))                              \
  CALL(epolling_2, epoll_pwait2(epoll, (struct epoll_event*)buffer, 1, &long_time, NULL))                              \
  CALL(epolling_2_mask, epoll_pwait2(epoll, (struct epoll_event*)buffer, 1, NULL, &usr2))                              \
  CALL(range_lock, ({ struct flock r = {.l_type = F_WRLCK, .l_len = 10}; fcntl(locked[0], F_OFD_SETLKW, &r); }))       \
  CALL(splicing, splice(empty[0], NULL, full[1], NULL, 1, 0))                                                          \
  CALL(splicing_socket, splice(un[0], NULL, empty[1], NULL, 1, 0))                                                     \
  CALL(teeing, tee(empty[0], full[1], 1, 0))                                                                           \
  CALL(vmsplicing, ({ struct iovec v = one(); vmsplice(full[1], &v, 1, 0); }))                                         \
  CALL(receiving_message, msgrcv(sysv, buffer, 8, 0, 0))                                                               \
  CALL(receiving_mq, mq_receive(queue, buffer, 16, NULL))                                                              \
  CALL(receiving_mq_timed, ({ struct timespec t = in_ms(CLOCK_REALTIME, 1000000); mq_timedreceive(queue, buffer, 16, NULL, &t); })) \
  CALL(sending_mq, mq_send(full_queue, "x", 1, 0))                                                                     \
  CALL(eventfd_reading, eventfd_read(event, (eventfd_t*)buffer))                                                       \
  CALL(waiting_pid, waitpid(child, NULL, 0))                                                                           \
  CALL(waiting_id, waitid(P_PID, (id_t)child, (siginfo_t*)buffer, WEXITED | WNOWAIT))                                  \
  CALL(sigwaiting, sigwaitinfo(&usr2, NULL))                                                                           \
  CALL(suspending, sigsuspend(&usr2))                                                                                  \
  CALL(pausing, pause())

#define NAME(id, call) static long call_##id(void) { return (long)(call); }
CALLS(NAME)
struct point {
  const char* name;
  long (*call)(void);
};
#define ROW(id, call) {#id, call_##id},
static const struct point points[] = {CALLS(ROW)};
enum { POINTS = sizeof points / sizeof *points };

static _Atomic int cleaned;
static _Atomic bool entered, go, over;
static void clean(void* argument) {
  (void)argument;
  cleaned++;
}
static void* in_call(void* point) {
  pthread_cleanup_push(clean, NULL);
  entered = true;
  ((const struct point*)point)->call();
  pthread_cleanup_pop(0);
  FAIL("%s returned, errno %d", ((const struct point*)point)->name, errno);
}
static void* in_call_with_request(void* point) {
  pthread_cleanup_push(clean, NULL);
  entered = true;
  while (!go) {
  }
  ((const struct point*)point)->call();
  pthread_cleanup_pop(0);
  FAIL("%s returned, errno %d", ((const struct point*)point)->name, errno);
}
static void each(void* (*body)(void*), bool pending) {
  prepare();
  for (int i = 0; i < POINTS; i++) {
    entered = go = false;
    cleaned = 0;
    pthread_t t = start(body, (void*)&points[i]);
    while (!entered) sched_yield();
    if (!pending) pause_ms(6);
    OK(pthread_cancel(t));
    go = true;
    if (finish(t) != PTHREAD_CANCELED) FAIL("%s is no cancellation point", points[i].name);
    EQ(cleaned, 1);
    char p[80]; // of the calls that open one
    snprintf(p, sizeof p, "%s/h", folder);
    unlink(p);
  }
  clear_up();
}
CASE(while_blocked) { each(in_call, false); }
CASE(request_pending) { each(in_call_with_request, true); }

// Disabled: the request waits, the call with it. A signal of the program's ends the call, which is not cancelled even then.
static void nothing(int number) { (void)number; }
static void* in_call_disabled(void* point) {
  OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
  entered = true;
  long r = ((const struct point*)point)->call();
  EQ(r, -1);
  EQ(errno, EINTR);
  over = true;
  return point;
}
CASE(disabled) {
  struct sigaction action = {.sa_handler = nothing};
  SYS(sigaction(SIGUSR1, &action, NULL));
  prepare();
  for (int i = 0; i < POINTS; i++) {
    check_current = points[i].name;
    entered = over = false;
    pthread_t t = start(in_call_disabled, (void*)&points[i]);
    while (!entered) sched_yield();
    if (i % 2) pause_ms(3);
    OK(pthread_cancel(t));
    pause_ms(2);
    CHECK(!over);
    while (!over) {
      OK(pthread_kill(t, SIGUSR1));
      pause_ms(2);
    }
    CHECK(finish(t) == &points[i]);
    char p[80];
    snprintf(p, sizeof p, "%s/h", folder);
    unlink(p);
  }
  clear_up();
}

// These don't block here; the request acts in them all the same, before anything is done.
static void* at_once_pending(void* number) {
  char c = 'x';
  struct iovec v = {&c, 1};
  int sock = socket(AF_INET, SOCK_DGRAM, 0), copy = dup(file);
  pthread_cleanup_push(clean, NULL);
  OK(pthread_cancel(pthread_self()));
  switch ((intptr_t)number) {
  case 0: pread(file, &c, 1, 0); break;
  case 1: pwrite(file, &c, 1, 0); break;
  case 2: preadv(file, &v, 1, 0); break;
  case 3: pwritev(file, &v, 1, 0); break;
  case 4: fsync(file); break;
  case 5: fdatasync(file); break;
  case 6: msync(buffer, 0, MS_SYNC); break;
  case 7: close(copy); break;
  case 8: creat(path, 0600); break;
  case 9: open("/dev/null", O_RDONLY); break;
  case 10: send(sock, "", 0, 0); break;
  case 11: recv(sock, &c, 1, MSG_DONTWAIT); break;
  case 12: poll(NULL, 0, 0); break;
  case 13: fallocate(file, 0, 0, 1); break;
  case 14: lockf(file, F_LOCK, 1); break;
  case 15: sync_file_range(file, 0, 0, 0); break;
  case 16: copy_file_range(file, NULL, file, NULL, 0, 0); break;
  case 17: tcdrain(terminal[0]); break;
  case 18: write(event, (uint64_t[]){1}, 8); break;
  case 19: getrandom(buffer, 1, 0); break;
  case 20: msgsnd(sysv, (long[]){1, 0}, 1, 0); break;
  case 21: read(empty[0], buffer, 0); break;
  case 22: waitpid(child, NULL, WNOHANG); break;
  case 23: sigtimedwait(&usr2, NULL, &(struct timespec){0, 0}); break;
  case 24: connect(sock, (struct sockaddr*)&name, 0); break;
  case 25: epoll_wait(epoll, (struct epoll_event*)buffer, 1, 0); break;
  case 26: select(0, NULL, NULL, NULL, &(struct timeval){0, 0}); break;
  case 27: usleep(0); break;
  // no points
  case 28: lseek(file, 0, SEEK_SET); break;
  case 29: fcntl(file, F_GETFL); break;
  case 30: sendfile(empty[1], file, NULL, 0); break;
  case 31: flock(file, LOCK_UN); break;
  case 32: ioctl(empty[0], FIONREAD, buffer); break;
  case 33: dup2(copy, copy); break;
  case 34: shutdown(sock, SHUT_RD); break;
  case 35: ftruncate(file, 8192); break;
  case 36: lockf(file, F_ULOCK, 1); break;
  case 37: fcntl(file, F_OFD_SETLK, &(struct flock){.l_type = F_UNLCK}); break;
  case 38: mq_getattr(queue, (struct mq_attr*)buffer); break;
  default: break;
  }
  pthread_cleanup_pop(0);
  return number;
}
CASE(request_in_calls_that_do_not_block) {
  prepare();
  for (intptr_t i = 0; i < 39; i++) {
    cleaned = 0;
    void* end = finish(start(at_once_pending, (void*)i));
    printf("%d: %s\n", (int)i, end == PTHREAD_CANCELED ? "cancelled" : "went on");
  }
  char c;
  EQ(pread(file, &c, 1, 0), 1);
  EQ(c, 0); // the cancelled pwrite wrote nothing
  SYS(unlink(path)); // it may be creat's by now; clear_up wants one
  SYS(mkfifo(path, 0600));
  clear_up();
}
