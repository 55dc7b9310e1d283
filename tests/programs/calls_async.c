// Asynchronous requests and their waiting, and notices from message queues: threads of libc's own do the work.
#include "beside.h"
#include "net.h"
#include <aio.h>
#include <mqueue.h>
#include <signal.h>

static int fds[2];
static char byte;
static struct aiocb request;

static void submit(void) {
  memset(&request, 0, sizeof request);
  request.aio_fildes = fds[0];
  request.aio_buf = &byte;
  request.aio_nbytes = 1;
  byte = 0;
}
static void write_it(void* argument) {
  (void)argument;
  write_byte(fds[1]);
}
static void is_read(void) {
  EQ(aio_error(&request), 0);
  EQ(aio_return(&request), 1);
  EQ(byte, 'x');
}

static void* suspend(void* argument) {
  const struct aiocb* list[] = {NULL, &request};
  struct timespec at_once = {0, 0};
  submit();
  SYS(aio_read(&request));
  ERRNO(aio_suspend(list, 2, &at_once), EAGAIN);
  blocking = true;
  SYS(aio_suspend(list, 2, NULL));
  is_read();
  return argument;
}
static void* suspend64(void* argument) {
  const struct aiocb64* list[] = {(struct aiocb64*)&request};
  submit();
  SYS(aio_read(&request));
  blocking = true;
  SYS(aio_suspend64(list, 1, NULL));
  is_read();
  return argument;
}
CASE(suspended) {
  SYS(pipe(fds));
  beside(suspend, NULL, write_it);
  beside(suspend64, NULL, write_it);
  close_pair(fds);
}

static void* list_and_wait(void* argument) {
  struct aiocb* list[] = {&request, NULL};
  submit();
  request.aio_lio_opcode = LIO_READ;
  blocking = true;
  SYS(lio_listio(LIO_WAIT, list, 2, NULL));
  is_read();
  return argument;
}
static void* list_and_wait64(void* argument) {
  struct aiocb64* list[] = {(struct aiocb64*)&request};
  submit();
  request.aio_lio_opcode = LIO_READ;
  blocking = true;
  SYS(lio_listio64(LIO_WAIT, list, 1, NULL));
  is_read();
  return argument;
}
CASE(listed) {
  SYS(pipe(fds));
  beside(list_and_wait, NULL, write_it);
  beside(list_and_wait64, NULL, write_it);
  close_pair(fds);
}

static _Atomic int notices;
static void notice(union sigval v) {
  EQ(v.sival_int, 42);
  notices++;
}
// lio_listio's notice comes from another thread, when all is done.
CASE(listed_with_notice) {
  SYS(pipe(fds));
  notices = 0;
  struct aiocb* list[] = {&request};
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notice, .sigev_value.sival_int = 42};
  submit();
  request.aio_lio_opcode = LIO_READ;
  SYS(lio_listio(LIO_NOWAIT, list, 1, &event));
  EQ(notices, 0);
  write_byte(fds[1]);
  while (notices == 0) sched_yield();
  while (aio_error(&request) == EINPROGRESS) sched_yield();
  is_read();
  close_pair(fds);
}

static void* ask_for_notice(void* queue) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notice, .sigev_value.sival_int = 42};
  SYS(mq_notify(*(mqd_t*)queue, &event));
  ERRNO(mq_notify(*(mqd_t*)queue, &event), EBUSY);
  return NULL;
}
CASE(message_notice) {
  char name[64];
  snprintf(name, sizeof name, "/gmp-calls-%d", getpid());
  struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
  mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  SYS(queue);
  SYS(mq_unlink(name));
  notices = 0;
  finish(start(ask_for_notice, &queue));
  struct timespec until = in_ms(CLOCK_REALTIME, 100000);
  SYS(mq_timedsend(queue, "abc", 3, 0, &until));
  while (notices == 0) sched_yield();
  SYS(mq_close(queue));
}
