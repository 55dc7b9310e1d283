// Hosts, nets, protocols, services: files, name servers, and whatever module /etc/nsswitch.conf names. Announced.
#include <aliases.h>
#include <netdb.h>
#include <netinet/ether.h>
#include <rpc/netdb.h>
#include "hooks/announce.hpp"

using namespace gmp;

GMP_ANNOUNCED(int, getaddrinfo, (const char* node, const char* service, const addrinfo* hints, addrinfo** found), (node, service, hints, found))
GMP_ANNOUNCED(int, getnameinfo, (const sockaddr* a, socklen_t n, char* host, socklen_t hn, char* serv, socklen_t sn, int flags), (a, n, host, hn, serv, sn, flags))
// GAI_WAIT waits for all; without it, for the lock of the list only.
GMP_ANNOUNCED(int, getaddrinfo_a, (int mode, gaicb** list, int n, sigevent* event), (mode, list, n, event))
GMP_ANNOUNCED(int, gai_suspend, (const gaicb* const* list, int n, const timespec* timeout), (list, n, timeout))

GMP_ANNOUNCED(hostent*, gethostbyname, (const char* name), (name))
GMP_ANNOUNCED(hostent*, gethostbyname2, (const char* name, int af), (name, af))
GMP_ANNOUNCED(hostent*, gethostbyaddr, (const void* a, socklen_t n, int type), (a, n, type))
GMP_ANNOUNCED(hostent*, gethostent, (), ())
GMP_ANNOUNCED(int, gethostbyname_r, (const char* name, hostent* e, char* b, size_t n, hostent** r, int* err), (name, e, b, n, r, err))
GMP_ANNOUNCED(int, gethostbyname2_r, (const char* name, int af, hostent* e, char* b, size_t n, hostent** r, int* err), (name, af, e, b, n, r, err))
GMP_ANNOUNCED(int, gethostbyaddr_r, (const void* a, socklen_t an, int type, hostent* e, char* b, size_t n, hostent** r, int* err), (a, an, type, e, b, n, r, err))
GMP_ANNOUNCED(int, gethostent_r, (hostent* e, char* b, size_t n, hostent** r, int* err), (e, b, n, r, err))

GMP_ANNOUNCED(netent*, getnetbyname, (const char* name), (name))
GMP_ANNOUNCED(netent*, getnetbyaddr, (uint32_t net, int type), (net, type))
GMP_ANNOUNCED(netent*, getnetent, (), ())
GMP_ANNOUNCED(int, getnetbyname_r, (const char* name, netent* e, char* b, size_t n, netent** r, int* err), (name, e, b, n, r, err))
GMP_ANNOUNCED(int, getnetbyaddr_r, (uint32_t net, int type, netent* e, char* b, size_t n, netent** r, int* err), (net, type, e, b, n, r, err))
GMP_ANNOUNCED(int, getnetent_r, (netent* e, char* b, size_t n, netent** r, int* err), (e, b, n, r, err))

GMP_ANNOUNCED(protoent*, getprotobyname, (const char* name), (name))
GMP_ANNOUNCED(protoent*, getprotobynumber, (int number), (number))
GMP_ANNOUNCED(protoent*, getprotoent, (), ())
GMP_ANNOUNCED(int, getprotobyname_r, (const char* name, protoent* e, char* b, size_t n, protoent** r), (name, e, b, n, r))
GMP_ANNOUNCED(int, getprotobynumber_r, (int number, protoent* e, char* b, size_t n, protoent** r), (number, e, b, n, r))
GMP_ANNOUNCED(int, getprotoent_r, (protoent* e, char* b, size_t n, protoent** r), (e, b, n, r))

GMP_ANNOUNCED(servent*, getservbyname, (const char* name, const char* proto), (name, proto))
GMP_ANNOUNCED(servent*, getservbyport, (int port, const char* proto), (port, proto))
GMP_ANNOUNCED(servent*, getservent, (), ())
GMP_ANNOUNCED(int, getservbyname_r, (const char* name, const char* proto, servent* e, char* b, size_t n, servent** r), (name, proto, e, b, n, r))
GMP_ANNOUNCED(int, getservbyport_r, (int port, const char* proto, servent* e, char* b, size_t n, servent** r), (port, proto, e, b, n, r))
GMP_ANNOUNCED(int, getservent_r, (servent* e, char* b, size_t n, servent** r), (e, b, n, r))

GMP_ANNOUNCED(rpcent*, getrpcbyname, (const char* name), (name), noexcept)
GMP_ANNOUNCED(rpcent*, getrpcbynumber, (int number), (number), noexcept)
GMP_ANNOUNCED(rpcent*, getrpcent, (), (), noexcept)
GMP_ANNOUNCED(int, getrpcbyname_r, (const char* name, rpcent* e, char* b, size_t n, rpcent** r), (name, e, b, n, r), noexcept)
GMP_ANNOUNCED(int, getrpcbynumber_r, (int number, rpcent* e, char* b, size_t n, rpcent** r), (number, e, b, n, r), noexcept)
GMP_ANNOUNCED(int, getrpcent_r, (rpcent* e, char* b, size_t n, rpcent** r), (e, b, n, r), noexcept)

GMP_ANNOUNCED(int, ether_hostton, (const char* host, ether_addr* a), (host, a), noexcept)
GMP_ANNOUNCED(int, ether_ntohost, (char* host, const ether_addr* a), (host, a), noexcept)

GMP_ANNOUNCED(aliasent*, getaliasbyname, (const char* name), (name), noexcept)
GMP_ANNOUNCED(aliasent*, getaliasent, (), (), noexcept)
GMP_ANNOUNCED(int, getaliasbyname_r, (const char* name, aliasent* e, char* b, size_t n, aliasent** r), (name, e, b, n, r), noexcept)
GMP_ANNOUNCED(int, getaliasent_r, (aliasent* e, char* b, size_t n, aliasent** r), (e, b, n, r), noexcept)
