// Where a dump or a debugger finds the Gs of a process, whether it lives, hangs or is a core file, and whether libgmp.so has its symbols or
// not: a note in the library points to a table of names with addresses and offsets. Names are not changed: scripts know them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gmp {

struct RecordEntry {
  char name[24];
  const void* at; // an address (of a variable), or null
  int64_t value;  // an offset or a number
};

struct Record {
  char magic[8]; // kRecordMagic
  uint32_t version, n;
  const RecordEntry* entries;
};
inline constexpr char kRecordMagic[8] = {'g', 'm', 'p', ' ', 'd', 'b', 'g', 0};
inline constexpr uint32_t kRecordVersion = 1; // what the numbers of states and reasons mean

// The note: name "gmp", type 1; its contents: 8 bytes, the record's address less that of these bytes.
inline constexpr uint32_t kRecordNote = 1;

const Record* debug_record(); // our own
void record_started(); // what is known only once the scheduler runs

} // namespace gmp
