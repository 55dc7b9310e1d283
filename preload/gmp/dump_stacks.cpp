#include "dump_stacks.hpp"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unordered_map>

namespace look = gmp::look;
namespace gmpcmd {
namespace {

// By DWARF's numbers. Those that are not known are 0.
struct Registers {
  unsigned long rbx = 0, rbp = 0, rsp = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0, rip = 0;
};

constexpr std::size_t kCopy = 64 << 10; // of a stack, at once; what lies above is read word by word

struct Symbol {
  std::string text;
  bool runtime = false;
};

// Registers of a thread that computes, which only its kernel thread has: stopped for some microseconds, as by a debugger. Not in a call:
// some of those would fail with EINTR.
bool stopped_registers(int tid, Registers& to) {
  if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0) return false;
  bool got = false;
  user_regs_struct regs;
  if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0) {
    int status;
    while (waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status)) {
      if (status >> 16 == PTRACE_EVENT_STOP) {
        got = ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0;
        break;
      }
      ptrace(PTRACE_CONT, tid, 0, WSTOPSIG(status)); // a signal of its own came first
    }
  }
  ptrace(PTRACE_DETACH, tid, 0, 0);
  if (got) to = {regs.rbx, regs.rbp, regs.rsp, regs.r12, regs.r13, regs.r14, regs.r15, regs.rip};
  return got;
}

// Paths are the other process's, which may have another root (chroot, container).
int looked_at = 0; // the process
int find_file(Dwfl_Module* module, void** data, const char* name, Dwarf_Addr base, char** file, Elf** elf) {
  if (name[0] == '/') {
    int fd = open(fmt::format("/proc/{}/root{}", looked_at, name).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
      *file = strdup(name);
      return fd;
    }
  }
  return dwfl_linux_proc_find_elf(module, data, name, base, file, elf);
}

} // namespace

struct Stacks::Inside {
  const Process& process;
  std::size_t frames;
  Dwfl* dwfl = nullptr;
  bool attached = false;
  std::unordered_map<unsigned long, Symbol> symbols;
  // Of the stack that is being unwound.
  Registers start;
  std::vector<char> copy;
  Stack found;

  Inside(const Process& p, int n) : process(p), frames(std::size_t(n)) {}

  void read_copy(unsigned long sp, unsigned long end) {
    std::size_t size = end > sp ? std::min<std::size_t>(kCopy, end - sp) : kCopy;
    copy.resize(size);
    std::size_t done = 0;
    auto& memory = process.memory();
    while (done < size) { // page by page when it can't be had at once: the end is not known
      std::size_t piece = done == 0 && end > sp ? size : std::min(size - done, 4096 - (sp + done) % 4096);
      if (memory.copy(&memory, sp + done, copy.data() + done, piece)) done += piece;
      else if (piece == size && size > 4096) end = 0, size = std::min<std::size_t>(size, 4096 - sp % 4096);
      else break;
    }
    copy.resize(done);
  }
  bool word(unsigned long at, unsigned long* to) const {
    const unsigned long offset = at - start.rsp; // any number: what leads here may be garbage
    if (copy.size() >= 8 && offset <= copy.size() - 8) {
      std::memcpy(to, copy.data() + offset, 8);
      return true;
    }
    return process.memory().get(at, to);
  }
  bool is_code(unsigned long at) const { return dwfl_addrmodule(dwfl, at) != nullptr; }

  // The frame pointer is not known for a thread in a call. Most frames don't need it; for those that do: the nearest place that looks like
  // one, a word that points further up, and above it an address of code.
  void guess_frame_pointer() {
    for (unsigned long at = (start.rsp + 15) & ~15ul; at + 16 <= start.rsp + std::min<std::size_t>(copy.size(), 8192); at += 16) {
      unsigned long up, back;
      if (word(at, &up) && word(at + 8, &back) && up > at && up < start.rsp + (1 << 23) && is_code(back)) {
        start.rbp = at;
        return;
      }
    }
  }

  Stack unwind() {
    found.clear();
    found.push_back(start.rip);
    if (attached)
      dwfl_getthread_frames(dwfl, process.pid(), [](Dwfl_Frame* frame, void* self) {
        auto& in = *static_cast<Inside*>(self);
        Dwarf_Addr pc;
        bool exact;
        if (!dwfl_frame_pc(frame, &pc, &exact)) return int(DWARF_CB_ABORT);
        if (in.found.size() > 1 && !in.is_code(pc)) return int(DWARF_CB_ABORT); // what lies above a stack's first frame
        if (pc == in.start.rip && in.found.size() == 1) return int(DWARF_CB_OK);
        in.found.push_back(exact ? pc : pc - 1);
        return int(in.found.size() < in.frames + 24 ? DWARF_CB_OK : DWARF_CB_ABORT); // the library's own are left out later
      }, this);
    return found;
  }

  const Symbol& symbol(unsigned long pc) {
    auto known = symbols.find(pc);
    if (known != symbols.end()) return known->second;
    Symbol s{fmt::format("0x{:x}", pc), false};
    if (Dwfl_Module* module = dwfl_addrmodule(dwfl, pc)) {
      Dwarf_Addr base = 0;
      const char* path = dwfl_module_info(module, nullptr, &base, nullptr, nullptr, nullptr, nullptr, nullptr);
      std::string file = path ? path : "?";
      file.erase(0, file.rfind('/') + 1);
      const bool ours = module == dwfl_addrmodule(dwfl, process.record());
      GElf_Off offset = 0;
      GElf_Sym sym;
      const char* name = dwfl_module_addrinfo(module, pc, &offset, &sym, nullptr, nullptr, nullptr);
      if (name) {
        int status = -1;
        std::unique_ptr<char, decltype(&std::free)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
        std::string function = status == 0 ? plain.get() : name;
        if (ours) {
          s.runtime = function.find("gmp::") != function.npos || function.starts_with("gmp_") || function.ends_with("_fcontext");
          if (function.starts_with("__")) function.erase(0, 2); // of a hook's several names
        }
        s.text = fmt::format("{}+0x{:x} ({})", function, offset, file);
      } else {
        s.text = fmt::format("{}+0x{:x}", file, pc - base);
        s.runtime = ours; // stripped: what has a name is a hook
      }
    }
    return symbols[pc] = s;
  }
};

Stacks::Stacks(const Process& process, int frames) : inside_(std::make_unique<Inside>(process, frames)) {
  static char* debug_path = nullptr;
  static const Dwfl_Callbacks files{find_file, dwfl_standard_find_debuginfo, nullptr, &debug_path};
  static const Dwfl_Thread_Callbacks threads{
    [](Dwfl*, void* self, void** argument) -> pid_t {
      if (*argument) return 0;
      *argument = self;
      return static_cast<Inside*>(self)->process.pid();
    },
    [](Dwfl*, pid_t, void* self, void** argument) {
      *argument = self;
      return true;
    },
    [](Dwfl*, Dwarf_Addr at, Dwarf_Word* to, void* self) { return static_cast<Inside*>(self)->word(at, to); },
    [](Dwfl_Thread* thread, void* self) {
      auto& r = static_cast<Inside*>(self)->start;
      const Dwarf_Word low[] = {r.rbx}, frame[] = {r.rbp, r.rsp}, high[] = {r.r12, r.r13, r.r14, r.r15, r.rip};
      return dwfl_thread_state_registers(thread, 3, 1, low) && dwfl_thread_state_registers(thread, 6, 2, frame) &&
             dwfl_thread_state_registers(thread, 12, 5, high);
    },
    nullptr, nullptr};
  auto& in = *inside_;
  looked_at = process.pid();
  in.dwfl = dwfl_begin(&files);
  if (!in.dwfl) return;
  dwfl_report_begin(in.dwfl);
  dwfl_linux_proc_report(in.dwfl, process.pid());
  dwfl_report_end(in.dwfl, nullptr, nullptr);
  in.attached = dwfl_attach_state(in.dwfl, nullptr, process.pid(), &threads, &in);
}

Stacks::~Stacks() {
  if (inside_->dwfl) dwfl_end(inside_->dwfl);
}

Stack Stacks::of(const look::Thread& thread, const KernelThread& kernel) {
  auto& in = *inside_;
  auto& layout = in.process.layout();
  auto& memory = in.process.memory();
  in.start = {};
  in.copy.clear();
  const unsigned long end = thread.stack_size ? thread.stack_lo + thread.stack_size : 0;
  if (thread.has_context()) {
    char frame[256];
    if (!memory.copy(&memory, thread.ctx, frame, std::size_t(layout.ctx_size))) return {};
    auto at = [&](int offset) {
      unsigned long value;
      std::memcpy(&value, frame + offset, 8);
      return value;
    };
    in.start = {at(layout.rbx), at(layout.rbp), thread.ctx + std::size_t(layout.ctx_size), at(layout.r12), at(layout.r13), at(layout.r14), at(layout.r15),
                at(layout.rip)};
    in.read_copy(in.start.rsp, end);
    if (!look::still_so(memory, layout, thread)) return {};
  } else if (kernel.running) {
    if (!stopped_registers(thread.kernel_tid, in.start)) return {};
    in.read_copy(in.start.rsp, end);
  } else if (kernel.pc) {
    in.start.rsp = kernel.sp, in.start.rip = kernel.pc;
    in.read_copy(kernel.sp, end);
    in.guess_frame_pointer();
  } else {
    return {};
  }
  return in.unwind();
}

const std::string& Stacks::describe(unsigned long pc) { return inside_->symbol(pc).text; }
bool Stacks::runtime(unsigned long pc) { return inside_->symbol(pc).runtime; }

Stack Stacks::programs(const Stack& whole) {
  auto theirs = [&](unsigned long pc) { return !runtime(pc); };
  auto first = std::find_if(whole.begin(), whole.end(), theirs);
  if (first == whole.end()) return whole;
  auto last = std::find_if(whole.rbegin(), whole.rend(), theirs).base();
  if (std::size_t(last - first) > inside_->frames) last = first + std::ptrdiff_t(inside_->frames);
  return {first, last};
}

} // namespace gmpcmd
