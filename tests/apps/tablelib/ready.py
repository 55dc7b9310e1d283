"""How a server is known to be ready, and to be done. The kernel is asked: a proxy would take a connection for a client."""
import re
import time
from pathlib import Path

from subject import Subject


def announced(s: Subject) -> int | None:
    found = re.search(r"listening on (\d+)\n", s.log.read_text())
    return int(found[1]) if found else None


def tcp(port: int):
    def ready(_: Subject) -> int | None:
        tables = (Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
        return port if any(re.search(rf":{port:04X} [0:]+ 0A", table) for table in tables) else None

    return ready


def drain(port: int, patience: float = 5) -> None:
    """Until the server has no connection left: stunnel crashes natively when it is stopped with hundreds open."""
    deadline, connected = time.monotonic() + patience, rf"(?m)^ *\d+: \w+:{port:04X} \w+:\w+ 0[18]"
    while re.search(connected, Path("/proc/net/tcp").read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # for the threads themselves to end


def unix(path: Path):
    def ready(_: Subject) -> bool:
        return any(line.split()[3] == "00010000" and line.endswith(f" {path}")
                   for line in Path("/proc/net/unix").read_text().splitlines()[1:])

    return ready
