"""The server from the documentation of socketserver, unchanged: `tutorial.py fork|thread PATH`."""

from __future__ import annotations

import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data.upper())


class ForkingServer(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    pass


class ThreadingServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    kind = {"fork": ForkingServer, "thread": ThreadingServer}[sys.argv[1]]
    with kind(sys.argv[2], Handler) as server:
        server.serve_forever()
