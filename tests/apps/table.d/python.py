from report import Row
from trial import PYTHON


def http(t):
    with t.server(PYTHON, t.file("http_server.py")) as server:
        t.check("get", "--port", server.port)
        return t.wrk(f"http://127.0.0.1:{server.port}/small", 64)


def rows(quick):
    return [Row("CPython", "ThreadingHTTPServer, 64 clients", http)]
