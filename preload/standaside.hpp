#pragma once

namespace gmp {
// Why this process can't be served, or null. Looks at what is in memory already; a microsecond for `ls`.
const char* why_stand_aside();
} // namespace gmp
