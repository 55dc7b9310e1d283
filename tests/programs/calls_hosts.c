// Hosts, nets, protocols, services, RPC numbers, Ethernet addresses, mail aliases: every call of their families, by the tables that
// Debian's base system has (netbase). The reentrant form and the other must agree.
#include "beside.h"
#include "net.h"
#include <aliases.h>
#include <netdb.h>
#include <netinet/ether.h>
#include <nss.h>
#include <rpc/netdb.h>
#include <signal.h>

static char room[8192];
#define ROOM room, sizeof room

// Names of services are set once, before any look-up: these tests are about the calls, not about this machine's settings.
__attribute__((constructor)) static void files_only(void) {
  const char* tables[] = {"hosts", "networks", "protocols", "services", "rpc", "ethers", "aliases", "netgroup"};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) __nss_configure_lookup(tables[i], "files");
}

static void is_loopback(const struct hostent* h) {
  CHECK(h);
  EQ(h->h_addrtype, AF_INET);
  EQ(h->h_length, 4);
  uint32_t a;
  memcpy(&a, h->h_addr_list[0], 4);
  EQ(ntohl(a), INADDR_LOOPBACK);
}

CASE_ANYWHERE(hosts) {
  struct hostent e, *r;
  int error = 0;
  is_loopback(gethostbyname("127.0.0.1"));
  is_loopback(gethostbyname("localhost"));
  is_loopback(gethostbyname2("localhost", AF_INET));
  OK(gethostbyname_r("localhost", &e, ROOM, &r, &error));
  is_loopback(r);
  OK(gethostbyname2_r("localhost", AF_INET, &e, ROOM, &r, &error));
  is_loopback(r);
  EQ(gethostbyname_r("localhost", &e, room, 1, &r, &error), ERANGE);
  CHECK(!gethostbyname("no-such-host.gmp-test.invalid"));
  EQ(h_errno, HOST_NOT_FOUND);
  struct in_addr a = {htonl(INADDR_LOOPBACK)};
  is_loopback(gethostbyaddr(&a, sizeof a, AF_INET));
  OK(gethostbyaddr_r(&a, sizeof a, AF_INET, &e, ROOM, &r, &error));
  is_loopback(r);
  int plain = 0, reentrant = 0;
  sethostent(0);
  while (gethostent()) plain++;
  sethostent(0);
  while (gethostent_r(&e, ROOM, &r, &error) == 0) reentrant++;
  endhostent();
  CHECK(plain > 0);
  EQ(plain, reentrant);
}

CASE_ANYWHERE(nets) {
  struct netent e, *r, *n = getnetbyname("loopback");
  int error = 0;
  CHECK(n);
  EQ(n->n_net, 127u << 24);
  OK(getnetbyname_r("loopback", &e, ROOM, &r, &error));
  CHECK(r == &e && e.n_net == 127u << 24);
  n = getnetbyaddr(127u << 24, AF_INET);
  CHECK(n && strcmp(n->n_name, "loopback") == 0);
  OK(getnetbyaddr_r(127u << 24, AF_INET, &e, ROOM, &r, &error));
  CHECK(r && strcmp(e.n_name, "loopback") == 0);
  int plain = 0, reentrant = 0;
  setnetent(0);
  while (getnetent()) plain++;
  setnetent(0);
  while (getnetent_r(&e, ROOM, &r, &error) == 0) reentrant++;
  endnetent();
  CHECK(plain > 0);
  EQ(plain, reentrant);
}

CASE_ANYWHERE(protocols) {
  struct protoent e, *r, *p = getprotobyname("tcp");
  CHECK(p);
  EQ(p->p_proto, IPPROTO_TCP);
  OK(getprotobyname_r("udp", &e, ROOM, &r));
  CHECK(r);
  EQ(e.p_proto, IPPROTO_UDP);
  p = getprotobynumber(IPPROTO_ICMP);
  CHECK(p && strcmp(p->p_name, "icmp") == 0);
  OK(getprotobynumber_r(IPPROTO_TCP, &e, ROOM, &r));
  CHECK(r && strcmp(e.p_name, "tcp") == 0);
  int plain = 0, reentrant = 0;
  setprotoent(0);
  while (getprotoent()) plain++;
  setprotoent(0);
  while (getprotoent_r(&e, ROOM, &r) == 0) reentrant++;
  endprotoent();
  CHECK(plain > 10);
  EQ(plain, reentrant);
}

CASE_ANYWHERE(services) {
  struct servent e, *r, *s = getservbyname("ssh", "tcp");
  CHECK(s);
  EQ(ntohs((uint16_t)s->s_port), 22);
  CHECK(!getservbyname("no-such-service", NULL));
  OK(getservbyname_r("domain", "udp", &e, ROOM, &r));
  CHECK(r);
  EQ(ntohs((uint16_t)e.s_port), 53);
  s = getservbyport(htons(22), "tcp");
  CHECK(s && strcmp(s->s_name, "ssh") == 0);
  OK(getservbyport_r(htons(53), "udp", &e, ROOM, &r));
  CHECK(r && strcmp(e.s_name, "domain") == 0);
  int plain = 0, reentrant = 0;
  setservent(0);
  while (getservent()) plain++;
  setservent(0);
  while (getservent_r(&e, ROOM, &r) == 0) reentrant++;
  endservent();
  CHECK(plain > 100);
  EQ(plain, reentrant);
}

CASE_ANYWHERE(rpc_numbers) {
  struct rpcent e, *r, *p = getrpcbyname("nfs");
  CHECK(p);
  EQ(p->r_number, 100003);
  OK(getrpcbyname_r("portmapper", &e, ROOM, &r));
  CHECK(r);
  EQ(e.r_number, 100000);
  p = getrpcbynumber(100003);
  CHECK(p && strcmp(p->r_name, "nfs") == 0);
  OK(getrpcbynumber_r(100000, &e, ROOM, &r));
  CHECK(r && strcmp(e.r_name, "portmapper") == 0);
  int plain = 0, reentrant = 0;
  setrpcent(0);
  while (getrpcent()) plain++;
  setrpcent(0);
  while (getrpcent_r(&e, ROOM, &r) == 0) reentrant++;
  endrpcent();
  CHECK(plain > 10);
  EQ(plain, reentrant);
}

// No such file in the base system: nothing is found, and said so by each call in its way.
CASE_ANYWHERE(ethers_and_aliases) {
  struct ether_addr a = {{2, 0, 0, 0x47, 0x4d, 0x50}};
  char name[1024];
  CHECK(ether_hostton("no-such-host.gmp-test.invalid", &a) != 0);
  CHECK(ether_ntohost(name, &a) != 0);
  struct aliasent e, *r = &e;
  CHECK(!getaliasbyname("no-such-alias-gmp-test"));
  CHECK(getaliasbyname_r("no-such-alias-gmp-test", &e, ROOM, &r) != 0 && !r);
  int plain = 0, reentrant = 0;
  setaliasent();
  while (getaliasent()) plain++;
  setaliasent();
  while (getaliasent_r(&e, ROOM, &r) == 0) reentrant++;
  endaliasent();
  EQ(plain, reentrant);
}

CASE_ANYWHERE(addresses) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
  OK(getaddrinfo("localhost", "ssh", &hints, &found));
  struct sockaddr_in* a = (struct sockaddr_in*)found->ai_addr;
  EQ(ntohl(a->sin_addr.s_addr), INADDR_LOOPBACK);
  EQ(ntohs(a->sin_port), 22);
  char host[256], service[64];
  OK(getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service, 0));
  CHECK(strcmp(host, "localhost") == 0 && strcmp(service, "ssh") == 0);
  OK(getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service, NI_NUMERICHOST | NI_NUMERICSERV));
  CHECK(strcmp(host, "127.0.0.1") == 0 && strcmp(service, "22") == 0);
  freeaddrinfo(found);
  EQ(getaddrinfo("no-such-host.gmp-test.invalid", NULL, &hints, &found), EAI_NONAME);
}

// Answers come from threads of libc's own.
CASE_ANYWHERE(asynchronous_addresses) {
  struct gaicb one = {.ar_name = "localhost"}, two = {.ar_name = "127.0.0.1"}, *list[] = {&one, NULL, &two};
  struct sigevent none = {.sigev_notify = SIGEV_NONE};
  OK(getaddrinfo_a(GAI_WAIT, list, 3, NULL));
  OK(gai_error(&one));
  OK(gai_error(&two));
  freeaddrinfo(one.ar_result);
  freeaddrinfo(two.ar_result);
  OK(getaddrinfo_a(GAI_NOWAIT, list, 3, &none));
  const struct gaicb* wait_for[] = {&one};
  do { // at least once: the request may be done already, then it says so
    int rc = gai_suspend(wait_for, 1, NULL);
    CHECK(rc == 0 || rc == EAI_ALLDONE);
  } while (gai_error(&one) == EAI_INPROGRESS);
  OK(gai_error(&one));
  wait_for[0] = &two;
  while (gai_error(&two) == EAI_INPROGRESS) gai_suspend(wait_for, 1, NULL);
  OK(gai_error(&two));
  freeaddrinfo(one.ar_result);
  freeaddrinfo(two.ar_result);
}
