from report import Row


def echo(connections):
    def load(t):
        with t.server("ruby", t.file("echo.rb")) as server:
            t.check("echo", "--port", server.port)
            return t.echo_load(server.port, connections)
    return load


def rows(quick):
    return [Row("ruby", f"thread-per-connection echo, {n:,}", echo(n), ["ruby"]) for n in (100, 500)]
