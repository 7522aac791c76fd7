"""A handler that obeys: a client's program runs in the client's child, as if the handler had a hole.

The program leaves its findings in `answer`; an exception is an answer, too.
"""

import json
from socketserver import BaseRequestHandler, StreamRequestHandler


class Obey(StreamRequestHandler):
    """Run the program that arrives up to the end of file, and answer in JSON: [whether it worked, what it found]."""

    def handle(self):
        scope = {"handler": self, "answer": None}
        try:
            exec(self.rfile.read().decode(), scope)
            answer = True, scope["answer"]
        except BaseException as error:
            answer = False, f"{type(error).__name__}: {error}"
        self.wfile.write(json.dumps(answer).encode())


class Hold(Obey):
    """The same for a lasting conversation: each line is a program in JSON, and gets a line as its answer."""

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
