// Libraries with TLS come and go while thousands of threads live, parked and running: more of them than a thread's table has room for at
// first, with destructors that outlive dlclose, in threads older and younger than the library.
#include "check.h"
#include <atomic>
#include <dlfcn.h>
#include <filesystem>
#include <string>
#include <vector>

namespace {

constexpr int kLibraries = 40; // a table has room for 14 more than there were at first
std::string folder;
int threads = 2000;

using Address = int* (*)();
using Owned = int (*)(std::atomic<int>*);

std::string folder_of_programs() {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  SYS(n);
  std::string here(path, size_t(n));
  return here.substr(0, here.rfind('/') + 1);
}
// Copies are different libraries for ld.so.
std::string copy_of(const char* library, int i) {
  if (folder.empty()) {
    folder = "/tmp/gmp-modules-XXXXXX";
    CHECK(mkdtemp(folder.data()));
  }
  std::string name = folder + "/" + std::to_string(i) + library;
  if (!std::filesystem::exists(name)) std::filesystem::copy_file(folder_of_programs() + library, name);
  return name;
}
void put_away() {
  std::filesystem::remove_all(folder);
  folder.clear();
}
template <class F> F symbol(void* handle, const char* name) {
  F f = reinterpret_cast<F>(dlsym(handle, name));
  CHECK(f);
  return f;
}
void* opened(const std::string& name) {
  void* handle = dlopen(name.c_str(), RTLD_NOW);
  if (!handle) FAIL("%s", dlerror());
  return handle;
}

// Threads that do, each time they are called, one round of work, and are parked in between.
struct Crew {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t begin = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
  int round = 0, missing = 0;
  bool over = false;
  void (*work)(int id, int round) = nullptr;
  std::vector<pthread_t> members;
  struct Member {
    Crew* crew;
    int id;
  };
  std::vector<Member> names;

  static void* member(void* m) {
    auto [crew, id] = *static_cast<Member*>(m);
    pthread_mutex_lock(&crew->mutex);
    for (int seen = 0;;) {
      while (crew->round == seen && !crew->over) pthread_cond_wait(&crew->begin, &crew->mutex);
      if (crew->round == seen) break;
      seen = crew->round;
      pthread_mutex_unlock(&crew->mutex);
      crew->work(id, seen);
      pthread_mutex_lock(&crew->mutex);
      if (--crew->missing == 0) pthread_cond_signal(&crew->done);
    }
    pthread_mutex_unlock(&crew->mutex);
    return nullptr;
  }
  explicit Crew(int n) : members(size_t(n)), names(size_t(n)) {
    pthread_attr_t attr;
    OK(pthread_attr_init(&attr));
    OK(pthread_attr_setstacksize(&attr, 64 << 10));
    for (int i = 0; i < n; i++) {
      names[size_t(i)] = {this, i + 1};
      OK(pthread_create(&members[size_t(i)], &attr, member, &names[size_t(i)]));
    }
    OK(pthread_attr_destroy(&attr));
  }
  void all_work(void (*what)(int, int)) {
    pthread_mutex_lock(&mutex);
    work = what;
    missing = int(members.size());
    round++;
    pthread_cond_broadcast(&begin);
    while (missing > 0) pthread_cond_wait(&done, &mutex);
    pthread_mutex_unlock(&mutex);
  }
  void go_home() {
    pthread_mutex_lock(&mutex);
    over = true;
    pthread_cond_broadcast(&begin);
    pthread_mutex_unlock(&mutex);
    for (pthread_t t : members) finish(t);
    members.clear();
  }
};

Address block[kLibraries];
// A part of the threads touches each library, so that tables grow in different orders.
void first_touch(int id, int) {
  for (int i = id % 3; i < kLibraries; i += 3) {
    if (!block[i]) continue;
    EQ(*block[i](), 41);
    *block[i]() = id * 100 + i;
  }
}
void second_touch(int id, int) {
  for (int i = kLibraries - 1; i >= 0; i--)
    if (block[i]) EQ(*block[i](), i % 3 == id % 3 ? id * 100 + i : 41);
}
void fresh_again(int id, int) {
  for (int i = 0; i < kLibraries; i++)
    if (block[i]) {
      EQ(*block[i](), 41);
      *block[i]() = id;
    }
}

} // namespace

CASE(tables_grow_while_thousands_live) {
  threads = int(size_or(threads));
  Crew crew(threads);
  void* handle[kLibraries];
  for (int i = 0; i < kLibraries; i++) {
    handle[i] = opened(copy_of("lib_dynamic_tls.so", i));
    block[i] = symbol<Address>(handle[i], "dynamic_tls");
  }
  crew.all_work(first_touch);
  crew.all_work(second_touch);
  // Every second one goes, and another comes in its place, with a value of its own in every old thread.
  for (int i = 0; i < kLibraries; i += 2) EQ(dlclose(handle[i]), 0);
  for (int i = 1; i < kLibraries; i += 2) block[i] = nullptr;
  for (int i = 0; i < kLibraries; i += 2) {
    handle[i] = opened(copy_of("lib_dynamic_tls.so", i + kLibraries));
    block[i] = symbol<Address>(handle[i], "dynamic_tls");
  }
  crew.all_work(fresh_again);
  Crew young(50);
  young.all_work(fresh_again);
  young.go_home();
  crew.go_home();
  for (auto& h : handle) EQ(dlclose(h), 0);
  put_away();
}

// Initial-exec TLS of a library that comes late lies in every thread's static area: in those parked, running and being made.
namespace {
Address late, late_zero;
void late_is_there(int id, int round) {
  if (!late) return;
  CHECK(*late() == 77 || *late() == id);
  if (round % 2) EQ(*late_zero(), 0);
  *late() = id;
}
std::atomic<bool> over;
void* makes_threads(void*) {
  while (!over)
    finish(start([](void*) -> void* {
      if (late) {
        EQ(*late(), 77);
        *late() = 1;
      }
      return nullptr;
    }, nullptr));
  return nullptr;
}
} // namespace

CASE(static_area_of_thousands) {
  Crew crew(threads = int(size_or(threads)));
  crew.all_work(late_is_there);
  over = false;
  pthread_t makers[4];
  for (auto& t : makers) t = start(makes_threads, nullptr);
  void* handle = opened(folder_of_programs() + "lib_initial_exec_tls.so");
  late_zero = symbol<Address>(handle, "initial_exec_zero");
  late = symbol<Address>(handle, "initial_exec_tls");
  crew.all_work(late_is_there);
  crew.all_work(late_is_there);
  over = true;
  for (auto t : makers) finish(t);
  crew.go_home();
}

// A thread_local object of a library that is closed meanwhile keeps the library until the thread has ended.
namespace {
std::atomic<int> gone;
Owned own;
void owns(int id, int) { EQ(own(&gone), id > 0 ? 1 : 0); }
} // namespace

CASE(destructors_outlive_dlclose) {
  for (int round = 0; round < 3; round++) {
    gone = 0;
    Crew crew(100);
    void* handle = opened(copy_of("lib_thread_local.so", 0));
    own = symbol<Owned>(handle, "own_one");
    crew.all_work(owns);
    EQ(dlclose(handle), 0);
    EQ(gone.load(), 0);
    crew.go_home();
    EQ(gone.load(), 100);
  }
  put_away();
}

// Many open and close at once, in threads that end with tables of every length.
namespace {
void* opens_and_closes(void* argument) {
  int id = int(reinterpret_cast<intptr_t>(argument));
  for (int i = 0; i < 6; i++) {
    void* handle = opened(copy_of("lib_dynamic_tls.so", (id * 7 + i * 3) % kLibraries));
    auto f = symbol<Address>(handle, "dynamic_tls");
    CHECK(*f() == 41 || *f() == id);
    *f() = id;
    sched_yield();
    EQ(*f(), id);
    finish(start([](void* g) -> void* {
      EQ(*reinterpret_cast<Address>(g)(), 41);
      return nullptr;
    }, reinterpret_cast<void*>(f)));
    EQ(dlclose(handle), 0);
  }
  return nullptr;
}
} // namespace

CASE(opened_and_closed_by_many) {
  for (int i = 0; i < kLibraries; i++) copy_of("lib_dynamic_tls.so", i);
  Crew parked(200);
  pthread_t t[40];
  for (intptr_t i = 0; i < 40; i++) t[i] = start(opens_and_closes, reinterpret_cast<void*>(i + 1));
  for (auto x : t) finish(x);
  parked.go_home();
  put_away();
}
