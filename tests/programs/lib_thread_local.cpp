// A library with a thread_local object that has a destructor: while one is to run the library can't be unloaded.
#include <atomic>
namespace {
struct Owned {
  std::atomic<int>* gone = nullptr;
  ~Owned() {
    if (gone) ++*gone;
  }
};
thread_local Owned owned;
} // namespace
extern "C" int own_one(std::atomic<int>* gone) {
  owned.gone = gone;
  return 1;
}
