// Stacks that the program makes and switches itself inside its threads: makecontext and swapcontext, Boost.Coroutine2. They block in
// every way while on such a stack, throw exceptions, and go on in other threads than they began in.
#include "check.h"
#include <atomic>
#include <boost/coroutine2/all.hpp>
#include <semaphore.h>
#include <stdexcept>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

namespace {

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
sem_t tokens;
int tube[2];
__thread int mine;

// Anything that parks.
void blocks(int n) {
  char c;
  switch (n % 5) {
  case 0: sched_yield(); break;
  case 1:
    OK(pthread_mutex_lock(&mutex));
    sched_yield();
    OK(pthread_mutex_unlock(&mutex));
    break;
  case 2:
    while (sem_wait(&tokens) != 0) {}
    sched_yield();
    OK(sem_post(&tokens));
    break;
  case 3:
    EQ(read(tube[0], &c, 1), 1);
    sched_yield();
    EQ(write(tube[1], &c, 1), 1);
    break;
  default: usleep(10);
  }
}
void prepare() {
  OK(sem_init(&tokens, 0, 3));
  SYS(pipe(tube));
  EQ(write(tube[1], "xyz", 3), 3);
}
void put_away() {
  SYS(close(tube[0]));
  SYS(close(tube[1]));
  OK(sem_destroy(&tokens));
}

// ---- ucontext: a task with a stack of its own, resumed by whoever takes it
struct Task {
  ucontext_t own, resumer;
  void* stack = nullptr;
  int id = 0, step = 0;
  bool over = false;
  Task* next = nullptr;
};
constexpr size_t kStack = 64 << 10;
constexpr int kSteps = 20;

[[gnu::noinline]] int* where_mine_is() { return &mine; } // another thread's after a switch: asked anew each time
void leave(Task* t) { swapcontext(&t->own, &t->resumer); }
[[gnu::noinline]] void thrown(int depth, int n) {
  if (depth == 0) throw n;
  thrown(depth - 1, n);
  asm volatile("");
}
void task_body(unsigned hi, unsigned lo) {
  auto* t = reinterpret_cast<Task*>(uintptr_t(hi) << 32 | lo);
  for (t->step = 0; t->step < kSteps; t->step++) {
    blocks(t->id + t->step);
    try {
      thrown(3, t->id);
    } catch (int n) {
      EQ(n, t->id);
      blocks(n + t->step + 1);
    }
    *where_mine_is() += 1;
    leave(t);
  }
  t->over = true;
}
void begin(Task* t, int id) {
  t->id = id;
  t->stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(t->stack != MAP_FAILED);
  SYS(getcontext(&t->own));
  t->own.uc_stack.ss_sp = t->stack;
  t->own.uc_stack.ss_size = kStack;
  t->own.uc_link = &t->resumer;
  makecontext(&t->own, reinterpret_cast<void (*)()>(task_body), 2, unsigned(uintptr_t(t) >> 32), unsigned(uintptr_t(t)));
}
void end(Task* t) { SYS(munmap(t->stack, kStack)); }

void* runs_its_own(void* argument) {
  Task t[3];
  for (int i = 0; i < 3; i++) begin(&t[i], int(reinterpret_cast<intptr_t>(argument)) + i);
  mine = 0;
  for (int over = 0; over < 3;)
    for (auto& x : t)
      if (!x.over) {
        SYS(swapcontext(&x.resumer, &x.own));
        over += x.over;
      }
  EQ(mine, 3 * kSteps);
  for (auto& x : t) end(&x);
  return nullptr;
}

// A queue of tasks from which threads take.
Task* queue;
int unfinished;
std::atomic<long> moves, total;
pthread_mutex_t queue_mutex = PTHREAD_MUTEX_INITIALIZER;
void* runs_any(void*) {
  mine = 0;
  for (;;) {
    OK(pthread_mutex_lock(&queue_mutex));
    while (!queue && unfinished > 0) OK(pthread_cond_wait(&cond, &queue_mutex));
    Task* t = queue;
    if (t) queue = t->next;
    OK(pthread_mutex_unlock(&queue_mutex));
    if (!t) break;
    SYS(swapcontext(&t->resumer, &t->own));
    moves++;
    OK(pthread_mutex_lock(&queue_mutex));
    if (t->over) {
      if (--unfinished == 0) OK(pthread_cond_broadcast(&cond));
    } else {
      Task** tail = &queue;
      while (*tail) tail = &(*tail)->next;
      t->next = nullptr;
      *tail = t;
      OK(pthread_cond_signal(&cond));
    }
    OK(pthread_mutex_unlock(&queue_mutex));
  }
  total += mine;
  return nullptr;
}

using Channel = boost::coroutines2::coroutine<int>;

} // namespace

CASE(contexts_in_threads) {
  prepare();
  pthread_t t[20];
  for (intptr_t i = 0; i < 20; i++) t[i] = start(runs_its_own, reinterpret_cast<void*>(i * 10));
  for (auto x : t) finish(x);
  put_away();
}

CASE(contexts_go_from_thread_to_thread) {
  prepare();
  std::vector<Task> tasks(50);
  queue = nullptr;
  moves = total = 0;
  unfinished = int(tasks.size());
  for (size_t i = 0; i < tasks.size(); i++) {
    begin(&tasks[i], int(i));
    tasks[i].next = queue;
    queue = &tasks[i];
  }
  pthread_t t[10];
  for (auto& x : t) x = start(runs_any, nullptr);
  for (auto x : t) finish(x);
  EQ(moves.load(), 50 * (kSteps + 1));
  EQ(total.load(), 50 * kSteps);
  for (auto& x : tasks) end(&x);
  put_away();
}

static void* pulls(void* argument) {
  const int id = int(reinterpret_cast<intptr_t>(argument));
  Channel::pull_type numbers([id](Channel::push_type& out) {
    for (int i = 0; i < 20; i++) {
      blocks(id + i);
      try {
        thrown(2, i);
      } catch (int n) {
        EQ(n, i);
        sched_yield();
      }
      out(i);
    }
    throw std::runtime_error("end of numbers");
  });
  int expected = 0;
  try {
    for (int n : numbers) {
      EQ(n, expected++);
      blocks(n);
    }
    FAIL("the exception did not come out");
  } catch (std::runtime_error&) {
    EQ(expected, 20);
  }
  // One left in the middle is unwound: its objects go.
  static thread_local int gone;
  gone = 0;
  struct Counts {
    ~Counts() {
      sched_yield();
      gone++;
    }
  };
  {
    Channel::pull_type left([](Channel::push_type& out) {
      Counts one, two;
      for (;;) out(1);
    });
    EQ(left.get(), 1);
  }
  EQ(gone, 2);
  return nullptr;
}
CASE(boost_coroutines) {
  prepare();
  pthread_t t[20];
  for (intptr_t i = 0; i < 20; i++) t[i] = start(pulls, reinterpret_cast<void*>(i));
  for (auto x : t) finish(x);
  put_away();
}
