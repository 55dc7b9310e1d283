// thread_local: construction and destruction, once a thread, in the right order; and __cxa_thread_atexit_impl itself.
// The order relative to pthread keys is printed: the native run says what is right.
#include "check.h"
#include <atomic>
#include <string>
#include <vector>

extern "C" int __cxa_thread_atexit_impl(void (*)(void*), void*, void*);
extern "C" void* __dso_handle;

static std::atomic<long> built{0}, gone{0};
struct Counted {
  std::vector<int> heap;
  Counted() : heap(100, 7) { built++; }
  ~Counted() {
    for (int x : heap) EQ(x, 7);
    gone++;
  }
};
static thread_local Counted counted;

static void* touch(void* argument) {
  EQ(counted.heap.size(), 100);
  sched_yield();
  EQ(counted.heap[99], 7);
  return argument;
}
static void* leave_alone(void* argument) { return argument; }

CASE(built_and_destroyed_once_a_thread) {
  pthread_t t[200];
  for (int i = 0; i < 200; i++) t[i] = start(i % 2 ? touch : leave_alone, nullptr);
  for (auto& x : t) finish(x);
  EQ(built.load(), 100);
  EQ(gone.load(), 100);
}

static void* exits_early(void*) {
  touch(nullptr);
  pthread_exit(nullptr);
}

CASE(destroyed_after_pthread_exit) {
  long before = gone;
  for (int i = 0; i < 50; i++) finish(start(exits_early, nullptr));
  EQ(gone - before, 50);
}

static std::string order;
struct Noter {
  const char* text;
  explicit Noter(const char* t) : text(t) {}
  ~Noter() { order += text; }
};
static pthread_key_t key;
static void key_gone(void* text) { order += static_cast<const char*>(text); }
static void* in_order(void*) {
  static thread_local Noter first("1");
  OK(pthread_setspecific(key, "K"));
  static thread_local Noter second("2");
  pthread_cleanup_push([](void*) { order += "C"; }, nullptr);
  order += first.text;
  order += second.text;
  order += "|";
  pthread_exit(nullptr);
  pthread_cleanup_pop(0);
  return nullptr;
}

CASE(order_with_keys) {
  OK(pthread_key_create(&key, key_gone));
  finish(start(in_order, nullptr));
  printf("order: %s\n", order.c_str());
  CHECK(order.size() == 7);
  OK(pthread_key_delete(key));
}

static void note(void* text) { order += static_cast<const char*>(text); }
static void note_and_add(void* text) {
  note(text);
  OK(__cxa_thread_atexit_impl(note, const_cast<char*>("late"), &__dso_handle));
}
static void* registers(void*) {
  OK(__cxa_thread_atexit_impl(note, const_cast<char*>("a"), &__dso_handle));
  OK(__cxa_thread_atexit_impl(note_and_add, const_cast<char*>("b"), &__dso_handle));
  OK(__cxa_thread_atexit_impl(note, const_cast<char*>("c"), &__dso_handle));
  return nullptr;
}

CASE(registered_by_hand) {
  order.clear();
  finish(start(registers, nullptr));
  CHECK(order == "cblatea"); // last first; what a destructor registers runs next
}

struct Blocks {
  ~Blocks() {
    pause_ms(1);
    sched_yield();
    gone++;
  }
};
static void* with_blocking_destructor(void*) {
  static thread_local Blocks blocks;
  (void)&blocks;
  return nullptr;
}

CASE(destructor_may_block) {
  gone = 0;
  pthread_t t[30];
  for (auto& x : t) x = start(with_blocking_destructor, nullptr);
  for (auto& x : t) finish(x);
  EQ(gone.load(), 30);
}

struct Resurrects {
  ~Resurrects() { touch(nullptr); } // touches another thread_local that may not be built yet
};
static void* resurrects(void*) {
  static thread_local Resurrects object;
  (void)&object;
  return nullptr;
}

CASE(built_during_destruction) {
  long b = built, g = gone;
  for (int i = 0; i < 20; i++) finish(start(resurrects, nullptr));
  EQ(built - b, 20);
  EQ(gone - g, 20);
}

// The image of plain TLS is fresh in every thread, also in one that reuses what another left.
static __thread int initialised = 5;
static __thread char zeroed[2000];
static thread_local int computed = size_or(0) == 0 ? 11 : 12;
static void* image(void*) {
  EQ(initialised, 5);
  for (char c : zeroed) EQ(c, 0);
  EQ(computed, size_or(0) == 0 ? 11 : 12);
  initialised = 6;
  memset(zeroed, 1, sizeof zeroed);
  computed = 99;
  errno = 1234;
  sched_yield();
  EQ(initialised, 6);
  EQ(computed, 99);
  return nullptr;
}
static void* fresh_errno(void*) {
  EQ(errno, 0);
  return image(nullptr);
}

CASE(image_is_fresh) {
  for (int round = 0; round < 5; round++) {
    pthread_t t[50];
    for (auto& x : t) x = start(fresh_errno, nullptr);
    for (auto& x : t) finish(x);
  }
}
