// A thread blocks in the kernel in a call that cannot be parked; the others must go on, with one processor too.
#include "beside.h"
#include "net.h"
#include <mqueue.h>
#include <netdb.h>
#include <resolv.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/futex.h>

static void write_to(void* fd) { write_byte(((int*)fd)[1]); }

// No hook can see this one.
static long raw_call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}
static void* raw_read(void* fd) {
  char c = 0;
  blocking = true;
  EQ(raw_call(SYS_read, ((int*)fd)[0], (long)&c, 1), 1);
  EQ(c, 'x');
  return NULL;
}

CASE(raw_read) {
  int fd[2];
  SYS(pipe(fd));
  for (int i = 0; i < 5; i++) beside(raw_read, fd, write_to);
  close_pair(fd);
}

CASE(many_raw_reads) {
  int fd[2];
  SYS(pipe(fd));
  blocking = false;
  counter = 0;
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(raw_read, fd);
  finish(start(count, NULL));
  for (int i = 0; i < 8; i++) write_byte(fd[1]);
  for (int i = 0; i < 8; i++) finish(t[i]);
  close_pair(fd);
}

static void* raw_poll(void* fd) {
  struct pollfd p = {.fd = ((int*)fd)[0], .events = POLLIN};
  blocking = true;
  EQ(raw_call(SYS_poll, (long)&p, 1, -1), 1); // not EINTR: nobody may signal a thread inside a call
  read_byte(p.fd);
  return NULL;
}

CASE(raw_poll) {
  int fd[2];
  SYS(pipe(fd));
  for (int i = 0; i < 5; i++) beside(raw_poll, fd, write_to);
  close_pair(fd);
}

static _Atomic bool enough;
static void* read_file_on_and_on(void* argument) {
  int fd = *(int*)argument;
  char* block = malloc(1 << 20);
  long rounds = 0;
  while (!enough) {
    ssize_t n = pread(fd, block, 1 << 20, (rounds++ % 8) << 20);
    EQ(n, 1 << 20);
    blocking = true;
  }
  free(block);
  return NULL;
}
static void say_enough(void* argument) {
  (void)argument;
  enough = true;
}

CASE(file_reads) {
  char name[] = "/tmp/gmp-handoff-XXXXXX";
  int fd = mkstemp(name);
  SYS(fd);
  unlink(name);
  char* block = calloc(1, 1 << 20);
  for (int i = 0; i < 8; i++) EQ(write(fd, block, 1 << 20), 1 << 20);
  free(block);
  beside(read_file_on_and_on, &fd, say_enough);
  SYS(close(fd));
}

static void* lock_file(void* argument) {
  blocking = true;
  SYS(flock(((int*)argument)[0], LOCK_EX));
  return NULL;
}
static void unlock_file(void* argument) { SYS(flock(((int*)argument)[1], LOCK_UN)); }
static void* lock_range(void* argument) {
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  blocking = true;
  SYS(fcntl(((int*)argument)[0], F_OFD_SETLKW, &range));
  return NULL;
}
static void unlock_range(void* argument) {
  struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_len = 10};
  SYS(fcntl(((int*)argument)[1], F_OFD_SETLK, &range));
}

CASE(file_locks) {
  char name[] = "/tmp/gmp-handoff-XXXXXX";
  int fd[2] = {mkstemp(name), open(name, O_RDWR)};
  SYS(fd[0]);
  SYS(fd[1]);
  unlink(name);
  SYS(flock(fd[1], LOCK_EX));
  beside(lock_file, fd, unlock_file);
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  SYS(fcntl(fd[1], F_OFD_SETLK, &range));
  beside(lock_range, fd, unlock_range);
  close_pair(fd);
}

// A name server of our own that answers when the counter is there; the resolver polls inside libc meanwhile.
static void* name_server(void* argument) {
  int fd = *(int*)argument;
  unsigned char q[512];
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  ssize_t n = recvfrom(fd, q, sizeof q - 16, 0, (struct sockaddr*)&from, &length);
  CHECK(n > 12);
  blocking = true;
  finish(start(count, NULL));
  size_t end = 12; // the question: header, name, type, class; what follows (EDNS) is cut off
  while (q[end] != 0) end += q[end] + 1u;
  end += 5;
  const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7};
  q[2] |= 0x80; // a response
  q[3] = 0x80;
  q[7] = 1; // one answer
  q[9] = q[11] = 0;
  memcpy(q + end, record, sizeof record);
  EQ(sendto(fd, q, end + sizeof record, 0, (struct sockaddr*)&from, length), (ssize_t)(end + sizeof record));
  return NULL;
}
static void* resolve(void* argument) {
  OK(res_init());
  _res.nscount = 1;
  _res.nsaddr_list[0] = address_of(*(int*)argument);
  _res.retrans = 30;
  _res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
  int rc = getaddrinfo("a-name.gmp-test.example.", "80", &hints, &found);
  if (rc != 0) FAIL("getaddrinfo: %s", gai_strerror(rc));
  EQ(ntohl(((struct sockaddr_in*)found->ai_addr)->sin_addr.s_addr), 0xc0000207);
  freeaddrinfo(found);
  return NULL;
}

CASE(getaddrinfo) {
  int fd = bound(SOCK_DGRAM);
  counter = 0;
  blocking = false;
  pthread_t server = start(name_server, &fd), client = start(resolve, &fd);
  finish(client);
  finish(server);
  EQ(counter, TARGET);
  SYS(close(fd));
}

static void* wait_for_child(void* argument) {
  int *fd = argument, status;
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    char c;
    _exit(read(fd[0], &c, 1) == 1 ? 33 : 1);
  }
  blocking = true;
  EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  EQ(WEXITSTATUS(status), 33);
  return NULL;
}

CASE(waitpid) {
  int fd[2];
  SYS(pipe(fd));
  beside(wait_for_child, fd, write_to);
  close_pair(fd);
}

static void* receive_message(void* queue) {
  struct {
    long type;
    char text[8];
  } m;
  blocking = true;
  EQ(msgrcv(*(int*)queue, &m, sizeof m.text, 0, 0), 3);
  return NULL;
}
static void send_message(void* queue) {
  struct {
    long type;
    char text[8];
  } m = {1, "abc"};
  SYS(msgsnd(*(int*)queue, &m, 3, 0));
}

CASE(message_queue) {
  int queue = msgget(IPC_PRIVATE, 0600);
  SYS(queue);
  beside(receive_message, &queue, send_message);
  SYS(msgctl(queue, IPC_RMID, NULL));
}

static void* take_semaphore(void* set) {
  struct sembuf down = {0, -1, 0};
  struct timespec long_time = {100, 0};
  blocking = true;
  SYS(semop(*(int*)set, &down, 1));
  SYS(semtimedop(*(int*)set, &down, 1, &long_time));
  struct timespec short_time = {0, 20000000};
  EQ(semtimedop(*(int*)set, &down, 1, &short_time), -1);
  EQ(errno, EAGAIN);
  return NULL;
}
static void give_semaphore(void* set) {
  struct sembuf up = {0, 2, 0};
  SYS(semop(*(int*)set, &up, 1));
}

CASE(semaphore_set) {
  int set = semget(IPC_PRIVATE, 1, 0600);
  SYS(set);
  beside(take_semaphore, &set, give_semaphore);
  SYS(semctl(set, 0, IPC_RMID));
}

static void* receive_posix(void* queue) {
  char text[16];
  unsigned priority = 0;
  blocking = true;
  EQ(mq_receive(*(mqd_t*)queue, text, sizeof text, &priority), 3);
  EQ(priority, 5u);
  struct timespec until = {1, 0}; // long ago
  EQ(mq_timedreceive(*(mqd_t*)queue, text, sizeof text, NULL, &until), -1);
  EQ(errno, ETIMEDOUT);
  return NULL;
}
static void send_posix(void* queue) { SYS(mq_send(*(mqd_t*)queue, "abc", 3, 5)); }
static void* send_to_full(void* queue) {
  blocking = true;
  SYS(mq_send(*(mqd_t*)queue, "1", 1, 0));
  SYS(mq_send(*(mqd_t*)queue, "2", 1, 0));
  SYS(mq_send(*(mqd_t*)queue, "3", 1, 0)); // room for two
  return NULL;
}
static void empty_queue(void* queue) {
  char text[16];
  for (int i = 0; i < 3; i++) EQ(mq_receive(*(mqd_t*)queue, text, sizeof text, NULL), 1);
}

CASE(posix_message_queue) {
  char name[64];
  snprintf(name, sizeof name, "/gmp-test-%d", getpid());
  struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
  mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  SYS(queue);
  SYS(mq_unlink(name));
  beside(receive_posix, &queue, send_posix);
  beside(send_to_full, &queue, empty_queue);
  SYS(mq_close(queue));
}

static void* wait_for_signal(void* set) {
  int number = 0;
  blocking = true;
  OK(sigwait(set, &number));
  EQ(number, SIGUSR2);
  return NULL;
}
static void signal_process(void* set) {
  (void)set;
  SYS(kill(getpid(), SIGUSR2));
}

CASE(sigwait) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL)); // for all threads to come
  beside(wait_for_signal, &set, signal_process);
}

static int word;
static void* wait_on_shared_futex(void* argument) {
  blocking = true;
  while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
  return argument;
}
static void wake_shared_futex(void* argument) {
  (void)argument;
  __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
  SYS(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0));
}

CASE(shared_futex) { beside(wait_on_shared_futex, NULL, wake_shared_futex); }

static void* read_terminal(void* argument) {
  char line[16];
  blocking = true;
  EQ(read(((int*)argument)[0], line, sizeof line), 6);
  CHECK(memcmp(line, "hello\n", 6) == 0);
  return NULL;
}
static void type_on_terminal(void* argument) { EQ(write(((int*)argument)[1], "hello\n", 6), 6); }

CASE(terminal) {
  int fd[2];
  fd[1] = posix_openpt(O_RDWR | O_NOCTTY);
  SYS(fd[1]);
  OK(grantpt(fd[1]));
  OK(unlockpt(fd[1]));
  fd[0] = open(ptsname(fd[1]), O_RDWR | O_NOCTTY);
  SYS(fd[0]);
  beside(read_terminal, fd, type_on_terminal);
  close_pair(fd);
}

static char watched[] = "/tmp/gmp-watched-XXXXXX";
static void* read_inotify(void* fd) {
  char buffer[4096];
  blocking = true;
  CHECK(read(*(int*)fd, buffer, sizeof buffer) > 0);
  return NULL;
}
static void touch_watched(void* fd) {
  (void)fd;
  char name[sizeof watched + 2];
  snprintf(name, sizeof name, "%s/f", watched);
  SYS(close(open(name, O_CREAT | O_WRONLY, 0600)));
  SYS(unlink(name));
}

CASE(inotify) {
  CHECK(mkdtemp(watched));
  int fd = inotify_init1(0);
  SYS(fd);
  SYS(inotify_add_watch(fd, watched, IN_CREATE));
  beside(read_inotify, &fd, touch_watched);
  SYS(close(fd));
  SYS(rmdir(watched));
}
