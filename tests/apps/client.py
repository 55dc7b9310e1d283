"""The load: many concurrent connections to a server under test, every byte of every answer checked.

Prints one line for each connection, in order, with a digest of all it received: the answers of two runs compare by cmp.
Standard error tells of the first wrong answers, and with --watch how many kernel threads the server had while all
connections were open ("held N connections, T threads").
"""
import argparse
import asyncio
import hashlib
import ssl
import sys

from payload import body, size_of

p = argparse.ArgumentParser()
p.add_argument("what", choices=("get", "connect", "echo", "lines"))
p.add_argument("--port", type=int, required=True, help="of the server under test")
p.add_argument("--origin", type=int, help="the port behind a proxy (get, connect)")
p.add_argument("--connections", type=int, default=200)
p.add_argument("--turns", type=int, default=4, help="messages on each connection, or requests one after the other")
p.add_argument("--largest", type=int, default=65536)
p.add_argument("--ca", help="speak TLS and trust this certificate")
p.add_argument("--watch", type=int, help="the server's process")
a = p.parse_args()

tls = None
if a.ca:
    tls = ssl.create_default_context(cafile=a.ca)
    tls.check_hostname = False


class Wrong(Exception):
    pass


def check(got: bytes, want: bytes, what: str) -> bytes:
    if got != want:
        at = next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), min(len(got), len(want)))
        raise Wrong(f"{what}: {len(got)} bytes, {len(want)} expected, first difference at {at}: "
                    f"{got[at:at + 40]!r}, expected {want[at:at + 40]!r}")
    return got


class Everybody:
    """All connections meet here once they are open: only then does any go on."""

    def __init__(self) -> None:
        self.missing = a.connections
        self.open = asyncio.Event()

    async def meet(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            if a.watch:
                with open(f"/proc/{a.watch}/status") as f:
                    threads = next(line.split()[1] for line in f if line.startswith("Threads:"))
                print(f"held {a.connections} connections, {threads} threads", file=sys.stderr)
            self.open.set()
        await self.open.wait()


dialling = asyncio.Semaphore(64)


async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # Fewer at a time than the smallest listen backlog (Rust's is 128): a dropped SYN is sent again after a whole
    # second.
    async with dialling:
        return await asyncio.open_connection("127.0.0.1", a.port, ssl=tls, limit=1 << 22)


async def exchange(reader, writer, message: bytes, what: str) -> bytes:
    # Sent while the answer is read: an echo of more than the socket buffers stops both ends otherwise.
    writer.write(message)
    got, _ = await asyncio.gather(reader.readexactly(len(message)), writer.drain())
    return check(got, message, what)


async def get(i: int, digest, everybody: Everybody) -> None:
    for turn in range(a.turns):
        size = size_of(i, turn, a.largest)
        path = f"{'gate/%d/' % a.connections if turn == 0 else ''}{i}-{turn}/{size}"
        reader, writer = await dial()
        via = f"http://127.0.0.1:{a.origin}/" if a.origin else "/"
        writer.write(f"GET {via}{path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
        head, _, payload = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise Wrong(f"connection {i} turn {turn}: {head[:200]!r}")
        check(payload, body(f"{i}-{turn}", size), f"connection {i} turn {turn}")
        digest.update(answer)


async def echo(i: int, digest, everybody: Everybody) -> None:
    reader, writer = await dial()
    if a.what == "connect":
        writer.write(f"CONNECT 127.0.0.1:{a.origin} HTTP/1.0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise Wrong(f"connection {i}: {head!r}")
        digest.update(head)
    digest.update(await exchange(reader, writer, b"hello %d\n" % i, f"connection {i} hello"))
    await everybody.meet()
    for turn in range(a.turns):
        message = body(f"{i}-{turn}", size_of(i, turn, a.largest))
        digest.update(await exchange(reader, writer, message, f"connection {i} turn {turn}"))
    if tls is None:  # TLS has no half-close
        writer.write_eof()
        check(await reader.read(-1), b"", f"connection {i} after the end")
    writer.close()


async def lines(i: int, digest, everybody: Everybody) -> None:
    """The protocol of std_server.{cpp,rs}."""
    reader, writer = await dial()

    async def ask(line: str, want: str) -> None:
        writer.write(line.encode() + b"\n")
        digest.update(check(await reader.readline(), want.encode() + b"\n", f"connection {i}: {line[:40]}"))

    await ask(f"put k{i} first", "ok")
    await everybody.meet()
    for turn in range(a.turns):
        text = hashlib.sha256(b"%d-%d" % (i, turn)).hexdigest() * (1 + turn * 5)
        await ask(f"put k{i}.{turn} {text}", "ok")
        await ask(f"get k{i}.{turn}", text)
        await ask(f"reverse {text}", text[::-1])
        await ask(f"get k{i}", "first")
    await ask("bye", "bye %d" % (2 + 4 * a.turns))
    check(await reader.read(-1), b"", f"connection {i} after the end")
    writer.close()


async def one(i: int, everybody: Everybody) -> str:
    digest = hashlib.sha256()
    try:
        await {"get": get, "connect": echo, "echo": echo, "lines": lines}[a.what](i, digest, everybody)
    except (OSError, asyncio.IncompleteReadError, Wrong) as e:
        print(f"connection {i}: {e!r}", file=sys.stderr)
        everybody.open.set()  # nobody waits for a connection that will not come
        return "wrong"
    return digest.hexdigest()


async def main() -> int:
    everybody = Everybody()
    answers = await asyncio.gather(*(one(i, everybody) for i in range(a.connections)))
    for i, answer in enumerate(answers):
        print(i, answer)
    wrong = answers.count("wrong")
    print(f"{a.connections} connections, {wrong} wrong", file=sys.stderr)
    return 1 if wrong else 0


sys.exit(asyncio.run(main()))
