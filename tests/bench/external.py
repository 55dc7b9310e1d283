"""The rows that whole programs make: the echo server under load, blocked threads, skynet, CPU-bound programs."""
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from side import Failed, Side, descriptors, have, run, server
from table import Row

SERVER_CORE, CLIENT_CORE = 0, 1


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise Failed(f"no figure in: {text.strip()[-200:]}")
    return float(found[1].replace(",", ""))


def port_of(first_line: str) -> str:
    return str(int(number(r"listening on (\d+)", first_line)))


def echo(examples: Path, row: Row, connections: int, seconds: float):
    p50, p99, bound = row.beside

    def load(command: list[str], side: Side) -> str:
        with server(command, side) as (_, first):
            return run([str(examples / "echo_load"), "--port", port_of(first), "--connections", str(connections),
                        "--seconds", str(seconds)], Side("client", CLIENT_CORE), timeout=seconds + 60)

    def once(side: Side) -> float:
        out = load([str(examples / "echo_server"), "--port", "0"], side)
        for beside, pattern in ((p50, r"p50 ([\d.]+) ms"), (p99, r"p99 ([\d.]+) ms")):
            (beside.native if side.name == "native" else beside.preloaded).append(number(pattern, out))
        rate = number(r"throughput: (\d+) req/s", out)
        if side.name == "native":
            bound.native.append(rate)
            out = load([str(examples.parent / "bench" / "epoll_echo")], side)
            bound.preloaded.append(number(r"throughput: (\d+) req/s", out))
        return rate

    return once


def echo_syscalls(examples: Path, requests: int):
    """Counted from outside while the load runs. The calls that ramp up and wind down are counted and their few requests
    are not: an error of a few in a thousand, against us."""

    def once(side: Side) -> float:
        with server([str(examples / "echo_server"), "--port", "0"], side) as (process, first), \
                tempfile.TemporaryDirectory(prefix="gmp-bench-") as scratch:
            # env and taskset exec: the process is the server itself.
            counts = Path(scratch) / "counts"
            if have("perf"):
                command = ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o", str(counts), "-p"]
            else:
                command = ["strace", "-f", "-c", "-o", str(counts), "-p"]
            counter = subprocess.Popen(command + [str(process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.5)  # neither tells when it has attached
            try:
                run([str(examples / "echo_load"), "--port", port_of(first), "--connections", "100", "--requests",
                     str(requests)], Side("client", CLIENT_CORE), timeout=120)
            finally:
                counter.send_signal(2)
                counter.wait(20)
            text = counts.read_text()
        pattern = r"(?m)^(\d+),,raw_syscalls" if have("perf") else r"(?m)^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s.*total$"
        return number(pattern, text) / requests

    return once


def sleepers(examples: Path, row: Row, count: dict[str, int]):
    alive = row.beside[0]

    def once(side: Side) -> float:
        out = run([str(examples / "sleepers"), str(count[side.name])], side, timeout=180, ok=(0, 1))
        (alive.native if side.name == "native" else alive.preloaded).append(number(r"(\d+) threads alive at once", out))
        return number(r"total ([\d.]+) KB", out)

    return once


def timed(words: list[str]):
    def once(side: Side) -> float:
        began = time.monotonic()
        run(words, side, timeout=180, keep_output=False)
        return time.monotonic() - began

    return once


def corpus(path: Path, size: int) -> None:
    """Text to compress: Python's own sources, over and over."""
    pieces = [p.read_bytes() for p in sorted(Path(os.__file__).parent.glob("*.py"))]
    text = b"".join(pieces)
    path.write_bytes((text * (size // len(text) + 1))[:size])


def work(examples: Path, lib: str, quick: bool, syscalls: bool):
    """Yields (row, runs at most, once or the reason why not, sides)."""
    many = 99

    def sides(procs: int, core: int | None = None) -> tuple[Side, Side]:
        return Side("native", core), Side("preloaded", core, lib, procs)

    missing = "" if (examples / "echo_server").exists() else f"no programs in {examples}: build the examples first"
    for connections, least in ((100, 1.5), (1000, 2.0)) + (() if quick else ((10000, 2.5),)):
        where = "1 P, server on a core of its own"
        row = Row(f"echo, {connections:,} connections", where, "req/s", least=least, target=f"{least}x",
                  key=f"echo/{connections}")
        row.beside = [Row(f"  its latency, {p}", where, "ms", key=f"{row.key}/{p}") for p in ("p50", "p99")]
        # How far it could go here, where the system calls of an echo cost what they cost: in the preloaded column.
        row.beside.append(Row("  an event loop written by hand instead", "native", "req/s", key=f"{row.key}/epoll"))
        reason = missing
        if descriptors() < connections + 64:
            reason = f"the hard limit of open files (ulimit -Hn) is {descriptors():,}: too few"
        seconds = 1 if quick else 3
        yield row, many, reason or echo(examples, row, connections, seconds), sides(1, SERVER_CORE)
    if syscalls:
        row = Row("system calls per echo request", "1 P, 100 connections", "calls", most_preloaded=2.5,
                  target="<= 2.5 calls", key="echo/syscalls")
        reason = missing or ("" if have("perf") or have("strace") else "neither perf nor strace is installed")
        yield row, 3, reason or echo_syscalls(examples, 50000), sides(1, SERVER_CORE)

    # Natively fewer: a system has some 32,000 threads, and the price of one does not depend on it.
    count = {"native": 10000, "preloaded": (20000 if quick else 100000) if lib else 10000}
    row = Row("memory of a blocked thread, kernel side included", "2 Ps", "KB", most_preloaded=14,
              target="<= 14 KB", key="sleepers/memory")
    row.beside = [Row(f"  of this many alive at once (native is asked for {count['native']:,})", "2 Ps", "threads",
                      least_preloaded=count["preloaded"], target=f"{count['preloaded']:,}", key="sleepers/alive")]
    yield row, 3, missing or sleepers(examples, row, count), sides(2)

    for procs in (1, 2):
        row = Row("skynet, 100,000 leaves", f"{procs} P", "s", most_preloaded=0.8, target="<= 0.8 s",
                  key="skynet/100000")
        once = timed([str(examples / "skynet"), "100000"])
        yield row, 1 if quick else 3, missing or once, sides(procs, 0 if procs == 1 else None)

    with tempfile.TemporaryDirectory(prefix="gmp-bench-") as scratch:
        text = Path(scratch) / "text"
        corpus(text, 8_000_000 if quick else 24_000_000)
        for words in (["pigz", "-p", "2", "-kfc"], ["xz", "-T", "2", "-1kfc", "--block-size=2MiB"],
                      ["zstd", "-T2", "-9", "-qkfc"], ["sort", "--parallel=1"]):
            label = f"{words[0]}, one thread" if words[0] == "sort" else f"{words[0]} in threads"
            row = Row(label, "2 Ps", "s", least=1 / 1.02, target="<= 1.02x time", key=f"cpu/{words[0]}")
            reason = "" if have(words[0]) else f"{words[0]} is not installed"
            yield row, many, reason or timed(words + [str(text)]), sides(2)
