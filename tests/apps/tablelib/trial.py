"""One run of one row on one side: what the modules of table.d use to start servers, load them and check answers."""
import json
import os
import random
import re
import shutil
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ready import announced, tcp
from side import NATIVE, Failed, Side, run
from subject import Subject, Usage

APPS = Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"  # Debian's: another one in PATH is another program


@dataclass
class Figures:
    rate: float  # of the row's unit
    requests: float  # what the CPU time and the context switches are divided by
    p99: float | None = None  # ms
    usage: Usage = field(default_factory=Usage)


@dataclass
class Session:
    """What all trials share."""
    build: Path
    scratch: Path
    seconds: float
    made: dict[str, Path] = field(default_factory=dict)


def word(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise Failed(f"no {pattern!r} in: {' | '.join(text.strip().splitlines()[-5:])[-300:]}")
    return found[1]


def number(pattern: str, text: str) -> float:
    return float(word(pattern, text).replace(",", ""))


class Trial:
    def __init__(self, session: Session, side: Side, first: bool):
        self.session, self.side, self.first = session, side, first
        self.seconds, self.build = session.seconds, session.build
        self.dir = Path(os.path.realpath(session.scratch)) / "trial"
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir()
        self.answers: dict[str, str] = {}  # must equal the native run's
        self.subject: Subject | None = None

    # ---- files and ports

    def file(self, name: str) -> Path:
        return APPS / "table.d" / name

    def config(self, name: str, **values) -> Path:
        """A file of table.d with its @WORDS@ replaced."""
        values = {"DIR": self.dir, "USER": "root" if os.getuid() == 0 else os.environ.get("USER", ""), **values}
        text = re.sub(r"@([A-Z]+)@", lambda m: str(values[m[1]]), self.file(name).read_text())
        path = self.dir / name
        path.write_text(text)
        return path

    def shared(self, name: str, make) -> Path:
        """A directory that make(directory) fills, once for the whole session."""
        if name not in self.session.made:
            path = self.session.scratch / name
            path.mkdir()
            make(path)
            self.session.made[name] = path
        return self.session.made[name]

    def port(self) -> int:
        # Below the ephemeral range, so that no client's own end takes it before the server does.
        while True:
            port = random.randrange(15000, 32000)
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    pass

    # ---- servers

    @contextmanager
    def _running(self, words, side, ready, env=None, patience=30.0):
        """ready(subject): its port, or at least true, once it listens"""
        log = self.dir / f"{len(list(self.dir.glob('*.log')))}-{Path(str(words[0])).name}.log"
        s = Subject([str(w) for w in words], side, log, self.dir, env)
        try:
            deadline = time.monotonic() + patience
            while not (found := ready(s)):
                s.alive()
                if time.monotonic() > deadline:
                    raise Failed(f"{words[0]} listens nowhere after {patience:g} s: {s.tail()}")
                time.sleep(0.02)
            s.port = found
            s.loaded()
            yield s
        finally:
            s.close()

    @contextmanager
    def helper(self, *words, ready):
        """A native server that the one under test needs: an origin."""
        with self._running(words, NATIVE, ready) as s:
            yield s.port
            s.alive()

    @contextmanager
    def server(self, *words, ready=None, env=None, patience: float = 30, ok=(0,), also: str = ""):
        """The server under test. Stopped in order at the end, as far as nothing has failed before.
        also: a library by its soname, preloaded on both sides."""
        side = replace(self.side, also=word(rf"\s{re.escape(also)} .* => (.*)", run(["/sbin/ldconfig", "-p"], NATIVE, 10))) if also else self.side
        with self._running(words, side, ready or announced, env, patience) as self.subject:
            yield self.subject
            self.subject.stop(ok)

    @contextmanager
    def loaded(self):
        """Around the load that counts."""
        self.subject.begin()
        yield
        self.subject.end()

    def program(self, *words, env=None, patience: float = 0) -> str:
        """Instead of a server: a program under test that runs to its end; its output."""
        log = self.dir / "program.log"
        s = self.subject = Subject([str(w) for w in words], self.side, log, self.dir, env)
        try:
            status = s.wait(patience or self.seconds + 120)
            if status is None:
                raise Failed(f"{words[0]} hung: no end within {patience or self.seconds + 120:g} s; {s.where()}: {s.tail()}")
            if status != 0:
                s.alive()
        finally:
            s.close()
        return log.read_text(errors="replace")

    # ---- origins

    def nginx(self):
        """Static files over HTTP: /small of 64 bytes, /page of 4 KB."""
        port = self.port()
        (self.dir / "small").write_bytes(b"s" * 63 + b"\n")
        (self.dir / "page").write_bytes(b"0123456789abcde\n" * 256)
        return self.helper("nginx", "-c", self.config("nginx.conf", PORT=port), "-e", "stderr", ready=tcp(port))

    def epoll_echo(self):
        return self.helper(self.build / "bench/epoll_echo", ready=announced)

    def origin(self):
        """HTTP and echo with answers that client.py knows: (port, port)."""
        def both(s: Subject):
            ports = [int(word) for word in s.log.read_text().split()]
            return ports if len(ports) == 2 else None

        return self.helper(PYTHON, APPS / "origin.py", ready=both)

    # ---- clients

    def client(self, *words, side: Side = NATIVE, patience: float = 0, ok=(0,)) -> str:
        try:
            return run([str(w) for w in words], side, timeout=patience or self.seconds + 120, ok=ok)
        except Failed as e:
            self.subject.alive()  # whose death explains it
            raise Failed(f"{words[0]}: {e}; {self.subject.where()}; its log: {self.subject.tail()}") from None

    def check(self, *words, largest: int = 20000, connections: int = 60) -> None:
        """client.py, every byte of every answer; the digests must equal those of the native server."""
        if self.first:
            out = self.client(PYTHON, APPS / "client.py", *words, "--connections", connections, "--turns", 2, "--largest",
                              largest, patience=60)
            self.answers.update(line.split() for line in out.splitlines() if re.fullmatch(r"\d+ \w+", line))

    def echo_load(self, port: int, connections: int, *more) -> Figures:
        with self.loaded():
            out = self.client(self.build / "examples/echo_load", "--port", port, "--connections", connections, "--seconds",
                              self.seconds, *more)
        if number(r"errors (\d+)", out) or number(r"connections (\d+)", out) != connections:
            raise Failed(out.strip())
        return Figures(number(r"throughput: (\d+)", out), number(r"requests: (\d+)", out), number(r"p99 ([\d.]+) ms", out))

    def wrk(self, url: str, connections: int, *arguments) -> Figures:
        """arguments: see wrk.lua"""
        header = ["-H", "Connection: close"] if "close" in arguments else []
        one = self.client("curl", "-sk", *header, "-o", self.dir / "answer", "-w", "%{size_header} %{size_download}", url)
        self.answers["bytes of an answer"] = one
        size = sum(map(int, one.split()))
        with self.loaded():
            out = self.client("wrk", "-t", 1, "-c", connections, "-d", f"{max(1, round(self.seconds))}s", "--timeout", 10,
                              "-s", self.file("wrk.lua"), url, "--", *arguments)
        r = json.loads(out[out.rindex("JSON ") + 5:])
        wrong = {k: v for k, v in r["errors"].items() if v}
        if wrong or not r["requests"]:
            raise Failed(f"wrk: {r['requests']} requests, errors {wrong}; the server's log: {self.subject.tail()}")
        # All answers are of one size, but for the last ones, which the end of the time has torn.
        if not r["requests"] * size <= r["bytes"] <= (r["requests"] + connections) * size:
            raise Failed(f"wrk: {r['requests']} answers of {size} bytes and {r['bytes']} bytes in all")
        return Figures(r["requests"] / r["seconds"], r["requests"], r["p99"])

    def ab(self, url: str, connections: int, *more) -> Figures:
        """A connection for each request, as wrk can't through a proxy that closes without saying so before."""
        with self.loaded():
            out = self.client("ab", "-q", "-c", connections, "-t", round(self.seconds) or 1, "-n", 1000000, *more, url)
        requests, wrong = number(r"Complete requests: *(\d+)", out), number(r"Failed requests: *(\d+)", out)
        if wrong or "Non-2xx" in out:
            raise Failed(f"ab: {requests:g} requests, {wrong:g} failed; the server's log: {self.subject.tail()}")
        self.answers["bytes of an answer"] = word(r"Document Length: *(\d+)", out)
        return Figures(number(r"Requests per second: *([\d.]+)", out), requests, number(r" 99% *(\d+)", out))
