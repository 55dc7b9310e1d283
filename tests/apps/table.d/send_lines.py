"""Sends numbered syslog lines over many connections at once: send_lines.py PORT CONNECTIONS LINES"""
import socket
import sys

port, connections, lines = map(int, sys.argv[1:])
PIECE = 50  # lines in one send
sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
for first in range(0, lines, PIECE):
    for i, s in enumerate(sockets):
        s.sendall(b"".join(b"<13>Jan  1 00:00:00 host app: %d-%d %s\n" % (i, n, b"x" * (i + n & 63))
                           for n in range(first, min(first + PIECE, lines))))
for s in sockets:
    s.close()
