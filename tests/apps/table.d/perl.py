from report import Row
from trial import Figures, number, word


def echo(t):
    with t.server("perl", t.file("echo.pl")) as server:
        t.check("echo", "--port", server.port, connections=20)
        return t.echo_load(server.port, 50)


def queue(t):
    items = 50000
    out = t.program("perl", t.file("queue.pl"), 8, items)
    t.answers["sum"] = word(r"sum (\d+)", out)
    return Figures(items / number(r"in ([\d.]+) s", out), items)


def rows(quick):
    return [Row("perl", "thread-per-connection echo, 50", echo, ["perl"]),
            Row("perl", "Thread::Queue, 8 workers", queue, ["perl"], unit="items/s")]
