import re

from ready import tcp
from report import Row
from side import Failed
from trial import Figures, number


def p99(out: str) -> float | None:
    """Of the total's distribution, ms. Its buckets are the powers of two, in µs: interpolated within one."""
    part = out[out.rindex("Total Statistics"):]
    counts = {}
    for line in re.findall(r"(?m)^ +\d+:(?: +\d+)+$", part):
        first, *of = map(int, line.replace(":", " ").split())
        counts.update({first + i: n for i, n in enumerate(of)})
    left = 0.99 * sum(counts.values())
    for power, n in sorted(counts.items()):
        if left <= n:
            return 2 ** (power - 1) * (1 + left / n) / 1000
        left -= n
    return None


def slap(t):
    port = t.port()
    with t.server("memcached", "-u", "root", "-l", "127.0.0.1", "-p", port, "-U", 0, "-t", 4, ready=tcp(port)):
        with t.loaded():
            out = t.client("memcaslap", "-s", f"127.0.0.1:{port}", "-T", 1, "-c", 64, "-v", 1, "-S", "1000s", "-t",
                           f"{max(1, round(t.seconds))}s")
    wrong = {w: number(rf"{w}: (\d+)", out) for w in ("get_misses", "verify_misses", "verify_failed")}
    if any(wrong.values()):
        raise Failed(f"memcaslap: {wrong}")
    return Figures(number(r"TPS: (\d+)", out), number(r"Ops: (\d+)", out), p99(out))


def rows(quick):
    return [Row("memcached", "-t 4, 64 clients", slap, ["memcached", "libmemcached-tools"])]
