/* A thread-per-connection echo server as thousands were written: accept, pthread_create, blocking read and write. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common.h"

static const char usage[] =
    "usage: echo_server [--port N] [--bind ADDRESS] [--unix PATH] [--max-conns N] [--stack KB] [--quiet]\n"
    "  --port N       TCP port; 0 (the default) takes a free one. Prints \"listening on PORT\" when ready\n"
    "  --bind ADDRESS IPv4 address to listen on (default 127.0.0.1)\n"
    "  --unix PATH    listen on a Unix socket instead\n"
    "  --max-conns N  exit 0 after N connections have closed (default: serve until SIGTERM or SIGINT)\n"
    "  --stack KB     stack of each connection's thread (default 64; 0 = the system's default)\n"
    "  --quiet        say nothing about connections that end with an error\n";

static struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
static int quiet;
static long max_conns;
static long closed_conns;
static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;

/* An echo server has nothing to save, so the handler ends the process itself: a flag would be missed by a signal that
   comes between its check and accept. */
static void on_stop(int sig) {
  (void)sig;
  if (unix_address.sun_path[0]) unlink(unix_address.sun_path);
  _exit(0);
}

static int write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

static void count_closed(void) {
  pthread_mutex_lock(&count_lock);
  int last = ++closed_conns == max_conns;
  pthread_mutex_unlock(&count_lock);
  if (!last) return;
  if (unix_address.sun_path[0]) unlink(unix_address.sun_path);
  exit(0);
}

static void* serve(void* arg) {
  int fd = (int)(intptr_t)arg;
  char buffer[4096];
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) break;
    if (n < 0 || write_all(fd, buffer, (size_t)n) < 0) {
      if (!quiet) fprintf(stderr, "echo_server: connection %d: %s\n", fd, strerror(errno));
      break;
    }
  }
  close(fd);
  count_closed();
  return NULL;
}

static int listen_tcp(const char* host, long port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die(0, "'%s' is not an IPv4 address", host);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die(errno, "socket");
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  /* Set here it is inherited by every accepted connection. */
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(fd, (struct sockaddr*)&address, sizeof address)) die(errno, "bind to %s:%ld", host, port);
  if (listen(fd, 4096)) die(errno, "listen");
  socklen_t length = sizeof address;
  if (getsockname(fd, (struct sockaddr*)&address, &length)) die(errno, "getsockname");
  printf("listening on %d\n", ntohs(address.sin_port));
  return fd;
}

static int listen_unix(const char* path) {
  if (strlen(path) >= sizeof unix_address.sun_path) die(0, "path too long: %s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die(errno, "socket");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  if (bind(fd, (struct sockaddr*)&address, sizeof address)) die(errno, "bind to %s", path);
  if (listen(fd, 4096)) die(errno, "listen");
  /* From here on the path is ours to remove. */
  unix_address = address;
  printf("listening on %s\n", path);
  return fd;
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"port", required_argument, NULL, 'p'},  {"bind", required_argument, NULL, 'b'},
      {"unix", required_argument, NULL, 'u'},  {"max-conns", required_argument, NULL, 'm'},
      {"stack", required_argument, NULL, 's'}, {"quiet", no_argument, NULL, 'q'},
      {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
  };
  long port = 0, stack_kb = 64;
  const char* host = "127.0.0.1";
  const char* path = NULL;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (option) {
    case 'p':
      port = number(optarg, "--port", 0, 65535);
      break;
    case 'b':
      host = optarg;
      break;
    case 'u':
      path = optarg;
      break;
    case 'm':
      max_conns = number(optarg, "--max-conns", 1, 1L << 40);
      break;
    case 's':
      stack_kb = number(optarg, "--stack", 0, 1L << 20);
      break;
    case 'q':
      quiet = 1;
      break;
    case 'h':
      fputs(usage, stdout);
      return 0;
    default:
      bad_usage(usage);
    }
  }
  if (optind != argc) bad_usage(usage);

  raise_nofile();
  signal(SIGPIPE, SIG_IGN);
  struct sigaction stop = {.sa_handler = on_stop};
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);

  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  if (stack_kb) {
    int error = pthread_attr_setstacksize(&attr, (size_t)stack_kb * 1024);
    if (error) die(error, "a stack of %ld KB", stack_kb);
  }

  int listener = path ? listen_unix(path) : listen_tcp(host, port);
  fflush(stdout);

  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) die(errno, "accept");
      /* Full, not broken: connections will close; until then accept would only fail again at once. */
      fprintf(stderr, "echo_server: accept: %s\n", strerror(errno));
      usleep(50 * 1000);
      continue;
    }
    pthread_t thread;
    int error = pthread_create(&thread, &attr, serve, (void*)(intptr_t)fd);
    if (error) {
      fprintf(stderr, "echo_server: pthread_create: %s; closing the connection\n", strerror(error));
      close(fd);
      count_closed();
    }
  }
}
