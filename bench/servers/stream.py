"""A handler as users commonly write it, and the stock servers around it: `stream.py fork|thread PATH`."""

from __future__ import annotations

import socketserver
import sys


class Stream(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while data := self.rfile.read1(65536):
            self.wfile.write(data.upper())


class ForkingServer(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 1000


class ThreadingServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 1000


if __name__ == "__main__":
    kind = {"fork": ForkingServer, "thread": ThreadingServer}[sys.argv[1]]
    with kind(sys.argv[2], Stream) as server:
        server.serve_forever()
