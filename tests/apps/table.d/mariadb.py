"""MariaDB with a thread for each connection, over a Unix socket, and sysbench, once preloaded as well."""

from ready import unix
from report import Row
from side import NATIVE, run
from trial import Figures, number, word

TABLES = ["--tables=4", "--table-size=10000"]


def sysbench(socket, test, *more):
    return ["sysbench", test, "--db-driver=mysql", f"--mysql-socket={socket}", "--mysql-user=root", "--mysql-db=test", *TABLES,
            *more]


def server(t, data):
    socket = t.dir / "socket"
    config = t.config("mariadb.cnf", DATA=data, SOCKET=socket)
    return socket, t.server("mariadbd", f"--defaults-file={config}", ready=unix(socket), patience=60)


def data(t):
    def make(path):
        user = t.config("mariadb.cnf", DATA=path, SOCKET="none").read_text().split("user = ")[1].split()[0]
        run(["mariadb-install-db", "--no-defaults", f"--datadir={path}", f"--user={user}", "--skip-test-db",
             "--auth-root-authentication-method=normal"], NATIVE, timeout=120)
        side, t.side = t.side, NATIVE
        socket, native = server(t, path)
        with native:
            t.client("mariadb", "--no-defaults", "-S", socket, "-u", "root", "-e", "create database test")
            t.client(*sysbench(socket, "oltp_read_only", "prepare"))
        t.side = side
    return t.shared("mariadb", make)


def load(test, connections, both=False):
    def run(t):
        socket, started = server(t, data(t))
        with started:
            if t.first:
                # What is asked for is the same in each run, whatever order the threads come in.
                for sql in ("checksum table sbtest1, sbtest2, sbtest3, sbtest4",
                            "select sum(k), count(*), max(c) from sbtest1"):
                    t.answers[sql] = t.client("mariadb", "--no-defaults", "-S", socket, "-u", "root", "test", "-e", sql)
            with t.loaded():
                out = t.client(*sysbench(socket, test, f"--threads={connections}", f"--time={max(1, round(t.seconds))}",
                                         "--events=0", "--percentile=99", "run"),
                               side=t.side if both else NATIVE, patience=t.seconds + 120)
        for what in ("ignored errors", "reconnects"):
            t.answers[what] = word(rf"{what}: *(\d+)", out)
        return Figures(number(r"transactions: .*\(([\d.]+) per sec", out), number(r"transactions: *(\d+)", out),
                       number(r"99th percentile: *([\d.]+)", out))
    return run


def rows(quick):
    packages = ["mariadb-server", "mariadb-client", "sysbench"]
    made = []
    for test, word in (("oltp_point_select", "point select"), ("oltp_read_only", "read only")):
        for connections in (64, 512) + (() if quick else (2000,)):
            made.append(Row("mariadb", f"{word}, {connections:,}", load(test, connections), packages, unit="tx/s"))
    made.append(Row("mariadb", "point select, 512, sysbench too", load("oltp_point_select", 512, both=True), packages,
                    unit="tx/s"))
    return made
