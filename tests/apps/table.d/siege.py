"""siege is the program under test here: 200 users, a thread each, against nginx.

By count and not by time: when the time is over siege cancels its threads asynchronously, in the midst of malloc, and hangs
natively in every other run.
"""
import json

from report import Row
from side import Failed
from trial import Figures


def users(connection):
    def load(t):
        with t.nginx() as port:
            config = t.config("siege.conf", REPS=round(40 * t.seconds), CONNECTION=connection)
            out = t.program("siege", "-R", config, f"http://127.0.0.1:{port}/page", env={"HOME": str(t.dir)})
        r = json.loads(out[out.index("{"):out.rindex("}") + 1])
        if r["failed_transactions"] or not r["transactions"]:
            raise Failed(f"siege: {r}")
        t.answers["availability"] = str(r["availability"])
        return Figures(r["transactions"] / r["elapsed_time"], r["transactions"])
    return load


def rows(quick):
    return [Row("siege", "200 users, kept connections", users("keep-alive"), ["siege"]),
            Row("siege", "200 users, a connection each", users("close"), ["siege"])]
