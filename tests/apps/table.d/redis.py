"""Redis computes in one thread: it may not lose by the library.

With io-threads they spin on each other's progress; more of them than free processors stand still natively, too.
"""
from ready import tcp
from report import Row
from trial import Figures, number


def benchmark(*more):
    def load(t):
        port = t.port()
        with t.server("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
                      t.dir, *more, ready=tcp(port)):
            if t.first:
                keys = [f"k{i}" for i in range(500)]
                t.client("redis-cli", "-p", port, "mset", *(w for k in keys for w in (k, k * 50)))
                t.answers["values"] = t.client("redis-cli", "-p", port, "mget", *keys)
            count = round(20000 * t.seconds)
            with t.loaded():
                out = t.client("redis-benchmark", "-p", port, "-n", count, "-c", 50, "-t", "set,get", "-r", 10000, "--csv")
        rows = [line.replace('"', "").split(",") for line in out.splitlines() if line.startswith(('"SET', '"GET'))]
        seconds = sum(count / float(r[1]) for r in rows)
        t.answers["tests"] = " ".join(r[0] for r in rows)
        return Figures(2 * count / seconds, 2 * count, max(float(r[6]) for r in rows))
    return load


# Of the 49 us of processor time a request, 42 % are these two loops (perf); with redis-benchmark there are three busy
# threads, and natively they only fit on two processors because the kernel favours the main thread when it wakes up.
SPIN = ("its two threads spin on each other's counters (IOThreadMain, handleClientsWithPendingWritesUsingThreads), which no "
        "call tells us; on two processors the load generator takes one of them away")


def rows(quick):
    return [Row("redis", "SET and GET, 50 clients", benchmark(), ["redis-server"]),
            Row("redis", "the same with --io-threads 2", benchmark("--io-threads", "2"), ["redis-server"], note=SPIN)]
