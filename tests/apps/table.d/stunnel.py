from ready import drain, tcp
from report import Row
from side import NATIVE, run


def certificate(path):
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{path}/key.pem", "-out",
         f"{path}/cert.pem"], NATIVE, timeout=60)


# stunnel asks malloc to map each block above 4 KB: 2 mmaps, 2 munmaps and 10 page faults a message on either side, three
# fifths of its time (perf). What is left to gain shows with an allocator that does not listen to mallopt.
MAPS = "three fifths of both sides' time are the mmaps and munmaps that its mallopt(M_MMAP_THRESHOLD, 4096) asks for"


def tunnel(t, origin, also=""):
    port, cert = t.port(), t.shared("certificate", certificate)
    config = t.config("stunnel.conf", PORT=port, ORIGIN=origin, CERT=cert)
    return port, cert, t.server("stunnel", config, ready=tcp(port), also=also)


def https(connections, *arguments, also=""):
    def run(t):
        if t.first:
            with t.origin() as (_, echo):
                port, cert, server = tunnel(t, echo, also)
                with server:
                    t.check("echo", "--port", port, "--ca", cert / "cert.pem")
                    drain(port)
        with t.nginx() as fast:
            port, _, server = tunnel(t, fast, also)
            with server:
                t.seconds = max(t.seconds, 3)  # the handshakes come first, and they take their time
                figures = t.wrk(f"https://127.0.0.1:{port}/small", connections, *arguments)
                drain(port)
        return figures
    return run


def rows(quick):
    packages, jemalloc = ["stunnel4", "openssl"], "libjemalloc.so.2"
    return [Row("stunnel", "small messages, 64 connections", https(64), packages),
            Row("stunnel", "small messages, 512 connections", https(512), packages, least=1.2, note=MAPS),
            Row("stunnel", "the same with jemalloc", https(512, also=jemalloc), packages + ["libjemalloc2"], least=1.2),
            Row("stunnel", "a handshake each, 64 clients", https(64, "close"), packages)]
