from ready import tcp
from report import Row


def proxy(t):
    port = t.port()
    return port, t.server("tinyproxy", "-d", "-c", t.config("tinyproxy.conf", PORT=port), ready=tcp(port))


def connect(connections):
    def run(t):
        with t.origin() as (_, echo), t.epoll_echo() as fast:
            port, server = proxy(t)
            with server:
                t.check("connect", "--port", port, "--origin", echo)
                return t.echo_load(fast, connections, "--connect-proxy", port)
    return run


def get(t):
    with t.origin() as (http, _), t.nginx() as fast:
        port, server = proxy(t)
        with server:
            t.check("get", "--port", port, "--origin", http)
            return t.ab(f"http://127.0.0.1:{fast}/small", 100, "-X", f"127.0.0.1:{port}")


def rows(quick):
    packages = ["tinyproxy", "apache2-utils"]
    return [Row("tinyproxy", "CONNECT tunnels to echo, 200", connect(200), packages),
            Row("tinyproxy", "CONNECT tunnels to echo, 2,000", connect(2000), packages, least=1.5),
            Row("tinyproxy", "GET, 100 clients", get, packages)]
