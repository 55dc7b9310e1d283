// Questions to name servers. Each has a second name, for programs linked before glibc 2.34.
#include <netdb.h>
#include <resolv.h>
#include "hooks/announce.hpp"

using namespace gmp;

using Text = const char*;
using Bytes = const unsigned char*;
using Answer = unsigned char*;

#define WITH_OLD_NAME(name, parameters, arguments)                                                                     \
  GMP_PARKS_INSIDE(int, name, parameters, arguments, noexcept)                                                            \
  extern "C" int __##name parameters noexcept;                                                                         \
  GMP_PARKS_INSIDE_V("GLIBC_2.2.5", int, __##name, parameters, arguments, noexcept)

WITH_OLD_NAME(res_query, (Text name, int cls, int type, Answer a, int n), (name, cls, type, a, n))
WITH_OLD_NAME(res_querydomain, (Text name, Text domain, int cls, int type, Answer a, int n), (name, domain, cls, type, a, n))
WITH_OLD_NAME(res_search, (Text name, int cls, int type, Answer a, int n), (name, cls, type, a, n))
WITH_OLD_NAME(res_send, (Bytes q, int qn, Answer a, int n), (q, qn, a, n))
WITH_OLD_NAME(res_nquery, (res_state s, Text name, int cls, int type, Answer a, int n), (s, name, cls, type, a, n))
WITH_OLD_NAME(res_nquerydomain, (res_state s, Text name, Text domain, int cls, int type, Answer a, int n), (s, name, domain, cls, type, a, n))
WITH_OLD_NAME(res_nsearch, (res_state s, Text name, int cls, int type, Answer a, int n), (s, name, cls, type, a, n))
WITH_OLD_NAME(res_nsend, (res_state s, Bytes q, int qn, Answer a, int n), (s, q, qn, a, n))
