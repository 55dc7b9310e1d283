from report import Row
from side import NATIVE, run


def compiler(source):
    return lambda path: run(["rustc", "--edition", "2021", "-O", "-o", f"{path}/echo", str(source)], NATIVE, timeout=120)


def echo(connections):
    def load(t):
        with t.server(t.shared("rust", compiler(t.file("echo.rs"))) / "echo") as server:
            t.check("echo", "--port", server.port)
            return t.echo_load(server.port, connections)
    return load


def rows(quick):
    return [Row("Rust", f"thread-per-connection echo, {n:,}", echo(n), ["rustc"]) for n in (100, 1000)]
