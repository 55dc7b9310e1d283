// Paths, directories, space in files, file systems: every announced call.
#include "beside.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char dir[64];
static int dirfd_;
static void enter(void) {
  strcpy(dir, "/tmp/gmp-files-XXXXXX");
  CHECK(mkdtemp(dir));
  dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
  SYS(dirfd_);
}
static char* in(const char* name) {
  static char path[4][128];
  static int at;
  char* p = path[at++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", dir, name);
  return p;
}
static void leave(void) {
  SYS(close(dirfd_));
  SYS(rmdir(dir));
}
static void make(const char* name) { SYS(close(open(in(name), O_CREAT | O_EXCL | O_WRONLY, 0600))); }
static bool there(const char* name) { return access(in(name), F_OK) == 0; }

CASE_ANYWHERE(names) {
  enter();
  make("a");
  SYS(rename(in("a"), in("b")));
  SYS(renameat(dirfd_, "b", dirfd_, "c"));
  make("d");
  ERRNO(renameat2(dirfd_, "c", dirfd_, "d", RENAME_NOREPLACE), EEXIST);
  SYS(renameat2(dirfd_, "c", dirfd_, "d", RENAME_EXCHANGE));
  ERRNO(rename(in("nothing"), in("b")), ENOENT);
  SYS(unlink(in("c")));
  ERRNO(unlink(in("c")), ENOENT);
  SYS(unlinkat(dirfd_, "d", 0));
  SYS(mkdir(in("e"), 0700));
  SYS(unlinkat(dirfd_, "e", AT_REMOVEDIR));
  SYS(mkdir(in("e"), 0700));
  make("e/f");
  ERRNO(rmdir(in("e")), ENOTEMPTY);
  SYS(remove(in("e/f")));
  SYS(remove(in("e")));
  CHECK(!there("a") && !there("b") && !there("c") && !there("d") && !there("e"));
  leave();
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
CASE_ANYWHERE(directories) {
  enter();
  for (const char* n = "abcdefghij"; *n; n++) make((char[]){*n, 0});
  for (int how = 0; how < 4; how++) {
    DIR* d = opendir(dir);
    CHECK(d);
    unsigned seen = 0;
    union {
      struct dirent e;
      struct dirent64 e64;
      char room[512];
    } b;
    for (;;) {
      const char* name = NULL;
      struct dirent *e, *r;
      struct dirent64 *e64, *r64;
      switch (how) {
      case 0: name = (e = readdir(d)) ? e->d_name : NULL; break;
      case 1: name = (e64 = readdir64(d)) ? e64->d_name : NULL; break;
      case 2: OK(readdir_r(d, &b.e, &r)); name = r ? r->d_name : NULL; break;
      case 3: OK(readdir64_r(d, &b.e64, &r64)); name = r64 ? r64->d_name : NULL; break;
      }
      if (!name) break;
      if (*name != '.') seen |= 1u << (*name - 'a');
    }
    EQ(seen, 0x3ff);
    SYS(closedir(d));
  }
  CHECK(!opendir(in("nothing")));
  EQ(errno, ENOENT);
  char room[4096];
  ssize_t n = getdents64(dirfd_, room, sizeof room), all = n;
  CHECK(n > 0);
  EQ(getdents64(dirfd_, room, sizeof room), 0);
  off_t base = 0;
  EQ(lseek(dirfd_, 0, SEEK_SET), 0);
  EQ(getdirentries(dirfd_, room, sizeof room, &base), all);
  EQ(lseek(dirfd_, 0, SEEK_SET), 0);
  off64_t base64 = 0;
  EQ(getdirentries64(dirfd_, room, sizeof room, &base64), all);
  for (const char* f = "abcdefghij"; *f; f++) SYS(unlink(in((char[]){*f, 0})));
  leave();
}

static void size_is(int fd, off_t size) {
  struct stat st;
  SYS(fstat(fd, &st));
  EQ(st.st_size, size);
}

CASE_ANYWHERE(space) {
  enter();
  int fd = creat64(in("a"), 0600);
  SYS(fd);
  OK(posix_fallocate(fd, 0, 1000));
  size_is(fd, 1000);
  OK(posix_fallocate64(fd, 1000, 1000));
  size_is(fd, 2000);
  EQ(posix_fallocate(-1, 0, 1), EBADF);
  SYS(fallocate(fd, 0, 0, 3000));
  SYS(fallocate64(fd, 0, 3000, 1000));
  size_is(fd, 4000);
  SYS(ftruncate(fd, 500));
  SYS(ftruncate64(fd, 600));
  size_is(fd, 600);
  SYS(truncate(in("a"), 700));
  SYS(truncate64(in("a"), 800));
  size_is(fd, 800);
  SYS(lockf(fd, F_LOCK, 100));
  SYS(lockf64(fd, F_ULOCK, 100));
  SYS(fsync(fd));
  SYS(fdatasync(fd));
  SYS(syncfs(fd));
  SYS(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
  sync();
  SYS(close(fd));
  fd = creat(in("a"), 0600);
  SYS(fd);
  size_is(fd, 0);
  SYS(close(fd));
  SYS(unlink(in("a")));
  leave();
}

extern int __open(const char*, int, ...), __open64(const char*, int, ...);
extern int __open_2(const char*, int), __open64_2(const char*, int), __openat_2(int, const char*, int), __openat64_2(int, const char*, int);
CASE_ANYWHERE(opens) {
  enter();
  make("a");
  int fd[] = {
    open64(in("a"), O_RDWR),      openat(dirfd_, "a", O_RDWR),      openat64(dirfd_, "a", O_RDWR),   __open(in("a"), O_RDWR), __open64(in("a"), O_RDWR),
    __open_2(in("a"), O_RDWR), __open64_2(in("a"), O_RDWR), __openat_2(dirfd_, "a", O_RDWR), __openat64_2(dirfd_, "a", O_RDWR),
  };
  const int n = sizeof fd / sizeof *fd;
  for (int i = 0; i < n; i++) EQ(write(fd[i], &(char){'x'}, 1), 1);
  size_is(fd[0], 1);
  for (int i = 0; i < n; i++) SYS(close(fd[i]));
  FILE* f = fopen(in("a"), "r");
  CHECK(f && freopen64("/dev/null", "r", f));
  EQ(fgetc(f), EOF);
  OK(fclose(f));
  SYS(unlink(in("a")));
  leave();
}

CASE_ANYWHERE(by_handle) {
  enter();
  make("a");
  union {
    struct file_handle h;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  } u = {.h.handle_bytes = MAX_HANDLE_SZ};
  int mount_id;
  if (name_to_handle_at(dirfd_, "a", &u.h, &mount_id, 0) == 0) {
    int fd = open_by_handle_at(dirfd_, &u.h, O_RDWR);
    if (fd >= 0) {
      size_is(fd, 0);
      SYS(close(fd));
    } else {
      CHECK(errno == EPERM || errno == ESTALE || errno == EOPNOTSUPP); // CAP_DAC_READ_SEARCH, and a file system that can
    }
  }
  ERRNO(open_by_handle_at(-1, &u.h, O_RDWR), geteuid() == 0 ? EBADF : errno);
  SYS(unlink(in("a")));
  leave();
}

// Positions and vectors, and all their names.
CASE_ANYWHERE(vectors) {
  enter();
  int fd = open(in("a"), O_RDWR | O_CREAT, 0600);
  SYS(fd);
  char a[4], b[4];
  struct iovec w[2] = {{"abcd", 4}, {"efgh", 4}}, r[2] = {{a, 4}, {b, 4}};
#define READ_BACK(call)                                                                                                \
  memset(a, 0, 4), memset(b, 0, 4);                                                                                    \
  EQ(call, 8);                                                                                                         \
  CHECK(memcmp(a, "abcd", 4) == 0 && memcmp(b, "efgh", 4) == 0)
  EQ(pwritev(fd, w, 2, 0), 8);
  READ_BACK(preadv(fd, r, 2, 0));
  EQ(pwritev2(fd, w, 2, 8, 0), 8);
  READ_BACK(preadv2(fd, r, 2, 8, 0));
  EQ(pwritev64(fd, w, 2, 16), 8);
  READ_BACK(preadv64(fd, r, 2, 16));
  EQ(pwritev64v2(fd, w, 2, 24, 0), 8);
  READ_BACK(preadv64v2(fd, r, 2, 24, 0));
  EQ(preadv2(fd, r, 2, 1000, 0), 0);
  size_is(fd, 32);
  SYS(readahead(fd, 0, 32));
  int to = open(in("b"), O_RDWR | O_CREAT, 0600);
  SYS(to);
  off_t from = 4;
  off64_t from64 = 8;
  EQ(sendfile(to, fd, &from, 4), 4);
  EQ(sendfile64(to, fd, &from64, 8), 8);
  EQ(from, 8);
  EQ(from64, 16);
  from64 = 0;
  EQ(copy_file_range(fd, &from64, to, NULL, 4, 0), 4);
  size_is(to, 16);
  void* map = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  memcpy(map, "ABCD", 4);
  SYS(msync(map, 32, MS_SYNC));
  EQ(pread(fd, a, 4, 0), 4);
  CHECK(memcmp(a, "ABCD", 4) == 0);
  SYS(munmap(map, 32));
  SYS(close(fd));
  SYS(close(to));
  SYS(unlink(in("a")));
  SYS(unlink(in("b")));
  leave();
}

extern int init_module(void*, unsigned long, const char*), delete_module(const char*, unsigned);
// What only the machine's master may do, and what is wrong with it even for him: each call must say so and return.
CASE_ANYWHERE(refused) {
  const char* nowhere = "/nonexistent/gmp";
#define REFUSED(call)                                                                                                  \
  do {                                                                                                                 \
    errno = 0;                                                                                                         \
    EQ(call, -1);                                                                                                      \
    CHECK(errno == EPERM || errno == ENOENT || errno == EINVAL || errno == EBADF || errno == ENOSYS || errno == ENOEXEC ||     \
          errno == EFAULT || errno == ENODEV || errno == ESRCH);                                                       \
  } while (0)
  REFUSED(mount("none", nowhere, "tmpfs", 0, NULL));
  REFUSED(umount(nowhere));
  REFUSED(umount2(nowhere, MNT_DETACH));
  REFUSED(fsconfig(-1, FSCONFIG_SET_FLAG, "ro", NULL, 0));
  REFUSED(swapon(nowhere, 0));
  REFUSED(swapoff(nowhere));
  REFUSED(quotactl(QCMD(Q_GETQUOTA, USRQUOTA), nowhere, 0, NULL));
  REFUSED(init_module(NULL, 0, ""));
  REFUSED(delete_module("gmp_no_such_module", O_NONBLOCK));
}

// Another process holds the file's lock: lockf waits.
static int held[2], let_go[2];
static void* take_lock(void* fd) {
  blocking = true;
  SYS(lockf(*(int*)fd, F_LOCK, 10));
  return NULL;
}
static void release_lock(void* argument) {
  (void)argument;
  EQ(write(let_go[1], "x", 1), 1);
}
CASE(lockf_waits) {
  char name[] = "/tmp/gmp-files-XXXXXX";
  int fd = mkstemp(name);
  SYS(fd);
  SYS(unlink(name));
  SYS(pipe(held));
  SYS(pipe(let_go));
  pid_t holder = fork();
  SYS(holder);
  char c = 0;
  if (holder == 0) {
    if (lockf(fd, F_LOCK, 10) != 0 || write(held[1], &c, 1) != 1) _exit(1);
    _exit(read(let_go[0], &c, 1) == 1 ? 0 : 1);
  }
  EQ(read(held[0], &c, 1), 1);
  beside(take_lock, &fd, release_lock);
}
