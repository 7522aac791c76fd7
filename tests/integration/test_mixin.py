"""PreforkingMixIn in library programs: every hook does what socketserver documents."""

import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import contextlib, os, select, signal, socket, socketserver, sys, threading, time
from upperd.server import PreforkingMixIn

PATH = sys.argv[1]

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line if line != b"raise\\n" else 1 / 0)

class Server(PreforkingMixIn, socketserver.UnixStreamServer):
    spare_children = 2

def ask(data):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(PATH)
        with contextlib.suppress(BrokenPipeError):  # a refused client may be too late
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(100), b""))

def serve_in_thread(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    return thread
"""

CASES = {
    "any handler is served in any thread": """
with Server(PATH, Echo) as server:
    thread = serve_in_thread(server)
    assert [ask(b"line\\n") for _ in range(10)] == [b"line\\n"] * 10
    server.shutdown()
    thread.join(30)
    assert not thread.is_alive()
assert server.active_children == set()
""",
    "shutdown in a signal handler of the serving thread does not deadlock": """
with Server(PATH, Echo) as server:
    signal.signal(signal.SIGALRM, lambda *_: server.shutdown())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    server.serve_forever()
    assert server.active_children == set()
""",
    "a child never runs the handlers of the program": """
signal.signal(signal.SIGTERM, lambda *_: open(PATH + ".ran", "a").write("ran"))
with Server(PATH, Echo) as server:
    thread = serve_in_thread(server)
    assert ask(b"x") == b"x"
    for pid in server.active_children:
        with contextlib.suppress(ProcessLookupError):  # the one that answered has ended meanwhile
            os.kill(pid, signal.SIGTERM)
            select.select([os.pidfd_open(pid)], [], [], 30)  # a connection is given to three that are dying, at most
    assert ask(b"x") == b"x"
    server.shutdown()
    thread.join(30)
assert not os.path.exists(PATH + ".ran")
""",
    "handle_request serves one request, and handle_timeout is called when none comes": """
class Timed(Server):
    timeout = 0.1
    timed_out = False
    def handle_timeout(self):
        super().handle_timeout()
        self.timed_out = True
with Timed(PATH, Echo) as server:
    server.handle_request()
    assert server.timed_out
    server.timeout = 30
    asking = threading.Thread(target=lambda: results.append(ask(b"one")))
    results = []
    asking.start()
    server.handle_request()
    asking.join(30)
    assert results == [b"one"]
""",
    "verify_request refuses, and the refusal is counted": """
class Picky(Server):
    def verify_request(self, request, client_address):
        return False
with Picky(PATH, Echo) as server:
    thread = serve_in_thread(server)
    assert ask(b"") == b""
    assert ask(b"") == b""
    server.shutdown()
    thread.join(30)
    board = server.parent.board
    server.collect_children(blocking=True)
assert board["refused"] == 2
""",
    "handle_error is called in the child, and the next request is served": """
class Careful(Server):
    def handle_error(self, request, client_address):
        open(PATH + ".error", "a").write(type(sys.exc_info()[1]).__name__ + "\\n")
with Careful(PATH, Echo) as server:
    thread = serve_in_thread(server)
    assert ask(b"raise\\n") == b""
    assert ask(b"fine\\n") == b"fine\\n"
    server.shutdown()
    thread.join(30)
assert open(PATH + ".error").read() == "ZeroDivisionError\\n"
""",
    "a child of another part of the program is not reaped": """
pid = os.fork()
if pid == 0:
    os._exit(7)
with Server(PATH, Echo) as server:
    thread = serve_in_thread(server)
    assert ask(b"x") == b"x"
    server.shutdown()
    thread.join(30)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
""",
    "server_close ends a server that another thread still serves, and closes the listener after that": """
seen = []
class Watched(Server):
    def service_actions(self):
        super().service_actions()
        seen.append(self.socket.fileno())
with Watched(PATH, Echo) as server:
    thread = serve_in_thread(server)
    assert ask(b"x") == b"x"
thread.join(30)
assert not thread.is_alive()
assert seen and -1 not in seen
assert server.active_children == set()
""",
    "server_close ends a child that hangs, within drain_timeout": """
class Short(Server):
    drain_timeout = 0.2
class Hang(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"x")
        while True:
            signal.pause()
with Short(PATH, Hang) as server:
    thread = serve_in_thread(server)
    client = socket.socket(socket.AF_UNIX)
    client.connect(PATH)
    assert client.recv(1) == b"x"
    server.shutdown()
    thread.join(30)
client.close()
assert server.active_children == set()
""",
}


@pytest.mark.parametrize("promise", CASES)
def test_library_promise(folder: Path, promise: str) -> None:
    """The documented behaviour of socketserver's hooks holds for PreforkingMixIn (each parameter is a promise)."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + CASES[promise], str(folder / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
