from report import Row
from side import NATIVE, run


def compiler(source):
    return lambda path: run(["javac", "-d", str(path), str(source)], NATIVE, timeout=120)


def echo(connections):
    def load(t):
        classes = t.shared("java", compiler(t.file("Echo.java")))
        with t.server("java", "-Xmx512m", "-cp", classes, "Echo") as server:
            t.check("echo", "--port", server.port)
            return t.echo_load(server.port, connections)
    return load


def rows(quick):
    return [Row("OpenJDK 17", f"thread-per-connection echo, {n:,}", echo(n), ["openjdk-17-jdk-headless"]) for n in (100, 1000)]
