"""The server behind the proxies: HTTP on one port, echo on another, both on loopback; prints the two ports.

GET /SEED/SIZE answers with payload.body(SEED, SIZE) under headers without a date, so that a proxy's answer
can be compared whole.
GET /gate/N/SEED/SIZE answers when N requests are waiting: the proxy has held N connections at once, however slow it is.
"""
import asyncio
import sys

from payload import body

gates: dict[int, list[asyncio.Future]] = {}


async def gate(size: int) -> None:
    waiting = gates.setdefault(size, [])
    mine = asyncio.get_running_loop().create_future()
    waiting.append(mine)
    if len(waiting) == size:
        for one in waiting:
            one.set_result(None)
        gates[size] = []
    await asyncio.wait_for(mine, 25)  # a request that never comes must not cost the others the whole time limit


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        parts = head.split()[1].strip("/").split("/")
        if parts[0] == "gate":
            await gate(int(parts[1]))
            parts = parts[2:]
        payload = body(parts[0], int(parts[1]))
        writer.write(f"HTTP/1.0 200 OK\r\nServer: origin\r\nContent-Length: {len(payload)}\r\n\r\n".encode() + payload)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, IndexError, ValueError, asyncio.TimeoutError) as e:
        print("http:", repr(e), file=sys.stderr)
    finally:
        writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError as e:
        print("echo:", repr(e), file=sys.stderr)
    finally:
        writer.close()


async def main() -> None:
    ports = []
    for handler in (http, echo):
        server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=2048)
        ports.append(str(server.sockets[0].getsockname()[1]))
    print(*ports, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
