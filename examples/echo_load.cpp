// Load for an echo server: many connections from one epoll thread, one request outstanding on each, every echoed byte
// checked. One thread, because what is measured is the server: the client must cost little and disturb nothing.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "common.h"
#include "latency.hpp"
#include "load_options.hpp"

namespace {

enum class State : uint8_t { connecting, proxy_reply, echoing, closing, closed };

struct Connection {
  int fd = -1;
  State state = State::connecting;
  bool wants_write = false;
  bool served = false;
  uint32_t sent = 0, received = 0;
  uint64_t sequence = 0;
  uint64_t started = 0;
  std::string reply;
};

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

class Load {
public:
  explicit Load(const Options& options) : options_(options), connections_(static_cast<size_t>(options.connections)) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) die(errno, "epoll_create1");
    // A request is a window of this noise; where it starts depends on the connection and the sequence number, so an
    // echo that is another connection's or another request's does not compare equal.
    pattern_.resize(static_cast<size_t>(options_.size) + offsets);
    uint64_t x = 0x9e3779b97f4a7c15u;
    for (char& c : pattern_) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      c = static_cast<char>(x >> 56);
    }
    buffer_.resize(std::min<size_t>(static_cast<size_t>(options_.size), 256 * 1024));
    request_ = "CONNECT " + options_.host + ":" + std::to_string(options_.port) +
               " HTTP/1.1\r\nHost: " + options_.host + ":" + std::to_string(options_.port) + "\r\n\r\n";
    resolve();
  }

  int run() {
    uint64_t begin = now_ns();
    ramp_up();
    double ramp = seconds_since(begin);
    uint64_t start = now_ns();
    measure();
    double elapsed = static_cast<double>(end_ - start) * 1e-9;
    drain();
    print(ramp, elapsed);
    return errors_ ? 1 : 0;
  }

private:
  static constexpr size_t offsets = 4096;
  // Few enough not to overflow a backlog of 128, the common default of older servers, and enough to ramp up quickly.
  static constexpr long in_flight_limit = 100;

  static double seconds_since(uint64_t then) { return static_cast<double>(now_ns() - then) * 1e-9; }

  void resolve() {
    if (!options_.unix_path.empty()) {
      auto* a = reinterpret_cast<sockaddr_un*>(&address_);
      a->sun_family = AF_UNIX;
      if (options_.unix_path.size() >= sizeof a->sun_path) die(0, "path too long: %s", options_.unix_path.c_str());
      options_.unix_path.copy(a->sun_path, sizeof a->sun_path - 1);
      address_size_ = sizeof *a;
      return;
    }
    auto* a = reinterpret_cast<sockaddr_in*>(&address_);
    a->sin_family = AF_INET;
    a->sin_port = htons(static_cast<uint16_t>(options_.proxy_port ? options_.proxy_port : options_.port));
    if (inet_pton(AF_INET, options_.host.c_str(), &a->sin_addr) != 1)
      die(0, "'%s' is not an IPv4 address", options_.host.c_str());
    loopback_ = (ntohl(a->sin_addr.s_addr) >> 24) == 127;
    address_size_ = sizeof *a;
  }

  // ---- opening and closing ----

  int try_connect(int fd) {
    if (source_ > 0) {
      // About 28,000 ports to an address: more connections come from 127.0.0.2, 127.0.0.3 and so on.
      sockaddr_in local{};
      local.sin_family = AF_INET;
      local.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<uint32_t>(source_));
      int on = 1;
      setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
      if (bind(fd, reinterpret_cast<sockaddr*>(&local), sizeof local)) return errno;
    }
    return connect(fd, reinterpret_cast<sockaddr*>(&address_), address_size_) ? errno : 0;
  }

  int new_socket() {
    int fd = socket(address_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die(errno, "socket, connection %ld", opened_);
    int on = 1;
    if (address_.ss_family == AF_INET) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }

  // False when the server's backlog is full for now.
  bool open_next() {
    Connection& c = connections_[static_cast<size_t>(opened_)];
    c = Connection{};
    int error = 0;
    for (;;) {
      c.fd = new_socket();
      error = try_connect(c.fd);
      if (error != EADDRNOTAVAIL || !loopback_ || source_ >= 200) break;
      close(c.fd);
      ++source_;
    }
    if (error == EAGAIN) {
      // Only Unix sockets say so; TCP drops the SYN and repeats it.
      close(c.fd);
      return false;
    }
    if (error && error != EINPROGRESS) {
      if (refused_for_now(error)) {
        close(c.fd);
        wait_for_server();
        return false;
      }
      die(error, "connection %ld", opened_);
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT;
    event.data.u64 = static_cast<uint64_t>(opened_);
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event)) die(errno, "epoll_ctl");
    c.wants_write = true;
    ++opened_;
    ++in_flight_;
    return true;
  }

  // A server that is still starting refuses; one that has served us and refuses is down.
  bool refused_for_now(int error) const {
    return (error == ECONNREFUSED || error == ENOENT) && served_ == 0 && seconds_since(begin_) < options_.retry;
  }

  void wait_for_server() {
    usleep(20 * 1000);
    last_event_ = now_ns();
  }

  void want_write(Connection& c, bool on) {
    if (c.wants_write == on) return;
    c.wants_write = on;
    epoll_event event{};
    event.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.u64 = static_cast<uint64_t>(&c - connections_.data());
    if (epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event)) die(errno, "epoll_ctl");
  }

  void drop(Connection& c) {
    if (!c.served && c.state != State::closed) --in_flight_;
    close(c.fd);
    c.fd = -1;
    if (c.state != State::closed) ++gone_;
    c.state = State::closed;
  }

  void fail(Connection& c, const char* what, int error) {
    // The first few say what is wrong; ten thousand of them would say nothing more.
    if (++errors_ <= 5)
      fprintf(stderr, "echo_load: connection %td: %s%s%s\n", &c - connections_.data(), what, error ? ": " : "",
              error ? strerror(error) : "");
    if (outstanding(c)) --outstanding_;
    drop(c);
  }

  // ---- one connection's events ----

  bool outstanding(const Connection& c) const { return c.state == State::echoing && c.started; }

  const char* payload(const Connection& c) const {
    auto mixed =
        (static_cast<uint64_t>(&c - connections_.data()) * 0x9e3779b97f4a7c15u) ^ (c.sequence * 0xbf58476d1ce4e5b9u);
    return pattern_.data() + (mixed >> 32) % offsets;
  }

  void on_event(Connection& c, uint32_t events) {
    if (c.state == State::closed) return;
    if (c.state == State::connecting && !on_connected(c)) return;
    if ((events & EPOLLOUT) && c.state == State::echoing && c.wants_write) send_some(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    if (c.state == State::proxy_reply) return read_reply(c);
    if (c.state == State::echoing || c.state == State::closing) return read_echo(c);
  }

  bool on_connected(Connection& c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error && refused_for_now(error)) {
      // Nothing is served yet, so this is the first connection, and the only one: it is opened once more.
      close(c.fd);
      opened_ = in_flight_ = 0;
      wait_for_server();
      return false;
    }
    if (error) return fail(c, "connect", error), false;
    if (!options_.proxy_port) {
      c.state = State::echoing;
      start_request(c);
      return c.state != State::closed;
    }
    want_write(c, false);
    c.state = State::proxy_reply;
    if (send(c.fd, request_.data(), request_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request_.size()))
      return fail(c, "CONNECT to the proxy", errno), false;
    return true;
  }

  void read_reply(Connection& c) {
    char part[512];
    ssize_t n = recv(c.fd, part, sizeof part, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return fail(c, "the proxy closed the connection", n < 0 ? errno : 0);
    c.reply.append(part, static_cast<size_t>(n));
    size_t end = c.reply.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (c.reply.size() > 8192) fail(c, "no end to the proxy's reply", 0);
      return;
    }
    std::string_view status = std::string_view(c.reply).substr(0, c.reply.find("\r\n"));
    if (!status.starts_with("HTTP/1.") || status.substr(8, 5) != " 200 ")
      return fail(c, ("the proxy said: " + std::string(status)).c_str(), 0);
    if (end + 4 != c.reply.size()) return fail(c, "bytes from a server nobody has written to", 0);
    c.reply = {};
    c.state = State::echoing;
    start_request(c);
  }

  void start_request(Connection& c) {
    c.sent = c.received = 0;
    ++c.sequence;
    ++outstanding_;
    c.started = now_ns();
    send_some(c);
  }

  void send_some(Connection& c) {
    auto size = static_cast<uint32_t>(options_.size);
    while (c.sent < size) {
      ssize_t n = send(c.fd, payload(c) + c.sent, size - c.sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return fail(c, "send", errno);
      c.sent += static_cast<uint32_t>(n);
    }
    want_write(c, c.sent < size);
  }

  void read_echo(Connection& c) {
    auto size = static_cast<size_t>(options_.size);
    ssize_t n = recv(c.fd, buffer_.data(), std::min(buffer_.size(), std::max<size_t>(size - c.received, 1)), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (c.state == State::closing) {
      if (n != 0) return fail(c, "not closed by the server but", n < 0 ? errno : EPROTO);
      return drop(c);
    }
    if (n <= 0) return fail(c, "closed by the server", n < 0 ? errno : 0);
    if (!c.started) return fail(c, "an echo of nothing", 0);
    if (c.received + static_cast<size_t>(n) > c.sent ||
        memcmp(buffer_.data(), payload(c) + c.received, static_cast<size_t>(n)) != 0)
      return fail(c, "the echo differs from what was sent", 0);
    c.received += static_cast<uint32_t>(n);
    if (c.received < size) return;
    --outstanding_;
    finish_request(c);
  }

  void finish_request(Connection& c) {
    uint64_t now = now_ns();
    ++answered_;
    if (measuring_) latency_.record(now - c.started);
    c.started = 0;
    if (!c.served) {
      c.served = true;
      ++served_;
      --in_flight_;
      return;
    }
    if (!measuring_ || end_) return;
    ++completed_;
    if (options_.requests ? issued_ >= options_.requests : now >= deadline_) {
      // By count the clock stops with the last answer, by time at the deadline.
      if (!options_.requests)
        end_ = now;
      else if (completed_ >= options_.requests)
        end_ = now;
      return;
    }
    ++issued_;
    start_request(c);
  }

  // ---- the phases ----

  bool poll_once(double seconds) {
    epoll_event events[512];
    int n = epoll_wait(epoll_, events, 512, static_cast<int>(seconds * 1000) + 1);
    if (n < 0 && errno != EINTR) die(errno, "epoll_wait");
    for (int i = 0; i < n; ++i) on_event(connections_[events[i].data.u64], events[i].events);
    if (n > 0) last_event_ = now_ns();
    return n > 0;
  }

  // Waits for events; ends the program when there is nothing for so long that there will be nothing any more.
  void step(const char* phase, double longest) {
    if (poll_once(longest)) return;
    if (seconds_since(last_event_) < options_.timeout) return;
    fprintf(stderr, "echo_load: nothing arrived for %.0f s while %s: %ld connections open, %ld served, %ld waiting\n",
            options_.timeout, phase, opened_ - gone_, served_, outstanding_);
    exit(1);
  }

  void ramp_up() {
    begin_ = last_event_ = now_ns();
    while (served_ < options_.connections && !errors_) {
      // One first, alone: whether the server is there at all is asked once, not a hundred times.
      while (opened_ < options_.connections && in_flight_ < (served_ ? in_flight_limit : 1))
        if (!open_next()) break;
      step("connecting", 0.02);
    }
    if (errors_) {
      fprintf(stderr, "echo_load: only %ld of %ld connections came up\n", served_, options_.connections);
      exit(1);
    }
  }

  void measure() {
    measuring_ = true;
    deadline_ = now_ns() + static_cast<uint64_t>(options_.seconds * 1e9);
    for (Connection& c : connections_) {
      if (options_.requests && issued_ >= options_.requests) break;
      if (c.state != State::echoing) continue;
      ++issued_;
      start_request(c);
    }
    while (!end_ && gone_ < options_.connections && (!options_.requests || outstanding_)) {
      double left = options_.requests ? 1 : (static_cast<double>(deadline_) - static_cast<double>(now_ns())) * 1e-9;
      if (left <= 0) break;
      step("measuring", std::min(left, 1.0));
    }
    if (!end_) end_ = now_ns();
  }

  // Answers still due are waited for: a connection the server starves must show in the percentiles, not vanish. Then
  // each side closes in order, so that a server that loses a connection's last bytes is caught, too.
  void drain() {
    while (outstanding_ > 0) step("waiting for the last answers", 1);
    for (Connection& c : connections_) {
      if (c.state == State::closed) continue;
      c.state = State::closing;
      if (shutdown(c.fd, SHUT_WR)) fail(c, "shutdown", errno);
    }
    while (gone_ < options_.connections) step("closing", 1);
  }

  void print(double ramp, double elapsed) const {
    // All of them, first and last ones included: what a server's CPU time is to be divided by.
    printf("requests: %ld\n", answered_);
    printf("throughput: %.0f req/s  p50 %.3f ms  p99 %.3f ms  p99.9 %.3f ms  max %.3f ms  connections %ld  errors %ld  "
           "ramp %.2f s\n",
           static_cast<double>(completed_) / elapsed, latency_.percentile_ms(0.5), latency_.percentile_ms(0.99),
           latency_.percentile_ms(0.999), latency_.max_ms(), served_, errors_, ramp);
  }

  Options options_;
  std::vector<Connection> connections_;
  std::string pattern_, buffer_, request_;
  sockaddr_storage address_{};
  socklen_t address_size_ = 0;
  bool loopback_ = false, measuring_ = false;
  int epoll_ = -1, source_ = 0;
  long opened_ = 0, in_flight_ = 0, served_ = 0, gone_ = 0, outstanding_ = 0;
  long issued_ = 0, completed_ = 0, answered_ = 0, errors_ = 0;
  uint64_t begin_ = 0, last_event_ = 0, deadline_ = 0, end_ = 0;
  Histogram latency_;
};

} // namespace

int main(int argc, char** argv) {
  Options options = parse_options(argc, argv);
  auto limit = static_cast<long>(raise_nofile());
  if (options.connections > limit - 16)
    die(0, "%ld connections want more descriptors than the limit of %ld allows", options.connections, limit);
  return Load(options).run();
}
