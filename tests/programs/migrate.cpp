// THE stress: many threads go through a blocking call at every step and then look whether everything that belongs to a
// thread is still theirs: errno, TLS of every kind, malloc, stdio, exceptions in flight, locale, resolver, libraries.
#include "check.h"
#include <arpa/inet.h>
#include <atomic>
#include <clocale>
#include <cwchar>
#include <dlfcn.h>
#include <exception>
#include <execinfo.h>
#include <filesystem>
#include <langinfo.h>
#include <malloc.h>
#include <map>
#include <netdb.h>
#include <semaphore.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace {

int threads = 300, steps = 40;
std::atomic<long> constructed{0}, destroyed{0};

struct Owned {
  int value = 0;
  std::string text = "long enough to live on the heap of whoever built it";
  Owned() { constructed++; }
  ~Owned() {
    CHECK(text == "long enough to live on the heap of whoever built it");
    destroyed++;
  }
};

thread_local Owned owned;
__thread int plain = 7;
__thread int zero;

// What a step goes through: each may move the thread to another kernel thread. errno survives all of them.
struct Hooks {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  sem_t sem;
  int pipe[2], pair[2];
} hooks;

void through_mutex() {
  OK(pthread_mutex_lock(&hooks.mutex));
  sched_yield();
  OK(pthread_mutex_unlock(&hooks.mutex));
}
void through_cond() {
  OK(pthread_mutex_lock(&hooks.mutex));
  timespec until = from_ns(now_ns(CLOCK_REALTIME) + 20000);
  int rc = pthread_cond_timedwait(&hooks.cond, &hooks.mutex, &until);
  CHECK(rc == 0 || rc == ETIMEDOUT);
  OK(pthread_cond_signal(&hooks.cond));
  OK(pthread_mutex_unlock(&hooks.mutex));
}
void through_sem() {
  OK(sem_wait(&hooks.sem));
  sched_yield();
  OK(sem_post(&hooks.sem));
}
// A byte is taken and put back: as many bytes as a third of the threads go round, so some must wait.
void through_bytes(int in, int out) {
  char c;
  EQ(read(in, &c, 1), 1);
  sched_yield();
  EQ(write(out, &c, 1), 1);
}
void through_hook(int which) {
  switch (which % 7) {
  case 0:
    sched_yield();
    break;
  case 1:
    through_mutex();
    break;
  case 2:
    through_cond();
    break;
  case 3:
    through_sem();
    break;
  case 4:
    through_bytes(hooks.pipe[0], hooks.pipe[1]);
    break;
  case 5:
    usleep(10);
    break;
  default:
    through_bytes(hooks.pair[0], hooks.pair[1]);
    break;
  }
}

void prepare(int tokens) {
  OK(sem_init(&hooks.sem, 0, static_cast<unsigned>(tokens)));
  SYS(pipe(hooks.pipe));
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, hooks.pair));
  for (int i = 0; i < tokens; i++) {
    EQ(write(hooks.pipe[1], "t", 1), 1);
    EQ(write(hooks.pair[1], "t", 1), 1);
  }
}

void put_away() {
  for (int fd : {hooks.pipe[0], hooks.pipe[1], hooks.pair[0], hooks.pair[1]}) SYS(close(fd));
  OK(sem_destroy(&hooks.sem));
}

using Step = void (*)(int id, int step);
struct Job {
  Step step;
  int id;
};

void* work(void* argument) {
  Job job = *static_cast<Job*>(argument);
  pthread_t self = pthread_self();
  EQ(owned.value, 0);
  EQ(plain, 7);
  EQ(zero, 0);
  owned.value = job.id;
  plain = job.id * 3;
  zero = job.id * 5;
  for (int i = 0; i < steps; i++) {
    errno = job.id * 1000 + i;
    if (i % 7 != 2) EQ(errno, job.id * 1000 + i);
    sched_yield();
    EQ(errno, job.id * 1000 + i);
    job.step(job.id, i);
    through_hook(job.id + i);
    CHECK(pthread_equal(self, pthread_self()));
    EQ(owned.value, job.id);
    EQ(plain, job.id * 3);
    EQ(zero, job.id * 5);
  }
  return nullptr;
}

void run(Step step) {
  threads = static_cast<int>(size_or(threads));
  prepare(threads / 3 + 1);
  long built = constructed, gone = destroyed;
  std::vector<Job> jobs(static_cast<size_t>(threads));
  std::vector<pthread_t> t(static_cast<size_t>(threads));
  for (int i = 0; i < threads; i++) {
    jobs[static_cast<size_t>(i)] = {step, i + 1};
    t[static_cast<size_t>(i)] = start(work, &jobs[static_cast<size_t>(i)]);
  }
  for (auto& x : t) finish(x);
  EQ(constructed - built, threads);
  EQ(destroyed - gone, threads);
  put_away();
}

void errno_step(int id, int step) {
  errno = id;
  char c;
  EQ(read(-1, &c, 1), -1);
  EQ(errno, EBADF);
  errno = id * 7 + step;
  sched_yield();
  pthread_mutex_lock(&hooks.mutex);
  pthread_mutex_unlock(&hooks.mutex);
  EQ(errno, id * 7 + step);
}

void malloc_step(int id, int step) {
  size_t n = static_cast<size_t>((id * 7919 + step * 104729) % 5000 + 1);
  if (step % 17 == 0) n += 200000; // its own mapping
  auto* p = static_cast<unsigned char*>(malloc(n));
  memset(p, id & 255, n);
  through_hook(step);
  for (size_t k = 0; k < n; k += 97) EQ(p[k], id & 255);
  p = static_cast<unsigned char*>(realloc(p, n * 2));
  EQ(p[n - 1], id & 255);
  std::map<int, std::string> words;
  for (int k = 0; k < 5; k++) words[k] = std::to_string(id * step + k) + " and some more so that it is allocated";
  sched_yield();
  for (int k = 0; k < 5; k++) CHECK(words[k].compare(0, words[k].find(' '), std::to_string(id * step + k)) == 0);
  free(p);
}

// A block is freed by another thread than made it.
std::atomic<char*> swapped{nullptr};
void free_elsewhere_step(int id, int step) {
  size_t n = static_cast<size_t>((id + step) % 300 + 20);
  char* mine = static_cast<char*>(malloc(n));
  snprintf(mine, n, "%d", id);
  char* theirs = swapped.exchange(mine);
  through_hook(step + 1);
  if (theirs) CHECK(atoi(theirs) >= 1 && atoi(theirs) <= threads);
  free(theirs);
}

FILE* shared_file;
void stdio_step(int id, int step) {
  CHECK(fprintf(shared_file, "L %d %d %d\n", id, step, id * step) > 0);
  flockfile(shared_file);
  fprintf(shared_file, "A %d", id);
  if (step % 5 == 0) sched_yield(); // the holder of the file's lock may move too
  fprintf(shared_file, " B %d\n", id);
  funlockfile(shared_file);
}

struct Thrown : std::runtime_error {
  int n;
  explicit Thrown(int value) : std::runtime_error("thrown"), n(value) {}
};
[[gnu::noinline]] void throw_from_depth(int depth, int n, int hook) {
  volatile char frame[64];
  frame[0] = static_cast<char>(depth);
  if (depth == 0) {
    through_hook(hook);
    throw Thrown(n);
  }
  throw_from_depth(depth - 1, n, hook);
  (void)frame[0];
}
struct HooksInDestructor {
  int hook;
  ~HooksInDestructor() {
    through_hook(hook);
    EQ(std::uncaught_exceptions(), 1);
  }
};
void exception_step(int id, int step) {
  int n = id * 100 + step;
  try {
    try {
      HooksInDestructor guard{step};
      throw_from_depth(5, n, step);
      FAIL("nothing thrown");
    } catch (Thrown& e) {
      EQ(e.n, n);
      through_hook(step + 1);
      EQ(std::uncaught_exceptions(), 0);
      std::exception_ptr kept = std::current_exception();
      through_hook(step + 2);
      try {
        std::rethrow_exception(kept);
      } catch (Thrown& again) {
        EQ(again.n, n);
        sched_yield();
      }
      throw;
    }
  } catch (std::exception& e) {
    through_hook(step + 3);
    EQ(static_cast<Thrown&>(e).n, n);
  }
  EQ(std::uncaught_exceptions(), 0);
}

void locale_step(int id, int step) {
  bool utf8 = id % 2 == 1;
  locale_t mine = newlocale(LC_ALL_MASK, utf8 ? "C.UTF-8" : "C", nullptr);
  CHECK(mine);
  locale_t before = uselocale(mine);
  through_hook(step + 1);
  CHECK(uselocale(nullptr) == mine);
  CHECK(strcmp(nl_langinfo(CODESET), utf8 ? "UTF-8" : "ANSI_X3.4-1968") == 0);
  EQ(MB_CUR_MAX, utf8 ? 6 : 1);
  wchar_t wide;
  mbstate_t state{};
  size_t length = mbrtowc(&wide, "\xc3\xa9", 2, &state);
  if (utf8) CHECK(length == 2 && wide == 0xe9);
  uselocale(before);
  freelocale(mine);
  // strerror's buffer is the thread's
  char expected[64];
  snprintf(expected, sizeof expected, "Unknown error %d", 10000 + id);
  const char* text = strerror(10000 + id);
  through_hook(step + 2);
  CHECK(strcmp(text, expected) == 0);
}

void resolver_step(int id, int step) {
  if ((id + step) % 20 != 0) return;
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = AF_INET;
  EQ(getaddrinfo("localhost", "80", &hints, &found), 0);
  CHECK(found);
  auto* address = reinterpret_cast<sockaddr_in*>(found->ai_addr);
  EQ(ntohl(address->sin_addr.s_addr) >> 24, 127);
  EQ(ntohs(address->sin_port), 80);
  freeaddrinfo(found);
}

std::string here; // the folder of the program and its libraries
void* open_library(const char* name) {
  void* handle = dlopen((here + name).c_str(), RTLD_NOW);
  if (!handle) FAIL("%s", dlerror());
  return handle;
}
using Address = int* (*)();
Address address_of(void* handle, const char* name) {
  auto f = reinterpret_cast<Address>(dlsym(handle, name));
  CHECK(f);
  return f;
}

Address dynamic_tls;
std::atomic<Address> initial_exec{nullptr}, initial_exec_zero{nullptr};
std::atomic<int> opened{0};
void library_step(int id, int step) {
  // Dynamic TLS of a library open all the while: made when first touched.
  int* dynamic = dynamic_tls();
  CHECK(*dynamic == 41 || *dynamic == id + 1000);
  *dynamic = id + 1000;
  through_hook(step);
  EQ(*dynamic_tls(), id + 1000);
  CHECK(dynamic_tls() == dynamic);
  // Initial-exec TLS of a library opened in mid-run: the image must be there in threads older than it.
  if (step == steps / 2 && opened.fetch_add(1) == 0) {
    void* handle = open_library("lib_initial_exec_tls.so");
    initial_exec_zero = address_of(handle, "initial_exec_zero");
    initial_exec = address_of(handle, "initial_exec_tls");
  }
  if (Address f = initial_exec) {
    CHECK(*f() == 77 || *f() == id + 2000);
    *f() = id + 2000;
    EQ(*initial_exec_zero.load()(), 0);
    through_hook(step + 1);
    EQ(*f(), id + 2000);
  }
  // Failing opens: the message is the thread's.
  if (step % 10 == 3) {
    char name[64];
    snprintf(name, sizeof name, "/nonexistent/lib%d.so", id);
    CHECK(!dlopen(name, RTLD_NOW));
    sched_yield();
    const char* error = dlerror();
    CHECK(error && strstr(error, name));
  }
}

void open_close_step(int id, int step) {
  if ((id + step) % 8 != 0) return;
  void* handle = open_library("lib_dynamic_tls.so");
  Address f = address_of(handle, "dynamic_tls");
  CHECK(*f() == 41 || *f() == id);
  *f() = id;
  through_hook(step + 1);
  EQ(*f(), id);
  EQ(dlclose(handle), 0);
}

[[gnu::noinline]] int trace_depth(int depth) {
  if (depth > 0) return trace_depth(depth - 1) + 1;
  void* frames[64];
  int n = backtrace(frames, 64);
  return n;
}
void backtrace_step(int, int step) {
  if (step % 10) return;
  int n = trace_depth(3);
  CHECK(n > 3 && n < 40); // ends by itself at the thread's first frame
}

} // namespace

CASE(errno_survives) { run(errno_step); }
CASE(malloc_contents) {
  run(malloc_step);
  run(free_elsewhere_step);
  free(swapped.exchange(nullptr));
}

CASE(stdio_lines) {
  char name[] = "/tmp/gmp-migrate-XXXXXX";
  int fd = mkstemp(name);
  SYS(fd);
  shared_file = fdopen(fd, "w+");
  unlink(name);
  run(stdio_step);
  rewind(shared_file);
  char line[256];
  long lines = 0, a, b, c;
  while (fgets(line, sizeof line, shared_file)) {
    lines++;
    if (line[0] == 'L')
      CHECK(sscanf(line, "L %ld %ld %ld", &a, &b, &c) == 3 && a * b == c);
    else
      CHECK(sscanf(line, "A %ld B %ld", &a, &b) == 2 && a == b);
  }
  EQ(lines, 2L * threads * steps);
  fclose(shared_file);
}

CASE(exceptions) { run(exception_step); }

CASE(locales) {
  setlocale(LC_ALL, "C.UTF-8");
  run(locale_step);
}

CASE(resolver) { run(resolver_step); }

void find_here() {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  SYS(n);
  here.assign(path, static_cast<size_t>(n));
  here.resize(here.rfind('/') + 1);
}

CASE(libraries) {
  find_here();
  run(open_close_step);
  dynamic_tls = address_of(open_library("lib_dynamic_tls.so"), "dynamic_tls");
  run(library_step);
}

// Threads end, and new ones take their places, while others open more libraries with TLS than the tables of old threads have room for.
CASE(ends_beside_dlopen) {
  find_here();
  mallopt(M_PERTURB, 42); // what is read beyond a table's end is no zero
  constexpr int libraries = 30;
  std::string folder = "/tmp/gmp-tls-XXXXXX", names[libraries];
  CHECK(mkdtemp(folder.data()));
  for (int i = 0; i < libraries; i++) {
    names[i] = folder + "/" + std::to_string(i) + ".so";
    std::filesystem::copy_file(here + "lib_dynamic_tls.so", names[i]);
  }
  std::atomic<bool> over{false};
  std::atomic<size_t> turn{0};
  std::vector<std::thread> makers;
  for (int i = 0; i < 4; i++)
    makers.emplace_back([&] {
      while (!over) {
        pthread_attr_t attr; // of another size each time, so that no old thread's memory will do
        OK(pthread_attr_init(&attr));
        OK(pthread_attr_setstacksize(&attr, 65536 + 4096 * (turn++ % 1000)));
        pthread_t t;
        OK(pthread_create(&t, &attr, [](void*) -> void* {
          EQ(plain, 7);
          plain = 9;
          return nullptr;
        }, nullptr));
        OK(pthread_join(t, nullptr));
        OK(pthread_attr_destroy(&attr));
      }
    });
  for (int round = 0; round < 10; round++) {
    void* opened[libraries];
    for (int i = 0; i < libraries; i++) {
      opened[i] = dlopen(names[i].c_str(), RTLD_NOW);
      CHECK(opened[i]);
      Address f = address_of(opened[i], "dynamic_tls");
      std::thread([f] { EQ((*f())++, 41); }).join();
      std::thread([f] { EQ(*f(), 41); }).join(); // in the other's place
    }
    for (void* handle : opened) EQ(dlclose(handle), 0);
  }
  over = true;
  for (auto& maker : makers) maker.join();
  std::filesystem::remove_all(folder);
}

CASE(backtraces) { run(backtrace_step); }
