// libc's own calls to itself: stdio on sockets and pipes, the resolver, popen and system, malloc's locks, FILE locks. A thread that
// blocks in there blocks nobody else.
#include "net.h"
#include <netdb.h>
#include <pwd.h>
#include <resolv.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio_ext.h>
#include <sys/wait.h>

enum { THREADS = 200 };

// A server in stdio's terms: a line in, a line out, until the end.
static void* line_server(void* argument) {
  FILE* f = fdopen((int)(intptr_t)argument, "r+");
  CHECK(f);
  char line[100];
  long lines = 0;
  while (fgets(line, sizeof line, f)) {
    lines++;
    CHECK(fprintf(f, "line %ld: %s", lines, line) > 0);
    OK(fflush(f));
  }
  CHECK(!ferror(f));
  OK(fclose(f));
  return (void*)lines;
}

static void expect_line(int fd, const char* wanted) {
  char got[100];
  size_t n = 0;
  do SYS(read(fd, got + n, 1));
  while (got[n++] != '\n');
  got[n] = 0;
  if (strcmp(got, wanted) != 0) FAIL("got %s instead of %s", got, wanted);
}

CASE(lines_over_sockets) {
  int fd[THREADS][2];
  pthread_t t[THREADS];
  for (int i = 0; i < THREADS; i++) {
    if (i % 2) tcp_pair(fd[i]);
    else SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]));
    t[i] = start(line_server, (void*)(intptr_t)fd[i][1]);
  }
  for (int round = 1; round <= 5; round++) {
    for (int i = THREADS; i-- > 0;) CHECK(dprintf(fd[i][0], "hello %d\n", i) > 0);
    for (int i = 0; i < THREADS; i++) {
      char wanted[100];
      sprintf(wanted, "line %d: hello %d\n", round, i);
      expect_line(fd[i][0], wanted);
    }
  }
  for (int i = 0; i < THREADS; i++) SYS(close(fd[i][0]));
  for (int i = 0; i < THREADS; i++) EQ((intptr_t)finish(t[i]), 5);
}

// More than a pipe holds, a character at a time for stdio to gather.
enum { MUCH = 300000 };
static void* print_much(void* argument) {
  FILE* f = argument;
  for (int i = 0; i < MUCH; i++) CHECK(putc('a' + i % 26, f) != EOF);
  OK(fclose(f));
  return NULL;
}

CASE(print_to_full_pipe) {
  int fd[8][2];
  pthread_t t[8];
  for (int k = 0; k < 8; k++) {
    SYS(pipe(fd[k]));
    t[k] = start(print_much, fdopen(fd[k][1], "w"));
  }
  for (int k = 8; k-- > 0;) {
    FILE* f = fdopen(fd[k][0], "r");
    CHECK(f);
    for (int i = 0; i < MUCH; i++) EQ(getc(f), 'a' + i % 26);
    EQ(getc(f), EOF);
    OK(fclose(f));
    finish(t[k]);
  }
}

// One thread waits for input with the FILE's lock in its hands, the others wait for the lock. All of them share two lines of input,
// and still the one that has nothing to do with it runs.
static FILE* shared_in;
static _Atomic int lines_got;
static void* get_a_line(void* argument) {
  char line[100];
  CHECK(fgets(line, sizeof line, shared_in));
  EQ(strcmp(line, "one line\n"), 0);
  lines_got++;
  return argument;
}

CASE(file_lock_held_over_a_read) {
  int fd[2];
  pthread_t t[50];
  SYS(pipe(fd));
  shared_in = fdopen(fd[0], "r");
  lines_got = 0;
  for (int i = 0; i < 50; i++) t[i] = start(get_a_line, NULL);
  for (int i = 0; i < 50; i++) {
    while (lines_got < i) sched_yield();
    CHECK(dprintf(fd[1], "one line\n") == 9);
  }
  for (int i = 0; i < 50; i++) finish(t[i]);
  OK(fclose(shared_in));
  SYS(close(fd[1]));
}

// flockfile, across waits of its holder.
static FILE* shared_out;
static void* write_block(void* argument) {
  for (int i = 0; i < 20; i++) {
    flockfile(shared_out);
    fprintf(shared_out, "%d", (int)(intptr_t)argument);
    sched_yield();
    for (int k = 0; k < 5; k++) fprintf(shared_out, " %d", (int)(intptr_t)argument);
    if (i % 5 == 0) usleep(100);
    fprintf(shared_out, "\n");
    funlockfile(shared_out);
  }
  return NULL;
}

CASE(blocks_of_output_stay_whole) {
  char* text = NULL;
  size_t size = 0;
  pthread_t t[20];
  shared_out = open_memstream(&text, &size);
  for (int i = 0; i < 20; i++) t[i] = start(write_block, (void*)(intptr_t)i);
  for (int i = 0; i < 20; i++) finish(t[i]);
  OK(fclose(shared_out));
  int lines = 0;
  for (char* l = strtok(text, "\n"); l; l = strtok(NULL, "\n"), lines++) {
    int a, n[5];
    EQ(sscanf(l, "%d %d %d %d %d %d", &a, n, n + 1, n + 2, n + 3, n + 4), 6);
    for (int k = 0; k < 5; k++) EQ(n[k], a);
  }
  EQ(lines, 400);
  free(text);
}

// ---- the resolver

static void* resolve_from_hosts(void* argument) {
  for (int i = 0; i < 5; i++) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = getaddrinfo("localhost", "80", &hints, &found);
    if (rc != 0) FAIL("getaddrinfo: %s", gai_strerror(rc));
    struct sockaddr_in* a = (struct sockaddr_in*)found->ai_addr;
    EQ(ntohl(a->sin_addr.s_addr), INADDR_LOOPBACK);
    EQ(ntohs(a->sin_port), 80);
    char host[200];
    rc = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0, 0);
    if (rc != 0) FAIL("getnameinfo: %s", gai_strerror(rc));
    EQ(strncmp(host, "localhost", 9), 0);
    freeaddrinfo(found);
    struct passwd p, *result = NULL;
    char buffer[2000];
    OK(getpwuid_r(0, &p, buffer, sizeof buffer, &result));
    CHECK(result && strcmp(p.pw_name, "root") == 0);
  }
  return argument;
}

CASE(names_from_hosts) {
  pthread_t t[THREADS];
  for (int i = 0; i < THREADS; i++) t[i] = start(resolve_from_hosts, NULL);
  for (int i = 0; i < THREADS; i++) finish(t[i]);
}

// A name server that answers nobody before all have asked: every one of the threads is inside the resolver at once. The host's
// number in the name is the last part of its address.
static void* name_server(void* argument) {
  int fd = *(int*)argument;
  static struct { unsigned char q[512]; size_t end; struct sockaddr_in from; } asked[THREADS];
  static bool seen[THREADS];
  memset(seen, 0, sizeof seen);
  int n = 0;
  bool answering = false;
  for (int answered = 0; answered < THREADS;) {
    unsigned char q[512];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(fd, q, sizeof q - 16, 0, (struct sockaddr*)&from, &length);
    CHECK(got > 12);
    size_t end = 12;
    while (q[end] != 0) end += q[end] + 1u;
    end += 5;
    int who = atoi((char*)q + 14); // 1: length of the label, then h, then the number
    CHECK(who >= 0 && who < THREADS);
    if (!seen[who]) { // else: it has lost patience and asks again
      seen[who] = true;
      memcpy(asked[n].q, q, end);
      asked[n].end = end;
      asked[n++].from = from;
    }
    if (n == THREADS) answering = true;
    while (answering && answered < n) {
      unsigned char* a = asked[answered].q;
      int host = atoi((char*)a + 14);
      const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, (unsigned char)host};
      a[2] |= 0x80, a[3] = 0x80, a[7] = 1, a[9] = a[11] = 0;
      memcpy(a + asked[answered].end, record, sizeof record);
      SYS(sendto(fd, a, asked[answered].end + sizeof record, 0, (struct sockaddr*)&asked[answered].from, sizeof from));
      answered++;
    }
  }
  return NULL;
}

static int name_socket;
static void* resolve_by_dns(void* argument) {
  OK(res_init());
  _res.nscount = 1;
  _res.nsaddr_list[0] = address_of(name_socket);
  _res.retrans = 30;
  _res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
  char name[60];
  sprintf(name, "h%d.gmp-test.example.", (int)(intptr_t)argument);
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
  int rc = getaddrinfo(name, "80", &hints, &found);
  if (rc != 0) FAIL("getaddrinfo(%s): %s", name, gai_strerror(rc));
  EQ(ntohl(((struct sockaddr_in*)found->ai_addr)->sin_addr.s_addr), 0xc0000200 + (uint32_t)(intptr_t)argument);
  freeaddrinfo(found);
  return argument;
}

CASE(names_from_a_server) {
  name_socket = bound(SOCK_DGRAM);
  int room = 1 << 20;
  SYS(setsockopt(name_socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room));
  pthread_t t[THREADS], server = start(name_server, &name_socket);
  for (int i = 0; i < THREADS; i++) t[i] = start(resolve_by_dns, (void*)(intptr_t)i);
  for (int i = 0; i < THREADS; i++) finish(t[i]);
  finish(server);
  SYS(close(name_socket));
}

// ---- children

static void* from_a_shell(void* argument) {
  char command[60], line[60], wanted[60];
  int fd[2];
  SYS(pipe2(fd, O_CLOEXEC));
  sprintf(command, "read x </proc/self/fd/%d && echo $x %d", fd[0], (int)(intptr_t)argument);
  SYS(fcntl(fd[0], F_SETFD, 0)); // for the child
  FILE* f = popen(command, "r");
  CHECK(f);
  CHECK(dprintf(fd[1], "said\n") == 5);
  CHECK(fgets(line, sizeof line, f));
  sprintf(wanted, "said %d\n", (int)(intptr_t)argument);
  EQ(strcmp(line, wanted), 0);
  EQ(pclose(f), 0);
  EQ(system("exit 3"), 3 << 8);
  close_pair(fd);
  return NULL;
}

CASE(shells) {
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(from_a_shell, (void*)(intptr_t)i);
  for (int i = 0; i < 10; i++) finish(t[i]);
}

// posix_spawn's child runs in the parent's memory until its exec. What it does to its descriptors there (close them, put others in their
// place) must not be taken for ours: threads wait on the same numbers.
static void* wait_for_a_byte(void* fd) {
  read_byte(*(int*)fd);
  return NULL;
}

CASE(spawned_child_closes_what_others_read) {
  int fd[20][2];
  pthread_t t[20];
  for (int i = 0; i < 20; i++) {
    SYS(pipe(fd[i]));
    t[i] = start(wait_for_a_byte, fd[i]);
    sched_yield();
  }
  posix_spawn_file_actions_t a;
  OK(posix_spawn_file_actions_init(&a));
  for (int i = 0; i < 18; i++) OK(posix_spawn_file_actions_addclose(&a, fd[i][0]));
  OK(posix_spawn_file_actions_adddup2(&a, fd[0][1], fd[18][0]));
  OK(posix_spawn_file_actions_addopen(&a, fd[19][0], "/dev/null", O_RDONLY, 0));
  for (int i = 0; i < 5; i++) {
    pid_t pid;
    int status;
    char* args[] = {"true", NULL};
    extern char** environ;
    OK(posix_spawnp(&pid, "true", &a, NULL, args, environ));
    EQ(waitpid(pid, &status, 0), pid);
    EQ(status, 0);
  }
  OK(posix_spawn_file_actions_destroy(&a));
  for (int i = 20; i-- > 0;) write_byte(fd[i][1]);
  for (int i = 0; i < 20; i++) {
    finish(t[i]);
    close_pair(fd[i]);
  }
}

// ---- malloc's locks: few arenas, and blocks that change hands (freed where they were not made).
static void* _Atomic blocks[64];
static void* exchange_blocks(void* argument) {
  unsigned seed = (unsigned)(intptr_t)argument * 2654435761u + 1;
  for (int i = 0; i < 3000; i++) {
    seed = seed * 1664525 + 1013904223;
    size_t n = 2000 + (seed >> 8) % 40000; // beyond the thread's own cache
    unsigned char* p = malloc(n);
    CHECK(p);
    p[0] = p[n - 1] = 7;
    free(atomic_exchange(&blocks[seed >> 26], p));
    if (i % 64 == 0) sched_yield();
  }
  return NULL;
}

CASE(malloc_from_many_threads) {
  pthread_t t[64];
  for (int i = 0; i < 64; i++) t[i] = start(exchange_blocks, (void*)(intptr_t)i);
  for (int i = 0; i < 64; i++) finish(t[i]);
  for (int i = 0; i < 64; i++) free(atomic_exchange(&blocks[i], NULL));
}

// ---- numbers that stdio closes and that are new ones' at once, with waiters of the old kind on them before
CASE(numbers_closed_by_stdio) {
  for (int round = 0; round < 200; round++) {
    int fd[2];
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    pthread_t t = start(line_server, (void*)(intptr_t)fd[1]);
    CHECK(dprintf(fd[0], "x\n") == 2);
    expect_line(fd[0], "line 1: x\n");
    SYS(close(fd[0]));
    finish(t); // which closes fd[1] inside fclose
    FILE* f = fopen("/proc/self/status", "r"); // one of the two numbers, another kind
    CHECK(f);
    char line[100];
    CHECK(fgets(line, sizeof line, f));
    EQ(strncmp(line, "Name:", 5), 0);
    OK(fclose(f));
  }
}
