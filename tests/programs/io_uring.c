// Rings and faults: io_uring and aio waited for by number while others go on, their descriptors polled, userfaultfd, pidfd. None of these
// has a function in libc; a thread that waits in one must not keep the processor.
#include "caller.h"
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct ring {
  int fd;
  struct io_uring_params p;
  char *sq, *cq;
  struct io_uring_sqe* entries;
};
static bool ring_of(struct ring* r, unsigned size) {
  memset(&r->p, 0, sizeof r->p);
  r->fd = (int)syscall(SYS_io_uring_setup, size, &r->p);
  if (r->fd < 0) {
    puts("no io_uring here");
    return false;
  }
  r->sq = mmap(NULL, r->p.sq_off.array + r->p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
  r->cq = mmap(NULL, r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
               r->fd, IORING_OFF_CQ_RING);
  r->entries = mmap(NULL, r->p.sq_entries * sizeof *r->entries, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
  CHECK(r->sq != MAP_FAILED && r->cq != MAP_FAILED && (void*)r->entries != MAP_FAILED);
  return true;
}
static bool ring_made(struct ring* r) { return ring_of(r, 8); }
static void submit_read(struct ring* r, int fd, void* to, unsigned size, unsigned label) {
  unsigned* tail = (unsigned*)(r->sq + r->p.sq_off.tail);
  unsigned slot = *tail & (r->p.sq_entries - 1);
  memset(&r->entries[slot], 0, sizeof *r->entries);
  r->entries[slot] = (struct io_uring_sqe){
      .opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)to, .len = size, .off = (uint64_t)-1, .user_data = label};
  ((unsigned*)(r->sq + r->p.sq_off.array))[slot] = slot;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
}
static int completion(struct ring* r, unsigned label) { // the result of the next one
  unsigned *head = (unsigned*)(r->cq + r->p.cq_off.head), *tail = (unsigned*)(r->cq + r->p.cq_off.tail);
  CHECK(*head != __atomic_load_n(tail, __ATOMIC_ACQUIRE));
  struct io_uring_cqe* e = (struct io_uring_cqe*)(r->cq + r->p.cq_off.cqes) + (*head & (r->p.cq_entries - 1));
  EQ(e->user_data, label);
  int result = e->res;
  __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
  return result;
}
static void ring_done(struct ring* r) { SYS(close(r->fd)); }

static _Atomic long counter;
static void* count(void* argument) {
  for (int i = 0; i < 5000; i++) {
    counter++;
    if (i % 16 == 0) sched_yield();
  }
  return argument;
}
static struct ring ring;
static long do_enter(struct caller* c) { return syscall(SYS_io_uring_enter, c->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0); }
CASE(ring_wait) {
  if (!ring_made(&ring)) return;
  int fd[2];
  char byte = 0;
  SYS(pipe(fd));
  for (int i = 0; i < 5; i++) {
    struct caller c;
    submit_read(&ring, fd[0], &byte, 1, (unsigned)i);
    call_in_thread(&c, do_enter, ring.fd, NULL, 0);
    come_to_rest(&c);
    counter = 0;
    finish(start(count, NULL)); // goes on beside it
    EQ(counter, 5000);
    CHECK(!c.back);
    write_byte(fd[1]);
    EQ(outcome(&c), 1);
    EQ(completion(&ring, (unsigned)i), 1);
    EQ(byte, 'x');
  }
  close_pair(fd);
  ring_done(&ring);
}

// A wait that has begun with much work ends for what it waits for, and for nothing that the scheduler does: the kernel acts on timers of processor
// time in the middle of this one call. The threads beside it want the processor all the time.
static atomic_bool over;
static void* want_the_processor(void* argument) {
  while (!over) counter++;
  return argument;
}
static void* write_later(void* argument) {
  pause_ms(20);
  write_byte(*(int*)argument);
  return NULL;
}
CASE(ring_waits_to_the_end) {
  enum { kMany = 1024 };
  static char bytes[kMany];
  pthread_t others[3];
  over = false;
  for (int i = 0; i < 3; i++) others[i] = start(want_the_processor, NULL);
  for (int i = 0; i < 40; i++) {
    if (!ring_of(&ring, kMany)) break;
    int fd[2];
    SYS(pipe(fd));
    for (unsigned k = 0; k < kMany; k++) submit_read(&ring, fd[0], &bytes[k], 1, k);
    pthread_t writer = start(write_later, &fd[1]);
    for (long began = counter; counter - began < 20000 * (i % 8);) {} // its turn is nearly over
    EQ(syscall(SYS_io_uring_enter, ring.fd, kMany, 1, IORING_ENTER_GETEVENTS, NULL, 0), kMany);
    CHECK(*(volatile unsigned*)(ring.cq + ring.p.cq_off.tail) != *(volatile unsigned*)(ring.cq + ring.p.cq_off.head));
    finish(writer);
    ring_done(&ring);
    close_pair(fd);
  }
  over = true;
  for (int i = 0; i < 3; i++) finish(others[i]);
}

static long do_epoll(struct caller* c) {
  struct epoll_event e;
  return epoll_wait(c->fd, &e, 1, -1);
}
CASE(ring_polled) {
  if (!ring_made(&ring)) return;
  int fd[2], epoll = epoll_create1(0);
  char byte = 0;
  SYS(pipe(fd));
  struct epoll_event e = {.events = EPOLLIN};
  SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, ring.fd, &e));
  for (int i = 0; i < 6; i++) {
    struct caller c;
    submit_read(&ring, fd[0], &byte, 1, 7);
    EQ(syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0), 1);
    call_in_thread(&c, i % 2 ? do_poll : do_epoll, i % 2 ? ring.fd : epoll, NULL, POLLIN);
    come_to_rest(&c);
    write_byte(fd[1]);
    EQ(outcome(&c), 1);
    while (*(volatile unsigned*)(ring.cq + ring.p.cq_off.tail) == *(volatile unsigned*)(ring.cq + ring.p.cq_off.head))
      syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    EQ(completion(&ring, 7), 1);
  }
  close_pair(fd);
  SYS(close(epoll));
  ring_done(&ring);
}

// Linux's own aio: a poll on an eventfd is the one thing that completes later for certain.
static aio_context_t context;
static long do_getevents(struct caller* c) {
  struct io_event e;
  struct timespec t = {100, 0};
  (void)c;
  return syscall(SYS_io_getevents, context, 1L, 1L, &e, c->other ? &t : NULL);
}
CASE(aio_wait) {
  if (syscall(SYS_io_setup, 8, &context) != 0) {
    puts("no aio here");
    return;
  }
  int event = eventfd(0, 0);
  for (int i = 0; i < 4; i++) {
    struct iocb cb = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (unsigned)event, .aio_buf = POLLIN}, *list = &cb;
    EQ(syscall(SYS_io_submit, context, 1L, &list), 1);
    struct caller c = {.other = i % 2};
    call_in_thread(&c, do_getevents, 0, NULL, 0);
    come_to_rest(&c);
    counter = 0;
    finish(start(count, NULL));
    CHECK(!c.back);
    SYS(eventfd_write(event, 1));
    EQ(outcome(&c), 1);
    eventfd_t v;
    SYS(eventfd_read(event, &v));
  }
  struct io_event e;
  struct timespec t = {0, 10000000};
  EQ(syscall(SYS_io_getevents, context, 1L, 1L, &e, &t), 0);
  SYS(syscall(SYS_io_destroy, context));
  SYS(close(event));
}

// A fault that another thread repairs: read and poll on the descriptor, blocking and not.
static int faults;
static char* volatile page;
static long do_touch(struct caller* c) {
  (void)c;
  return *(volatile char*)page;
}
static long do_read_fault(struct caller* c) {
  struct uffd_msg m;
  long n = read(faults, &m, sizeof m);
  if (n == (long)sizeof m) EQ(m.event, UFFD_EVENT_PAGEFAULT);
  (void)c;
  return n;
}
static void repair(void) {
  static char full[4096];
  memset(full, 'r', sizeof full);
  struct uffdio_copy copy = {.dst = (uintptr_t)page, .src = (uintptr_t)full, .len = 4096};
  SYS(ioctl(faults, UFFDIO_COPY, &copy));
}
CASE(user_faults) {
  for (int way = 0; way < 3; way++) {
    faults = (int)syscall(SYS_userfaultfd, way ? O_NONBLOCK | O_CLOEXEC : O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    if (faults < 0 || ioctl(faults, UFFDIO_API, &api) != 0) {
      puts("no userfaultfd here");
      return;
    }
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    struct uffdio_register area = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    SYS(ioctl(faults, UFFDIO_REGISTER, &area));
    struct caller reader, poller, toucher;
    if (way == 0) {
      call_in_thread(&reader, do_read_fault, faults, NULL, 0);
      come_to_rest(&reader);
      call_in_thread(&toucher, do_touch, 0, NULL, 0);
    } else {
      EQ(do_read_fault(&reader), -1);
      EQ(errno, EAGAIN);
      call_in_thread(&poller, do_poll, faults, NULL, POLLIN);
      if (way == 2) come_to_rest(&poller);
      call_in_thread(&toucher, do_touch, 0, NULL, 0);
      EQ(outcome(&poller), POLLIN);
      call_in_thread(&reader, do_read_fault, faults, NULL, 0);
    }
    EQ(outcome(&reader), sizeof(struct uffd_msg));
    CHECK(!toucher.back);
    repair();
    EQ(outcome(&toucher), 'r');
    SYS(munmap(page, 4096));
    SYS(close(faults));
  }
}

// A child's end by its descriptor: poll by many threads, and waitid by one.
static long do_wait(struct caller* c) {
  siginfo_t info;
  long r = waitid(P_PIDFD, (id_t)c->fd, &info, WEXITED);
  return r ? r : info.si_status;
}
CASE(pid_descriptor) {
  int hold[2];
  SYS(pipe(hold));
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    char c;
    close(hold[1]);
    _exit(read(hold[0], &c, 1) == 1 ? 44 : 1);
  }
  int fd = (int)syscall(SYS_pidfd_open, child, 0);
  SYS(fd);
  struct caller polls[5], wait;
  for (int i = 0; i < 5; i++) call_in_thread(&polls[i], do_poll, fd, NULL, POLLIN);
  come_to_rest(&polls[4]);
  counter = 0;
  finish(start(count, NULL));
  for (int i = 0; i < 5; i++) CHECK(!polls[i].back);
  write_byte(hold[1]);
  for (int i = 0; i < 5; i++) EQ(outcome(&polls[i]) & POLLIN, POLLIN);
  call_in_thread(&wait, do_wait, fd, NULL, 0);
  EQ(outcome(&wait), 44);
  close_pair(hold);
  SYS(close(fd));
}
