// Users, groups, who is logged in: files, a directory server behind a module, locks of the whole machine. Announced.
#include <grp.h>
#include <gshadow.h>
#include <netdb.h>
#include <pwd.h>
#include <shadow.h>
#include <unistd.h>
#include <utmp.h>
#include <utmpx.h>
#include "hooks/announce.hpp"

using namespace gmp;

GMP_PARKS_INSIDE(passwd*, getpwnam, (const char* name), (name))
GMP_PARKS_INSIDE(passwd*, getpwuid, (uid_t id), (id))
GMP_PARKS_INSIDE(passwd*, getpwent, (), ())
GMP_PARKS_INSIDE(int, getpwnam_r, (const char* name, passwd* e, char* b, size_t n, passwd** r), (name, e, b, n, r))
GMP_PARKS_INSIDE(int, getpwuid_r, (uid_t id, passwd* e, char* b, size_t n, passwd** r), (id, e, b, n, r))
GMP_PARKS_INSIDE(int, getpwent_r, (passwd* e, char* b, size_t n, passwd** r), (e, b, n, r))
GMP_PARKS_INSIDE(int, getpw, (uid_t id, char* line), (id, line))

GMP_PARKS_INSIDE(group*, getgrnam, (const char* name), (name))
GMP_PARKS_INSIDE(group*, getgrgid, (gid_t id), (id))
GMP_PARKS_INSIDE(group*, getgrent, (), ())
GMP_PARKS_INSIDE(int, getgrnam_r, (const char* name, group* e, char* b, size_t n, group** r), (name, e, b, n, r))
GMP_PARKS_INSIDE(int, getgrgid_r, (gid_t id, group* e, char* b, size_t n, group** r), (id, e, b, n, r))
GMP_PARKS_INSIDE(int, getgrent_r, (group* e, char* b, size_t n, group** r), (e, b, n, r))
GMP_ANNOUNCED(int, initgroups, (const char* user, gid_t also), (user, also))
GMP_PARKS_INSIDE(int, getgrouplist, (const char* user, gid_t also, gid_t* list, int* n), (user, also, list, n))

GMP_PARKS_INSIDE(spwd*, getspnam, (const char* name), (name))
GMP_PARKS_INSIDE(spwd*, getspent, (), ())
GMP_PARKS_INSIDE(int, getspnam_r, (const char* name, spwd* e, char* b, size_t n, spwd** r), (name, e, b, n, r))
GMP_PARKS_INSIDE(int, getspent_r, (spwd* e, char* b, size_t n, spwd** r), (e, b, n, r))
GMP_PARKS_INSIDE(sgrp*, getsgnam, (const char* name), (name))
GMP_PARKS_INSIDE(sgrp*, getsgent, (), ())
GMP_PARKS_INSIDE(int, getsgnam_r, (const char* name, sgrp* e, char* b, size_t n, sgrp** r), (name, e, b, n, r))
GMP_PARKS_INSIDE(int, getsgent_r, (sgrp* e, char* b, size_t n, sgrp** r), (e, b, n, r))
// Waits up to 15 s for another process.
GMP_ANNOUNCED(int, lckpwdf, (), (), noexcept)

GMP_PARKS_INSIDE(int, innetgr, (const char* g, const char* host, const char* user, const char* domain), (g, host, user, domain))
GMP_PARKS_INSIDE(int, setnetgrent, (const char* g), (g))
GMP_PARKS_INSIDE(int, getnetgrent, (char** host, char** user, char** domain), (host, user, domain))
GMP_PARKS_INSIDE(int, getnetgrent_r, (char** host, char** user, char** domain, char* b, size_t n), (host, user, domain, b, n))

GMP_ANNOUNCED(utmp*, getutent, (), (), noexcept)
GMP_ANNOUNCED(utmp*, getutid, (const utmp* id), (id), noexcept)
GMP_ANNOUNCED(utmp*, getutline, (const utmp* line), (line), noexcept)
GMP_ANNOUNCED(utmp*, pututline, (const utmp* line), (line), noexcept)
GMP_ANNOUNCED(int, getutent_r, (utmp* b, utmp** r), (b, r), noexcept)
GMP_ANNOUNCED(int, getutid_r, (const utmp* id, utmp* b, utmp** r), (id, b, r), noexcept)
GMP_ANNOUNCED(int, getutline_r, (const utmp* line, utmp* b, utmp** r), (line, b, r), noexcept)
GMP_ANNOUNCED(utmpx*, getutxent, (), ())
GMP_ANNOUNCED(utmpx*, getutxid, (const utmpx* id), (id))
GMP_ANNOUNCED(utmpx*, getutxline, (const utmpx* line), (line))
GMP_ANNOUNCED(utmpx*, pututxline, (const utmpx* line), (line))
GMP_ANNOUNCED(void, updwtmp, (const char* file, const utmp* line), (file, line), noexcept)
GMP_ANNOUNCED(void, updwtmpx, (const char* file, const utmpx* line), (file, line))
GMP_ANNOUNCED(void, login, (const utmp* line), (line), noexcept)
GMP_ANNOUNCED(int, logout, (const char* line), (line), noexcept)
GMP_ANNOUNCED(void, logwtmp, (const char* line, const char* name, const char* host), (line, name, host), noexcept)
GMP_ANNOUNCED(char*, getlogin, (), ())
GMP_ANNOUNCED(int, getlogin_r, (char* b, size_t n), (b, n))
extern "C" char* cuserid(char*); // no longer declared since 2.40
GMP_ANNOUNCED(char*, cuserid, (char* b), (b))
extern "C" int __getlogin_r_chk(char*, size_t, size_t);
GMP_ANNOUNCED(int, __getlogin_r_chk, (char* b, size_t n, size_t room), (b, n, room))
