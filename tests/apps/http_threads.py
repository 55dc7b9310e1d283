"""A threading HTTP server and its clients in one process: accept, a thread a connection, urllib in 64 threads.

Prints a digest for each client; standard error tells how many kernel threads there were with all clients connected.
"""
import hashlib
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLIENTS, TURNS = 64, 4
everybody = threading.Barrier(CLIENTS, timeout=25)
answers = [""] * CLIENTS


def tell_threads() -> None:
    with open("/proc/self/status") as f:
        threads = next(line.split()[1] for line in f if line.startswith("Threads:"))
    print(f"held {CLIENTS} connections, {threads} threads", file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/held" and everybody.wait() == 0:
            tell_threads()
        out = hashlib.sha256(data).hexdigest().encode() + data[::-1]
        self.send_response(200)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = False
    block_on_close = True


def client(i: int, port: int) -> None:
    digest = hashlib.sha256()
    for turn in range(TURNS):
        data = hashlib.sha256(b"%d %d" % (i, turn)).digest() * (1 + (i * 37 + turn * 511) % 2000)
        path = "held" if turn == 0 else "more"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", data=data, timeout=50) as r:
            got = r.read()
        want = hashlib.sha256(data).hexdigest().encode() + data[::-1]
        assert got == want, f"client {i} turn {turn}: {len(got)} bytes"
        digest.update(got)
    answers[i] = digest.hexdigest()


server = Server(("127.0.0.1", 0), Handler)
serving = threading.Thread(target=server.serve_forever)
serving.start()
clients = [threading.Thread(target=client, args=(i, server.server_port)) for i in range(CLIENTS)]
for t in clients:
    t.start()
for t in clients:
    t.join()
server.shutdown()
serving.join()
server.server_close()
print(*answers, sep="\n")
sys.exit(0 if all(answers) else 1)
