// Waiting for asynchronous requests, which libc's own threads carry out. Announced.
#include <aio.h>
#include <mqueue.h>
#include "hooks/announce.hpp"

using namespace gmp;

GMP_ANNOUNCED(int, aio_suspend, (const aiocb* const list[], int n, const timespec* timeout), (list, n, timeout))
GMP_ANNOUNCED(int, aio_suspend64, (const aiocb64* const list[], int n, const timespec* timeout), (list, n, timeout))
// Waits with LIO_WAIT. Of its two versions since 2.4 (2.34 is the same function in another library) dlsym finds the newest.
GMP_ANNOUNCED(int, lio_listio, (int mode, aiocb* const list[], int n, sigevent* event), (mode, list, n, event), noexcept)
GMP_ANNOUNCED(int, lio_listio64, (int mode, aiocb64* const list[], int n, sigevent* event), (mode, list, n, event), noexcept)
// SIGEV_THREAD: waits until libc's thread has taken over what it is to do.
GMP_ANNOUNCED(int, mq_notify, (mqd_t q, const sigevent* event), (q, event), noexcept)
