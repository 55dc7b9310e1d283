// Hosts, nets, protocols, services: files, name servers, and whatever module /etc/nsswitch.conf names.
#include <aliases.h>
#include <netdb.h>
#include <netinet/ether.h>
#include <rpc/netdb.h>
#include "hooks/announce.hpp"

using namespace gmp;

GMP_PARKS_INSIDE(int, getaddrinfo, (const char* node, const char* service, const addrinfo* hints, addrinfo** found), (node, service, hints, found))
GMP_PARKS_INSIDE(int, getnameinfo, (const sockaddr* a, socklen_t n, char* host, socklen_t hn, char* serv, socklen_t sn, int flags), (a, n, host, hn, serv, sn, flags))
// GAI_WAIT waits for all; without it, for the lock of the list only.
GMP_ANNOUNCED(int, getaddrinfo_a, (int mode, gaicb** list, int n, sigevent* event), (mode, list, n, event))
GMP_ANNOUNCED(int, gai_suspend, (const gaicb* const* list, int n, const timespec* timeout), (list, n, timeout))

GMP_PARKS_INSIDE(hostent*, gethostbyname, (const char* name), (name))
GMP_PARKS_INSIDE(hostent*, gethostbyname2, (const char* name, int af), (name, af))
GMP_PARKS_INSIDE(hostent*, gethostbyaddr, (const void* a, socklen_t n, int type), (a, n, type))
GMP_PARKS_INSIDE(hostent*, gethostent, (), ())
GMP_PARKS_INSIDE(int, gethostbyname_r, (const char* name, hostent* e, char* b, size_t n, hostent** r, int* err), (name, e, b, n, r, err))
GMP_PARKS_INSIDE(int, gethostbyname2_r, (const char* name, int af, hostent* e, char* b, size_t n, hostent** r, int* err), (name, af, e, b, n, r, err))
GMP_PARKS_INSIDE(int, gethostbyaddr_r, (const void* a, socklen_t an, int type, hostent* e, char* b, size_t n, hostent** r, int* err), (a, an, type, e, b, n, r, err))
GMP_PARKS_INSIDE(int, gethostent_r, (hostent* e, char* b, size_t n, hostent** r, int* err), (e, b, n, r, err))

GMP_PARKS_INSIDE(netent*, getnetbyname, (const char* name), (name))
GMP_PARKS_INSIDE(netent*, getnetbyaddr, (uint32_t net, int type), (net, type))
GMP_PARKS_INSIDE(netent*, getnetent, (), ())
GMP_PARKS_INSIDE(int, getnetbyname_r, (const char* name, netent* e, char* b, size_t n, netent** r, int* err), (name, e, b, n, r, err))
GMP_PARKS_INSIDE(int, getnetbyaddr_r, (uint32_t net, int type, netent* e, char* b, size_t n, netent** r, int* err), (net, type, e, b, n, r, err))
GMP_PARKS_INSIDE(int, getnetent_r, (netent* e, char* b, size_t n, netent** r, int* err), (e, b, n, r, err))

GMP_PARKS_INSIDE(protoent*, getprotobyname, (const char* name), (name))
GMP_PARKS_INSIDE(protoent*, getprotobynumber, (int number), (number))
GMP_PARKS_INSIDE(protoent*, getprotoent, (), ())
GMP_PARKS_INSIDE(int, getprotobyname_r, (const char* name, protoent* e, char* b, size_t n, protoent** r), (name, e, b, n, r))
GMP_PARKS_INSIDE(int, getprotobynumber_r, (int number, protoent* e, char* b, size_t n, protoent** r), (number, e, b, n, r))
GMP_PARKS_INSIDE(int, getprotoent_r, (protoent* e, char* b, size_t n, protoent** r), (e, b, n, r))

GMP_PARKS_INSIDE(servent*, getservbyname, (const char* name, const char* proto), (name, proto))
GMP_PARKS_INSIDE(servent*, getservbyport, (int port, const char* proto), (port, proto))
GMP_PARKS_INSIDE(servent*, getservent, (), ())
GMP_PARKS_INSIDE(int, getservbyname_r, (const char* name, const char* proto, servent* e, char* b, size_t n, servent** r), (name, proto, e, b, n, r))
GMP_PARKS_INSIDE(int, getservbyport_r, (int port, const char* proto, servent* e, char* b, size_t n, servent** r), (port, proto, e, b, n, r))
GMP_PARKS_INSIDE(int, getservent_r, (servent* e, char* b, size_t n, servent** r), (e, b, n, r))

GMP_PARKS_INSIDE(rpcent*, getrpcbyname, (const char* name), (name), noexcept)
GMP_PARKS_INSIDE(rpcent*, getrpcbynumber, (int number), (number), noexcept)
GMP_PARKS_INSIDE(rpcent*, getrpcent, (), (), noexcept)
GMP_PARKS_INSIDE(int, getrpcbyname_r, (const char* name, rpcent* e, char* b, size_t n, rpcent** r), (name, e, b, n, r), noexcept)
GMP_PARKS_INSIDE(int, getrpcbynumber_r, (int number, rpcent* e, char* b, size_t n, rpcent** r), (number, e, b, n, r), noexcept)
GMP_PARKS_INSIDE(int, getrpcent_r, (rpcent* e, char* b, size_t n, rpcent** r), (e, b, n, r), noexcept)

GMP_PARKS_INSIDE(int, ether_hostton, (const char* host, ether_addr* a), (host, a), noexcept)
GMP_PARKS_INSIDE(int, ether_ntohost, (char* host, const ether_addr* a), (host, a), noexcept)

GMP_PARKS_INSIDE(aliasent*, getaliasbyname, (const char* name), (name), noexcept)
GMP_PARKS_INSIDE(aliasent*, getaliasent, (), (), noexcept)
GMP_PARKS_INSIDE(int, getaliasbyname_r, (const char* name, aliasent* e, char* b, size_t n, aliasent** r), (name, e, b, n, r), noexcept)
GMP_PARKS_INSIDE(int, getaliasent_r, (aliasent* e, char* b, size_t n, aliasent** r), (e, b, n, r), noexcept)
