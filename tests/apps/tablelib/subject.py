"""The program under test: started on its side, looked at while the load runs, stopped, and what it used."""
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from side import Failed, Side, check_loaded, ending, have


@dataclass
class Usage:
    cpu: float = 0.0  # seconds
    threads: int = 0  # most kernel threads at once
    switches: int = 0  # context switches, voluntary and not
    rss: float = 0.0  # MB at most


def _status(path: str, *names: str) -> list[int]:
    try:
        text = Path(path).read_text()
    except OSError:
        return [0] * len(names)
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return [int(found.get(n, "0").split()[0]) for n in names]


def _live_switches(pid: int) -> int:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    return sum(sum(_status(f"/proc/{pid}/task/{t}/status", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
               for t in tasks)


def _cpu(pid: int) -> float:
    # The process's own CPU clock (clock_getcpuclockid): to the nanosecond, and threads that have ended still count.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


class Subject:
    def __init__(self, words: list[str], side: Side, log: Path, cwd: Path, env: dict[str, str] | None = None):
        self.words, self.side, self.log, self.usage = words, side, log, Usage()
        self._before = (0.0, 0)
        self._window_cpu: float | None = None
        # With us dies what we started, even when we are killed.
        command = ["setpriv", "--pdeathsig", "KILL"] + side.command(words)
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                                            env={**os.environ, **(env or {})}, start_new_session=True)
        self.pid = self.process.pid
        self.rusage = None
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            threads, rss = _status(f"/proc/{self.pid}/status", "Threads", "VmHWM")
            self.usage.threads = max(self.usage.threads, threads)
            self.usage.rss = max(self.usage.rss, rss / 1024)

    def poll(self) -> int | None:
        # By wait4, as subprocess keeps no rusage of a child.
        if self.rusage is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.rusage, self.process.returncode = usage, os.waitstatus_to_exitcode(status)
        return self.process.returncode if self.rusage else None

    def wait(self, seconds: float) -> int | None:
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.poll()

    def tail(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-4:])[-400:]

    def where(self) -> str:
        """Where it hangs: what each of its threads waits in; with GMP_TEST_GDB set, stacks as well."""
        seen = []
        for task in sorted(Path(f"/proc/{self.pid}/task").glob("*"))[:12]:
            try:
                seen.append(f"{(task / 'comm').read_text().strip()}:{(task / 'wchan').read_text().strip()}")
            except OSError:
                pass
        if os.environ.get("GMP_TEST_GDB") and have("gdb"):
            subprocess.run(["gdb", "-batch", "-nx", "-p", str(self.pid), "-ex", "set libthread-db-search-path /none",
                            "-ex", "thread apply all bt 25"], stdout=sys.stderr, stderr=subprocess.DEVNULL, timeout=60)
        return f"{self.words[0]}'s threads: {' '.join(seen)}"

    def alive(self) -> None:
        if self.poll() is not None:
            raise Failed(f"{self.words[0]} died: {ending(self.process.returncode)}: {self.tail()}")

    def loaded(self) -> None:
        """The library is in the process, or the comparison compares nothing."""
        check_loaded(self.side, self.log.read_text(errors="replace"))
        if self.side.lib and self.side.lib not in Path(f"/proc/{self.pid}/maps").read_text():
            raise Failed(f"{self.side.lib} is not mapped in {self.words[0]}")

    def begin(self) -> None:
        self._before = (_cpu(self.pid), _live_switches(self.pid))

    def end(self) -> None:
        self.alive()
        self._window_cpu = _cpu(self.pid) - self._before[0]

    def account(self) -> Usage:
        """After its end. Context switches come from its rusage, where those of threads that have ended are in: so they
        include the stop."""
        total = self.rusage.ru_utime + self.rusage.ru_stime
        self.usage.cpu = total if self._window_cpu is None else self._window_cpu
        self.usage.switches = self.rusage.ru_nvcsw + self.rusage.ru_nivcsw - self._before[1]
        return self.usage

    def stop(self, ok: tuple[int, ...], patience: float = 20) -> None:
        """As an operator does; one that has to be killed, or ends in another way, has failed."""
        self.alive()
        os.kill(self.pid, signal.SIGTERM)
        status = self.wait(patience)
        if status is None:
            raise Failed(f"{self.words[0]} did not stop within {patience:g} s of SIGTERM; {self.where()}: {self.tail()}")
        if status not in (*ok, -signal.SIGTERM, 128 + signal.SIGTERM):
            raise Failed(f"{self.words[0]} did not stop well: {ending(status)}: {self.tail()}")

    def close(self) -> None:
        """Whatever is left of it."""
        self._done.set()
        self._sampler.join()
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except OSError:
            pass
        self.wait(10)
