// A server as one writes it with the C++ standard library alone: a std::thread for each connection, a table under a
// std::shared_mutex, a small pool of workers fed through a condition variable that answer by promise and future.
// Lines in: put KEY VALUE, get KEY, reverse TEXT, bye. std_server.rs is its twin.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

std::shared_mutex table_lock;
std::map<std::string, std::string> table;

class Pool {
public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) std::thread([this] { work(); }).detach();
  }
  std::future<std::string> submit(std::string text) {
    std::packaged_task<std::string()> task(
        [text = std::move(text)] { return std::string(text.rbegin(), text.rend()); });
    auto answer = task.get_future();
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    more_.notify_one();
    return answer;
  }

private:
  [[noreturn]] void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return !tasks_.empty(); });
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::packaged_task<std::string()>> tasks_;
};

// Counted per thread, hence per connection: a thread pointer that does not follow the thread shows as a wrong "bye N".
thread_local long requests = 0;

// Thrown and caught over blocking calls by every thread, as servers do with bad input.
struct Closed : std::runtime_error {
  using runtime_error::runtime_error;
};

std::string answer(Pool& pool, const std::string& line) {
  const auto space = line.find(' ');
  const std::string verb = line.substr(0, space), rest = space == std::string::npos ? "" : line.substr(space + 1);
  ++requests;
  if (verb == "put") {
    const auto end = rest.find(' ');
    std::unique_lock lock(table_lock);
    table[rest.substr(0, end)] = rest.substr(end + 1);
    return "ok";
  }
  if (verb == "get") {
    std::shared_lock lock(table_lock);
    const auto found = table.find(rest);
    return found == table.end() ? "none" : found->second;
  }
  if (verb == "reverse") return pool.submit(rest).get();
  if (verb == "bye") return "bye " + std::to_string(requests);
  throw Closed("unknown verb");
}

void serve(Pool& pool, int fd) {
  std::string input;
  try {
    for (;;) {
      auto end = input.find('\n');
      while (end == std::string::npos) {
        char buffer[4096];
        const ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0) throw Closed("end of file");
        input.append(buffer, static_cast<size_t>(n));
        end = input.find('\n');
      }
      const std::string out = answer(pool, input.substr(0, end)) + "\n";
      input.erase(0, end + 1);
      for (size_t sent = 0; sent < out.size();) {
        const ssize_t n = write(fd, out.data() + sent, out.size() - sent);
        if (n < 0) throw Closed("write");
        sent += static_cast<size_t>(n);
      }
      if (out.starts_with("bye ")) throw Closed("bye");
    }
  } catch (const Closed&) {
  }
  close(fd);
}

} // namespace

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) || listen(listener, 1024) ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size)) {
    std::perror("std_server");
    return 1;
  }
  std::printf("listening on %d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  Pool pool(4);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) {
      std::perror("accept");
      return 1;
    }
    std::thread(serve, std::ref(pool), fd).detach();
  }
}
