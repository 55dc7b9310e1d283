// Users, groups, their secrets, net groups: every call of their families. The reentrant form and the other must agree.
#include "beside.h"
#include <fcntl.h>
#include <grp.h>
#include <gshadow.h>
#include <netdb.h>
#include <nss.h>
#include <pwd.h>
#include <shadow.h>
#include <sys/wait.h>

static char room[65536];
#define ROOM room, sizeof room

__attribute__((constructor)) static void files_only(void) {
  const char* tables[] = {"passwd", "group", "shadow", "gshadow", "netgroup", "initgroups"};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) __nss_configure_lookup(tables[i], "files");
}

// By its version the linker gives it without a warning.
__asm__(".symver old_getpw, getpw@GLIBC_2.2.5");
extern int old_getpw(uid_t, char*);

CASE_ANYWHERE(users) {
  struct passwd e, *r, *p = getpwnam("root");
  CHECK(p);
  EQ(p->pw_uid, 0);
  CHECK(!getpwnam("no-such-user-gmp"));
  OK(getpwnam_r("root", &e, ROOM, &r));
  CHECK(r == &e);
  EQ(e.pw_uid, 0);
  EQ(getpwnam_r("root", &e, room, 1, &r), ERANGE);
  OK(getpwnam_r("no-such-user-gmp", &e, ROOM, &r));
  CHECK(!r);
  p = getpwuid(1);
  CHECK(p && strcmp(p->pw_name, "daemon") == 0);
  OK(getpwuid_r(1, &e, ROOM, &r));
  CHECK(r && strcmp(e.pw_name, "daemon") == 0);
  int plain = 0, reentrant = 0;
  setpwent();
  while (getpwent()) plain++;
  setpwent();
  while (getpwent_r(&e, ROOM, &r) == 0) reentrant++;
  endpwent();
  CHECK(plain > 5);
  EQ(plain, reentrant);
  OK(old_getpw(0, room));
  CHECK(strncmp(room, "root:", 5) == 0);
}

CASE_ANYWHERE(groups) {
  struct group e, *r, *g = getgrnam("root");
  CHECK(g);
  EQ(g->gr_gid, 0);
  OK(getgrnam_r("daemon", &e, ROOM, &r));
  CHECK(r);
  EQ(e.gr_gid, 1);
  g = getgrgid(1);
  CHECK(g && strcmp(g->gr_name, "daemon") == 0);
  OK(getgrgid_r(0, &e, ROOM, &r));
  CHECK(r && strcmp(e.gr_name, "root") == 0);
  int plain = 0, reentrant = 0;
  setgrent();
  while (getgrent()) plain++;
  setgrent();
  while (getgrent_r(&e, ROOM, &r) == 0) reentrant++;
  endgrent();
  CHECK(plain > 5);
  EQ(plain, reentrant);
  gid_t list[64];
  int n = 64;
  CHECK(getgrouplist("daemon", 1, list, &n) >= 1);
  EQ(list[0], 1);
  n = 0;
  EQ(getgrouplist("daemon", 1, list, &n), -1);
}

// Before there are threads: it changes the credentials of all.
CASE_ALONE(initial_groups) {
  if (geteuid() == 0) OK(initgroups("root", 0));
  else ERRNO(initgroups("root", 0), EPERM);
  gid_t list[64];
  CHECK(getgroups(64, list) >= 0);
}

// Only root may read these.
CASE_ANYWHERE(secrets) {
  const bool may = geteuid() == 0;
  struct spwd s, *sr = NULL;
  struct sgrp g, *gr = NULL;
  CHECK(!!getspnam("root") == may);
  CHECK((getspnam_r("root", &s, ROOM, &sr) == 0 && sr) == may);
  CHECK(!!getsgnam("root") == may);
  CHECK((getsgnam_r("root", &g, ROOM, &gr) == 0 && gr) == may);
  int plain = 0, reentrant = 0;
  setspent();
  while (getspent()) plain++;
  setspent();
  while (getspent_r(&s, ROOM, &sr) == 0) reentrant++;
  endspent();
  CHECK((plain > 5) == may);
  EQ(plain, reentrant);
  plain = reentrant = 0;
  setsgent();
  while (getsgent()) plain++;
  setsgent();
  while (getsgent_r(&g, ROOM, &gr) == 0) reentrant++;
  endsgent();
  CHECK((plain > 5) == may);
  EQ(plain, reentrant);
}

// The base system has no net groups: a pattern that is in none.
CASE_ANYWHERE(net_groups) {
  EQ(innetgr("no-such-netgroup", "host", "user", "domain"), 0);
  EQ(setnetgrent("no-such-netgroup"), 0);
  char *host, *user, *domain;
  EQ(getnetgrent(&host, &user, &domain), 0);
  EQ(getnetgrent_r(&host, &user, &domain, ROOM), 0);
  endnetgrent();
}

static void* lock_passwords(void* argument) {
  blocking = true;
  EQ(lckpwdf(), 0);
  EQ(lckpwdf(), -1); // it is ours already
  EQ(ulckpwdf(), 0);
  return argument;
}
static int release_to[2];
static void release_holder(void* argument) {
  EQ(write(release_to[1], argument, 1), 1);
}

// Another process has the lock of the machine's password files.
CASE(password_lock) {
  if (geteuid() != 0) {
    EQ(lckpwdf(), -1);
    return;
  }
  int held[2];
  SYS(pipe(held));
  SYS(pipe(release_to));
  pid_t holder = fork();
  SYS(holder);
  if (holder == 0) {
    char c = 'h';
    if (lckpwdf() != 0 || write(held[1], &c, 1) != 1 || read(release_to[0], &c, 1) != 1) _exit(1);
    _exit(ulckpwdf());
  }
  char c;
  EQ(read(held[0], &c, 1), 1);
  beside(lock_passwords, "r", release_holder);
  int status;
  EQ(waitpid(holder, &status, 0), holder);
  EQ(status, 0);
}
