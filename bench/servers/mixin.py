"""The mixin as a library, used as in the README, without tuning: `mixin.py PATH [CONNECTIONS_PER_CHILD]`."""

from __future__ import annotations

import socketserver
import sys

from upperd.server import PreforkingMixIn


class Upper(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data.upper())


class EchoServer(PreforkingMixIn, socketserver.UnixStreamServer):
    pass


if __name__ == "__main__":
    if len(sys.argv) > 2:
        EchoServer.connections_per_child = int(sys.argv[2])
    with EchoServer(sys.argv[1], Upper) as server:
        server.serve_forever()
