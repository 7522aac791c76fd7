"""A handler that does what it is told: the program that a client sends runs in its child, as if it had a hole.

The program leaves what it has found in `answer`; what it raises is the answer, too.
"""

import json
from socketserver import BaseRequestHandler, StreamRequestHandler


class Obey(StreamRequestHandler):
    """Run what comes up to the end of file, and answer with JSON: [whether it worked, what it found]."""

    def handle(self):
        scope = {"handler": self, "answer": None}
        try:
            exec(self.rfile.read().decode(), scope)
            answer = True, scope["answer"]
        except BaseException as error:
            answer = False, f"{type(error).__name__}: {error}"
        self.wfile.write(json.dumps(answer).encode())


class Hold(Obey):
    """The same, for a client that goes on: each line is a program in JSON, and is answered by a line."""

    def handle(self):
        scope = {"handler": self}
        for line in self.rfile:
            scope["answer"] = None
            try:
                exec(json.loads(line), scope)
                answer = True, scope["answer"]
            except BaseException as error:
                answer = False, f"{type(error).__name__}: {error}"
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Datagram(BaseRequestHandler):
    """The same for a datagram."""

    def handle(self):
        scope = {"handler": self, "answer": None}
        try:
            exec(self.request[0].decode(), scope)
            answer = True, scope["answer"]
        except BaseException as error:
            answer = False, f"{type(error).__name__}: {error}"
        self.request[1].sendto(json.dumps(answer).encode(), self.client_address)
