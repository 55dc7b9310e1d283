# gdb commands for processes and core files of programs that run under libgmp.so:
#
#   info gthreads [REGEX]          every thread: number, name, id, state, what it waits for
#   gthread N COMMAND              the command with thread N's stack: bt, bt full, info locals, p x, up
#   gthread apply all|N... COMMAND
#
# gdb itself knows the kernel threads only. Load it before the process:  gdb -ix libgmp.so-gdb.py -p PID   (or PROGRAM CORE)
#
# Everything is read through the library's record (runtime/record.hpp), with or without symbols; nothing of the process is changed: a
# parked thread's frames are reached by an unwinder of ours that leads from the selected kernel thread's frame to the saved context.
import itertools
import os
import re
import struct
import gdb
import gdb.unwinder

# libthread_db asserts on threads that the kernel does not know.
gdb.execute("set libthread-db-search-path /none", to_string=True)


class Trouble(gdb.GdbError):
    pass


def memory(at, size):
    return gdb.selected_inferior().read_memory(at, size).tobytes()


def word(at, form):
    return struct.unpack(form, memory(at, struct.calcsize(form)))[0]


def by_symbol():
    try:
        return int(gdb.parse_and_eval("(unsigned long)&gmp_debug_record"))
    except gdb.error:
        return 0


def by_note():
    """In a stripped library: the note, from the file; the address it has here from where gdb says .text is."""
    for line in gdb.execute("info sharedlibrary", to_string=True).splitlines():
        part = re.match(r"(0x[0-9a-f]+)\s.*\s(/\S*libgmp\.so\S*)$", line)
        if not part or not os.path.exists(part[2]):
            continue
        with open(part[2], "rb") as file:
            data = file.read()
        table, size, count, names = struct.unpack_from("<Q", data, 0x28)[0], *struct.unpack_from("<HHH", data, 0x3a)
        sections = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
        strings = sections[names][4]
        found = {data[strings + s[0]:data.index(b"\0", strings + s[0])].decode(): s for s in sections}
        if ".note.gmp" not in found or ".text" not in found:
            continue
        address, offset = found[".note.gmp"][3:5]
        distance = struct.unpack_from("<q", data, offset + 16)[0]
        return int(part[1], 16) - found[".text"][3] + address + 16 + distance
    return 0


class Record:
    """The names of runtime/record.cpp: variables' addresses, offsets, and what the numbers of states and reasons mean."""

    def __init__(self):
        at = by_symbol() or by_note()
        if not at:
            raise Trouble("libgmp.so is not in this process (or core file)")
        magic, version, count, entries = struct.unpack("<8sIIQ", memory(at, 24))
        if magic != b"gmp dbg\0" or version != 1:
            raise Trouble("this libgmp.so is of another version than the script, or its memory is not in the core file")
        self.value, self.status, self.reason = {}, {}, {}
        for i in range(count):
            name, address, number = struct.unpack("<24sQq", memory(entries + 40 * i, 40))
            name = name.rstrip(b"\0").decode()
            if name.startswith("status:"):
                self.status[number] = name[7:]
            elif name.startswith("wait:"):
                self.reason[number] = name[5:]
            else:
                self.value[name] = address or number
        self.mode = word(self["mode"], "<i")
        self.tid_offset = word(self["tid_offset"], "<q")

    def __getitem__(self, name):
        return self.value[name]


class Thread:
    def __init__(self, record, at):
        r = self.record = record
        self.at = at
        b = memory(at, r["G.size"])
        get = lambda name, form: struct.unpack_from(form, b, r["G." + name])[0]
        self.next, self.goid, self.tp, self.ctx = (get(n, "<Q") for n in ("all_next", "goid", "tp", "ctx"))
        self.m, self.what, self.items = get("m", "<Q"), get("wait_addr", "<Q"), get("wait_n", "<H")
        self.status = r.status.get(get("status", "<B"), "?")
        self.reason = r.reason.get(get("reason", "<B"), "?")
        self.name = get("name", "16s").split(b"\0")[0].decode(errors="replace")
        self.tid = self.kernel_tid = 0
        if self.alive():
            self.tid = word(self.tp + r.tid_offset, "<i")
        if self.status == "waiting" and self.reason not in ("sleep", "signal", "read", "write", "poll"):
            self.what = word(self.what + r["Waiter.key"], "<Q")
        own = get("lockedm", "<Q") if self.alive() else 0
        self.only = f" [runs on M{word(own + r['M.id'], '<i')} (LWP {word(own + r['M.tid'], '<i')}) only]" if own else ""
        if self.status in ("running", "in a call") and self.m:
            self.kernel_tid, self.m_id = word(self.m + r["M.tid"], "<i"), word(self.m + r["M.id"], "<i")

    def alive(self):
        return self.status not in ("idle", "dead")

    def __str__(self):
        return f'G{self.goid} "{self.name}"'

    def parked(self):
        return self.status in ("waiting", "runnable")

    def registers(self):
        r = self.record
        saved = {n: word(self.ctx + r["ctx." + n], "<Q") for n in ("rbx", "rbp", "r12", "r13", "r14", "r15", "rip")}
        saved["rsp"] = self.ctx + r["ctx.size"]
        return saved


def threads():
    record = Record()
    if record.mode == 2:
        raise Trouble("libgmp.so stands aside in this process: info threads has its threads")
    if record.mode == 0:
        raise Trouble("this process has made no thread")
    found, seen = [], set()
    at = word(record["allg"], "<Q")
    while at and at not in seen:
        seen.add(at)
        thread = Thread(record, at)
        if thread.alive():
            found.append(thread)
        at = thread.next
    return sorted(found, key=lambda t: t.goid)


# ---- what they wait for: hooks/mutex.hpp and hooks/rwlock.cpp say what the words mean

def descriptor(fd):
    try:
        if gdb.selected_inferior().connection and gdb.selected_inferior().connection.type == "native":
            return f"{fd} {os.readlink(f'/proc/{gdb.selected_inferior().pid}/fd/{fd}')}"
    except (OSError, AttributeError):
        pass
    return str(fd)


def held_by(tid, all_threads):
    for other in all_threads:
        if other.tid == tid:
            return f", held by {other}"
    return f", held by thread {tid}" if tid > 0 else ", holder unknown"


def mutex_wait(at, all_threads, extra=""):
    lock, _, owner, users, kind = struct.unpack("<iIiIi", memory(at, 20))
    holder = (users if kind & 16 else owner) if lock & 1 else 0
    return f"mutex 0x{at:x}{extra}" + (held_by(holder, all_threads) if lock & 1 else ", free again")


def rwlock_wait(at, how, all_threads):
    state, writer = word(at, "<I"), word(at + 24, "<i")
    text = f"rwlock 0x{at:x} to {how}"
    return text + (held_by(writer, all_threads) if state & 1 else f", held by {state // 8} readers" if state >= 8 else "")


def wait_of(t, all_threads):
    r = t.record
    if t.reason == "mutex":
        return mutex_wait(t.what, all_threads)
    if t.reason == "cond":
        first = word(t.what, "<Q")
        if first & 0xffffffff in (2, 3) and first & 7:
            return mutex_wait(t.what, all_threads, ", the condition having been signalled")
        return f"condition variable 0x{t.what:x}" + (f" with mutex 0x{first:x}" if first > 1 else "")
    if t.reason == "read lock":
        return rwlock_wait(t.what - 4, "read", all_threads)
    if t.reason == "write lock":
        return rwlock_wait(t.what - 8, "write", all_threads)
    if t.reason == "join":
        target = min((o for o in all_threads if o.tp >= t.what), key=lambda o: o.tp, default=None)
        return f"end of {target}"
    if t.reason in ("read", "write"):
        return f"{t.reason} {'from' if t.reason == 'read' else 'to'} descriptor {descriptor(t.what & 0xffffffff)}"
    if t.reason == "poll":
        fds = [word(t.what + i * r["PollItem.size"] + r["PollItem.fd"], "<i") for i in range(t.items)]
        return "poll of descriptor " + ", ".join(descriptor(fd) for fd in fds)
    if t.reason == "futex":
        return f"futex 0x{t.what - 3:x}"
    if t.reason == "libc lock":
        return f"lock inside libc 0x{t.what - 2:x}"
    return t.reason if t.reason in ("sleep", "signal", "kernel thread") else f"{t.reason} 0x{t.what:x}"


def state_of(t, all_threads):
    return doing(t, all_threads) + t.only


def doing(t, all_threads):
    if t.status == "waiting":
        try:
            return "waiting: " + wait_of(t, all_threads)
        except gdb.MemoryError:
            return "waiting: " + t.reason
    if t.kernel_tid:
        return f"{t.status} on M{t.m_id} (LWP {t.kernel_tid})"
    return t.status


# ---- stacks

class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Unwinder(gdb.unwinder.Unwinder):
    """While `thread` is set: the frame that called the selected kernel thread's innermost one is where that parked thread was left."""

    def __init__(self):
        super().__init__("libgmp.so threads")
        self.thread = None

    def begin(self, thread):
        top = gdb.newest_frame()
        self.innermost = (top.read_register("rsp"), top.read_register("rip"))
        self.thread = thread
        gdb.invalidate_cached_frames()

    def end(self):
        self.thread = None
        gdb.invalidate_cached_frames()

    def first(self):
        """The parked thread's innermost frame: behind the kernel thread's, which may be several where functions are inlined."""
        frame = gdb.newest_frame()
        while frame and (frame.read_register("rsp"), frame.read_register("rip")) == self.innermost:
            frame = frame.older()
        if not frame:
            raise Trouble("its stack can't be read")
        return frame

    def __call__(self, pending):
        if self.thread is None or (pending.read_register("rsp"), pending.read_register("rip")) != self.innermost:
            return None
        # gdb believes in stacks that grow towards one end: below the frames to come.
        below = gdb.Value(self.thread.ctx).cast(pending.read_register("rsp").type)
        info = pending.create_unwind_info(FrameId(below, pending.read_register("rip")))
        for name, value in self.thread.registers().items():
            info.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
        return info


unwinder = Unwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def on_kernel_thread(tid, command):
    before = gdb.selected_thread()
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == tid:
            thread.switch()
            try:
                gdb.execute(command)
            finally:
                before.switch()
            return
    raise Trouble(f"gdb has no LWP {tid}")


def on_parked(thread, command):
    unwinder.begin(thread)
    try:
        first = unwinder.first()
        if re.match(r"(bt|backtrace|where)\b", command):
            # Without the kernel thread's own frames, and numbered from 0.
            show, skip = False, first.level()
            for line in gdb.execute(command, to_string=True).splitlines():
                number = re.match(r"#(\d+)( *)", line)
                if number:
                    show = int(number[1]) >= skip
                    line = f"#{int(number[1]) - skip}".ljust(len(number[0])) + line[len(number[0]):]
                if show:
                    print(line)
        else:
            first.select()
            gdb.execute(command)
    finally:
        unwinder.end()
        gdb.newest_frame().select()


def run(thread, command):
    if thread.parked():
        on_parked(thread, command)
    elif thread.kernel_tid:
        on_kernel_thread(thread.kernel_tid, command)
    else:
        raise Trouble(f"{thread} is nowhere to be seen")


class InfoGThreads(gdb.Command):
    """Threads of a program under libgmp.so: info gthreads [REGEX]
Number, name, id as gettid() tells it, state and what it waits for; with REGEX only lines in which it is found."""

    def __init__(self):
        super().__init__("info gthreads", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        every = threads()
        print(f"  {'Id':<6} {'Name':<15}  {'Tid':<10} State")
        for t in every:
            line = f"  {t.goid:<6} {t.name:<15}  {t.tid:<10} {state_of(t, every)}"
            if re.search(argument, line):
                print(line)


class GThread(gdb.Command):
    """A command with the stack of a thread under libgmp.so: gthread N bt
gthread N COMMAND: any command that looks at frames (bt, bt full, info locals, print x, up ...).
gthread apply all COMMAND, gthread apply N... COMMAND: for several.
gthread N: what it is doing."""

    def __init__(self):
        super().__init__("gthread", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split()
        every = threads()
        if words and words[0] == "apply":
            numbers = ["all"] if words[1:2] == ["all"] else list(itertools.takewhile(str.isdigit, words[1:]))
            command = " ".join(words[1 + len(numbers):])
            if not numbers or not command:
                raise Trouble("gthread apply all|N... COMMAND")
            chosen = every if "all" in numbers else [self.one(every, n) for n in numbers]
            for t in chosen:
                print(f"\n{t}: {state_of(t, every)}")
                try:
                    run(t, command)
                except gdb.error as error:
                    print(error)
            return
        if not words:
            raise Trouble("gthread N COMMAND (info gthreads has the numbers)")
        thread = self.one(every, words[0])
        if len(words) == 1:
            print(f"{thread}: {state_of(thread, every)}")
        else:
            run(thread, argument.split(None, 1)[1])

    @staticmethod
    def one(every, number):
        number = number.lstrip("G")
        for t in every:
            if str(t.goid) == number:
                return t
        raise Trouble(f"no thread {number} (info gthreads has the numbers)")


InfoGThreads()
GThread()
