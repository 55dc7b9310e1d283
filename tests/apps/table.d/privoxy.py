from signal import SIGTERM  # privoxy's exit status is the signal's number

from ready import tcp
from report import Row


def proxy(t):
    port = t.port()
    return port, t.server("privoxy", "--no-daemon", t.config("privoxy.conf", PORT=port), ready=tcp(port), ok=(SIGTERM,))


def connect(t):
    with t.origin() as (_, echo), t.epoll_echo() as fast:
        port, server = proxy(t)
        with server:
            t.check("connect", "--port", port, "--origin", echo)
            return t.echo_load(fast, 500, "--connect-proxy", port)


def get(t):
    with t.origin() as (http, _), t.nginx() as fast:
        port, server = proxy(t)
        with server:
            t.check("get", "--port", port, "--origin", http)
            return t.ab(f"http://127.0.0.1:{fast}/small", 100, "-X", f"127.0.0.1:{port}")


def rows(quick):
    return [Row("privoxy", "CONNECT tunnels to echo, 500", connect, ["privoxy"]),
            Row("privoxy", "GET, 100 clients", get, ["privoxy", "apache2-utils"])]
