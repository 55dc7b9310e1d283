// Who is logged in: a file of our own, in both names of each call; a look-up waits for another process's lock.
#include "beside.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <utmp.h>
#include <utmpx.h>

static char file[] = "/tmp/gmp-utmp-XXXXXX";

static struct utmp entry(const char* line, const char* id, const char* user) {
  struct utmp u = {.ut_type = USER_PROCESS, .ut_pid = 4711};
  strncpy(u.ut_line, line, sizeof u.ut_line);
  strncpy(u.ut_id, id, sizeof u.ut_id);
  strncpy(u.ut_user, user, sizeof u.ut_user);
  return u;
}

static void own_file(void) {
  memcpy(strchr(file, 0) - 6, "XXXXXX", 6);
  int fd = mkstemp(file);
  SYS(fd);
  SYS(close(fd));
  OK(utmpname(file));
}

CASE_ANYWHERE(entries) {
  own_file();
  struct utmp one = entry("gmp/1", "g1", "ann"), two = entry("gmp/2", "g2", "bob"), b, *r;
  struct utmpx onex, twox;
  memcpy(&onex, &one, sizeof onex);
  memcpy(&twox, &two, sizeof twox);
  setutent();
  CHECK(pututline(&one));
  setutxent();
  CHECK(pututxline(&twox));
  setutent();
  CHECK((r = getutent()) && strcmp(r->ut_user, "ann") == 0);
  OK(getutent_r(&b, &r));
  CHECK(r == &b && strcmp(b.ut_user, "bob") == 0);
  EQ(getutent_r(&b, &r), -1);
  setutxent();
  CHECK(getutxent() && getutxent() && !getutxent());
  setutent();
  CHECK((r = getutid(&two)) && strcmp(r->ut_user, "bob") == 0);
  setutent();
  OK(getutid_r(&one, &b, &r));
  CHECK(strcmp(b.ut_user, "ann") == 0);
  setutent();
  CHECK((r = getutline(&two)) && strcmp(r->ut_user, "bob") == 0);
  setutent();
  OK(getutline_r(&one, &b, &r));
  CHECK(strcmp(b.ut_user, "ann") == 0);
  setutxent();
  struct utmpx* x;
  CHECK((x = getutxid(&twox)) && strcmp(x->ut_user, "bob") == 0);
  setutxent();
  CHECK((x = getutxline(&onex)) && strcmp(x->ut_user, "ann") == 0);
  endutxent();
  struct stat st;
  SYS(stat(file, &st));
  EQ(st.st_size, 2 * sizeof one);
  updwtmp(file, &one);
  updwtmpx(file, &twox);
  SYS(stat(file, &st));
  EQ(st.st_size, 4 * sizeof one);
  SYS(unlink(file));
}

// These write to the machine's own files: as somebody who may not.
CASE_ANYWHERE(log_in_and_out) {
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(2);
    struct utmp one = entry("gmp/1", "g1", "ann");
    login(&one);
    logwtmp("gmp/1", "ann", "here");
    _exit(logout("gmp/no-such-line") == 0 ? 0 : 1);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
}

extern int __getlogin_r_chk(char*, size_t, size_t);
CASE_ANYWHERE(own_name) {
  char name[64] = "", again[64] = "", id[L_cuserid] = "";
  char* plain = getlogin();
  int rc = getlogin_r(name, sizeof name);
  CHECK((rc == 0) == (plain != NULL));
  if (plain) CHECK(strcmp(plain, name) == 0);
  EQ(__getlogin_r_chk(again, sizeof again, sizeof again), rc);
  CHECK(strcmp(name, again) == 0);
  CHECK(cuserid(id) == id);
  if (geteuid() == 0) CHECK(strcmp(id, "root") == 0);
}

static int locked;
static void* look_up(void* argument) {
  struct utmp b, *r;
  blocking = true;
  OK(getutent_r(&b, &r));
  CHECK(strcmp(b.ut_user, "ann") == 0);
  return argument;
}
static void unlock(void* argument) {
  (void)argument;
  struct flock range = {.l_type = F_UNLCK};
  SYS(fcntl(locked, F_OFD_SETLK, &range));
}

CASE(locked_file) {
  own_file();
  struct utmp one = entry("gmp/1", "g1", "ann");
  setutent();
  CHECK(pututline(&one));
  locked = open(file, O_RDWR);
  SYS(locked);
  struct flock range = {.l_type = F_WRLCK};
  SYS(fcntl(locked, F_OFD_SETLK, &range));
  setutent();
  beside(look_up, NULL, unlock);
  endutent();
  SYS(close(locked));
  SYS(unlink(file));
}
