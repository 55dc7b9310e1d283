#include "dump_process.hpp"
#include "fail.hpp"
#include "runtime/callnames.hpp"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <elf.h>
#include <fmt/core.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/uio.h>
#include <unistd.h>

namespace look = gmp::look;
namespace gmpcmd {
namespace {

std::string read_link(const std::string& path) {
  char to[4096];
  auto n = readlink(path.c_str(), to, sizeof to);
  return n < 0 ? "" : std::string(to, std::size_t(n));
}

std::string proc(int pid, const std::string& file) { return fmt::format("/proc/{}/{}", pid, file); }

// The note of runtime/record.hpp, in the library as it is mapped. 0: there is none.
unsigned long record_in(const look::Memory& memory, unsigned long base) {
  Elf64_Ehdr header;
  if (!memory.get(base, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phnum > 64)
    return 0;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!memory.get(base + header.e_phoff + i * sizeof segment, &segment) || segment.p_type != PT_NOTE ||
        segment.p_memsz > 65536)
      continue;
    std::vector<char> notes(segment.p_memsz);
    if (!memory.copy(&memory, base + segment.p_vaddr, notes.data(), notes.size())) continue;
    const auto align = [&](std::size_t n) { return gmp::align_up(n, segment.p_align == 8 ? 8 : 4); };
    for (std::size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
      Elf64_Nhdr note;
      std::memcpy(&note, notes.data() + at, sizeof note);
      const auto name = at + sizeof note, contents = name + align(note.n_namesz), end = contents + align(note.n_descsz);
      if (end > notes.size() || end <= at) break;
      if (note.n_type == gmp::kRecordNote && note.n_namesz == 4 && std::memcmp(notes.data() + name, "gmp", 4) == 0 &&
          note.n_descsz == 8) {
        long distance;
        std::memcpy(&distance, notes.data() + contents, 8);
        return base + segment.p_vaddr + contents + static_cast<unsigned long>(distance);
      }
      at = end;
    }
  }
  return 0;
}

[[noreturn]] void not_permitted(int pid, int error) {
  std::string scope;
  std::ifstream("/proc/sys/kernel/yama/ptrace_scope") >> scope;
  throw Failure(kCannotExecute,
                fmt::format("process {} can't be read: {}{}", pid, std::strerror(error),
                            !scope.empty() && scope != "0" && geteuid() != 0
                              ? " (kernel.yama.ptrace_scope=" + scope + ": as root, or in the process by GMP_DEBUG=dumpsig=N)"
                              : " (as for a debugger: the same user, or root)"));
}

int read_error(int pid, unsigned long at) {
  char byte;
  iovec here{&byte, 1}, there{reinterpret_cast<void*>(at), 1};
  return process_vm_readv(pid, &here, 1, &there, 1, 0) == 1 ? 0 : errno;
}

} // namespace

std::string call_name(long number) {
  for (auto& call : gmp::kCallNames)
    if (call.number == number) return call.name;
  return fmt::format("system call {}", number);
}

Process::Process(int pid) : memory_{look::read_process, pid} {
  std::ifstream maps(proc(pid, "maps"));
  if (!maps) {
    int error = errno;
    if (error == ENOENT || error == ESRCH) throw Failure(kNotFound, fmt::format("there is no process {}", pid));
    not_permitted(pid, error);
  }
  unsigned long& record = record_;
  bool any = false;
  std::string line, last;
  while (std::getline(maps, line)) {
    unsigned long from = 0, offset = 0;
    int path = 0;
    if (std::sscanf(line.c_str(), "%lx-%*x %*s %lx %*s %*s %n", &from, &offset, &path) < 2) continue;
    any = true;
    if (offset != 0 || path == 0 || line[std::size_t(path)] != '/' || line.substr(std::size_t(path)) == last) continue;
    last = line.substr(std::size_t(path));
    if (int error = read_error(pid, from); error && error != EFAULT) not_permitted(pid, error); // EFAULT: a device's, say
    record = record_in(memory_, from);
    if (record) break;
  }
  if (!any) throw Failure(kNotFound, fmt::format("process {} has no memory: a zombie or a kernel thread", pid));
  if (!record)
    throw Failure(kCannotExecute, fmt::format("process {} ({}) does not run under libgmp.so: see gdb -p {}", pid, name(), pid));
  if (const char* why = look::learn(memory_, record, &layout_))
    throw Failure(kCannotExecute, fmt::format("process {} ({}): {}", pid, name(), why));
  switch (gmp::Mode(value<int>(layout_.mode, 0))) {
  case gmp::Mode::Native:
    throw Failure(kCannotExecute, fmt::format("process {} ({}) runs natively, libgmp.so stands aside there: see gdb -p {}", pid, name(), pid));
  case gmp::Mode::Unstarted:
    throw Failure(kCannotExecute, fmt::format("process {} ({}) has made no thread yet: see gdb -p {}", pid, name(), pid));
  case gmp::Mode::Running: break;
  }
  learn_namespace();
}

// "NSpid: 4711 12": 12 to itself.
void Process::learn_namespace() {
  std::error_code error;
  for (auto& task : std::filesystem::directory_iterator(proc(pid(), "task"), error)) {
    std::ifstream status(task.path() / "status");
    std::string line;
    while (std::getline(status, line)) {
      if (!line.starts_with("NSpid:")) continue;
      std::istringstream numbers(line.substr(6));
      int first = 0, last = 0;
      numbers >> first;
      while (numbers >> last) {}
      if (last == 0) return; // the same namespace as ours
      outside_[last] = first;
    }
  }
}

bool Process::read(unsigned long at, look::Thread& thread) const {
  if (!look::read(memory_, layout_, at, &thread)) return false;
  auto found = outside_.find(thread.kernel_tid);
  if (found != outside_.end()) thread.kernel_tid = found->second;
  return true;
}

std::string Process::name() const {
  std::ifstream file(proc(pid(), "comm"));
  std::string text;
  return std::getline(file, text) ? text : "?";
}

bool Process::gone() const {
  char probe;
  return !memory_.get(layout_.allg, &probe);
}

std::vector<look::Thread> Process::threads() const {
  std::vector<look::Thread> all;
  int n = -1;
  for (int round = 0; round < 20 && (n < 0 || n > int(all.size())); ++round) {
    if (gone()) throw Failure(kNotFound, fmt::format("process {} has ended meanwhile", pid()));
    all.resize(std::size_t(value<long>(layout_.ng, 0)) + 256);
    n = look::read_all(memory_, layout_, all.data(), int(all.size()));
  }
  if (n < 0) throw Failure(kCannotMeasure, fmt::format("process {} makes and ends threads too fast to list them: try again", pid()));
  all.resize(std::min(std::size_t(n), all.size()));
  for (auto& thread : all)
    if (auto found = outside_.find(thread.kernel_tid); found != outside_.end()) thread.kernel_tid = found->second;
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.goid < b.goid; });
  std::vector<int> by_tid(all.size()), by_tp(all.size());
  look::link(memory_, all.data(), int(all.size()), by_tid.data(), by_tp.data());
  return all;
}

std::vector<int> Process::deadlocks(const std::vector<look::Thread>& all) const {
  std::vector<int> mark(all.size()), found;
  look::circles(all.data(), int(all.size()), mark.data(), [&](int i) { found.push_back(i); });
  if (found.empty()) return found;
  usleep(20000); // whoever had just been given a lock has said so by now
  auto lasting = [&](int start) {
    int i = start;
    do {
      if (!look::still_so(memory_, layout_, all[std::size_t(i)])) return false;
      i = all[std::size_t(i)].blocker;
    } while (i != start);
    auto again = all;
    std::vector<int> by_tid(all.size()), by_tp(all.size());
    look::link(memory_, again.data(), int(again.size()), by_tid.data(), by_tp.data());
    do {
      if (again[std::size_t(i)].blocker != all[std::size_t(i)].blocker) return false;
      i = all[std::size_t(i)].blocker;
    } while (i != start);
    return true;
  };
  std::erase_if(found, [&](int i) { return !lasting(i); });
  return found;
}

std::string Process::wait_of(const std::vector<look::Thread>& all, const look::Thread& thread) const {
  char text[2048];
  auto what = [&](int fd, char* to, std::size_t size) { gmp::format(to, size, "%s", descriptor(fd).c_str()); };
  look::describe_wait(memory_, all.data(), int(all.size()), thread, what, text, sizeof text);
  return text;
}

std::string Process::link_of(const std::vector<look::Thread>& all, int i) const {
  char text[256];
  look::describe_link(memory_, all.data(), i, text, sizeof text);
  return text;
}

const std::string& Process::descriptor(int fd) const {
  auto known = descriptors_.find(fd);
  if (known != descriptors_.end()) return known->second;
  return descriptors_[fd] = read_link(proc(pid(), fmt::format("fd/{}", fd)));
}

KernelThread Process::kernel_thread(int tid) const {
  KernelThread thread;
  std::string text;
  std::ifstream file(proc(pid(), fmt::format("task/{}/syscall", tid)));
  if (std::getline(file, text)) {
    thread.known = true;
    thread.running = text.starts_with("running");
    if (text.starts_with("-1 ")) std::sscanf(text.c_str(), "-1 %lx %lx", &thread.sp, &thread.pc);
    else if (!thread.running)
      std::sscanf(text.c_str(), "%ld %lx %lx %lx %lx %lx %lx %lx %lx", &thread.call, &thread.argument[0], &thread.argument[1], &thread.argument[2],
                  &thread.argument[3], &thread.argument[4], &thread.argument[5], &thread.sp, &thread.pc);
  }
  std::ifstream stat(proc(pid(), fmt::format("task/{}/stat", tid)));
  if (std::getline(stat, text)) {
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::string word;
    for (int i = 3; i <= 39 && fields >> word; ++i)
      if (i == 39) thread.cpu = std::atoi(word.c_str());
  }
  return thread;
}

} // namespace gmpcmd
