"""rsyslogd: lines over many connections, through two queues with workers of their own, into one file."""
import hashlib
import time

from ready import tcp
from report import Row
from side import Failed
from trial import PYTHON, Figures

CONNECTIONS = 200


def lines(t):
    port, out, each = t.port(), t.dir / "received", round(1500 * t.seconds)
    count = each * CONNECTIONS
    with t.server("rsyslogd", "-n", "-i", t.dir / "pid", "-f", t.config("rsyslog.conf", PORT=port), ready=tcp(port)):
        with t.loaded():
            began = time.monotonic()
            t.client(PYTHON, t.file("send_lines.py"), port, CONNECTIONS, each)
            have, moved = 0, time.monotonic()
            with out.open("rb") as received:
                while have < count:
                    time.sleep(0.02)
                    t.subject.alive()
                    if new := received.read():
                        have, moved = have + new.count(b"\n"), time.monotonic()
                    elif time.monotonic() - moved > 20:
                        raise Failed(f"{have} of {count} lines arrived")
            took = time.monotonic() - began
    # The order over the connections is nobody's business.
    t.answers["lines"] = f"{have}, {hashlib.sha256(b''.join(sorted(out.read_bytes().splitlines(True)))).hexdigest()}"
    return Figures(count / took, count)


def rows(quick):
    return [Row("rsyslogd", f"{CONNECTIONS} connections into a file", lines, ["rsyslog"], unit="lines/s")]
