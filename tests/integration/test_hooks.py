"""Every documented hook of socketserver is called where the stock class calls it, with the same effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run_program

NOTING = """
if sys.argv[2] == "stock":
    class Base(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
        pass
else:
    Base = Server

def noting(name):
    def hook(self, *arguments):
        if name == "get_request":  # only after it: a look for a request that is not there is none
            answer = super(Noting, self).get_request()
        note(name, "parent" if os.getpid() == PARENT else "child")
        return answer if name == "get_request" else getattr(super(Noting, self), name)(*arguments)
    return hook

PARENT = os.getpid()
class Noting(Base):
    def handle_error(self, request, client_address):
        note("handle_error", "parent" if os.getpid() == PARENT else "child")
for name in ("get_request", "verify_request", "process_request", "finish_request", "shutdown_request", "close_request"):
    setattr(Noting, name, noting(name))

with serving(Noting(PATH, Echo)):
    assert ask(sys.argv[3].encode() + b"\\n") == (b"" if sys.argv[3] == "raise" else b"line\\n")
for place in ("parent", "child"):
    print(place, *[line.split()[0] for line in notes() if line.endswith(place)])
"""


@pytest.mark.parametrize("line", ["line", "raise"])
def test_place_of_each_hook(folder: Path, line: str) -> None:
    """Each hook is called in the process in which the stock class calls it, as often, and in the same order."""
    seen = {}
    for which in ("stock", "ours"):
        (folder / which).mkdir()
        seen[which] = run_program(folder / which, NOTING, which, line)
    assert seen["ours"] == seen["stock"]


CASES = {
    "verify_request that admits three of six admits three": """
class Picky(Server):
    asked = 0
    def verify_request(self, request, client_address):
        self.asked += 1
        return self.asked <= 3
with serving(Picky(PATH, Echo)) as server:
    assert [ask(b"x\\n") for _ in range(6)] == [b"x\\n"] * 3 + [b""] * 3
    assert server.asked == 6
    assert server.parent.board["refused"] == 3
""",
    "process_request of a subclass is called in the parent, and may call super()": """
class Counting(Server):
    calls = 0
    def process_request(self, request, client_address):
        self.calls += 1
        note(os.getpid())
        super().process_request(request, client_address)
with serving(Counting(PATH, Pid)) as server:
    pids = {int(ask(b"x")) for _ in range(5)}
    assert server.calls == 5
assert notes() == [str(os.getpid())] * 5
assert os.getpid() not in pids
""",
    "process_request of a subclass may serve the request itself": """
class Own(Server):
    def process_request(self, request, client_address):
        self.finish_request(request, client_address)
        self.shutdown_request(request)
with serving(Own(PATH, Pid)):
    assert [int(ask(b"x")) for _ in range(3)] == [os.getpid()] * 3
""",
    "process_request that fails is reported by handle_error, and the next request is served": """
class Failing(Server):
    calls = 0
    def process_request(self, request, client_address):
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError
        super().process_request(request, client_address)
    def handle_error(self, request, client_address):
        note(os.getpid(), type(sys.exc_info()[1]).__name__)
with serving(Failing(PATH, Echo)):
    assert [ask(b"x\\n") for _ in range(2)] == [b"", b"x\\n"]
assert notes() == [f"{os.getpid()} ZeroDivisionError"]
""",
    "get_request of a subclass gives the request and the address that the handler sees": """
class Named(Server):
    def get_request(self):
        request, address = super().get_request()
        return request, ("a name", 7)
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(repr(self.client_address).encode())
with serving(Named(PATH, Handler)):
    assert ask(b"") == b"('a name', 7)"
""",
    "get_request that fails costs no more than its own request": """
class Failing(Server):
    calls = 0
    def get_request(self):
        request, address = super().get_request()
        self.calls += 1
        if self.calls == 1:
            request.close()
            raise ConnectionAbortedError(103, "gone")
        return request, address
with serving(Failing(PATH, Echo)):
    assert [ask(b"x\\n") for _ in range(2)] == [b"", b"x\\n"]
""",
    "close_request is called in the parent for what it accepted, after a child has served it": """
class Closing(Server):
    open = 0
    def get_request(self):
        request, address = super().get_request()
        self.open += 1
        return request, address
    def close_request(self, request):
        self.open -= 1
        super().close_request(request)
with serving(Closing(PATH, Echo)) as server:
    assert [ask(b"x\\n") for _ in range(5)] == [b"x\\n"] * 5
assert server.open == 0
""",
    "finish_request may be replaced": """
class Plain(Server):
    def finish_request(self, request, client_address):
        request.sendall(b"%d" % os.getpid())
with serving(Plain(PATH, None)) as server:
    assert int(ask(b"")) != os.getpid()
    assert int(ask(b"")) != os.getpid()
""",
    "the attributes of the server are seen by its children as they were when a child was forked": """
class Own(Server):
    spare_children = 0
    connections_per_child = 1
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.server.greeting)
with serving(Own(PATH, Handler)) as server:
    for server.greeting in (b"one", b"two"):
        assert ask(b"") == server.greeting
""",
    "handle_request takes the same way, also where it has to wait for a child": """
class Timed(Server):
    timeout = 30
    max_children = max_children_per_user = 2
with Timed(PATH, Pid) as server:
    clients = [connect() for _ in range(2)]
    for client in clients:
        client.sendall(b"x")
        server.handle_request()
    pids = [int(client.recv(64)) for client in clients]
    assert len({*pids, os.getpid()}) == 3
    assert server.active_children >= set(pids)
    clients[0].shutdown(socket.SHUT_WR)  # what is closed here alone is open in our children
    with connect() as third:
        third.sendall(b"x")
        server.handle_request()
        assert int(third.recv(64)) == pids[0]
    clients[1].shutdown(socket.SHUT_WR)
""",
    "handle_request refuses what verify_request does not admit": """
class Picky(Server):
    timeout = 30
    def verify_request(self, request, client_address):
        return False
with Picky(PATH, Pid) as server:
    with connect() as client:
        server.handle_request()
        assert client.recv(1) == b""
    assert server.parent is None or not server.parent.board["connections"]
""",
    "handle_request waits for a request without end where there is no timeout": """
with Server(PATH, Echo) as server:
    answers = []
    asking = threading.Timer(0.2, lambda: answers.append(ask(b"x\\n")))
    asking.start()
    server.handle_request()
    asking.join(30)
    assert answers == [b"x\\n"]
""",
    "handle_request calls handle_timeout when none comes, within timeout": """
class Timed(Server):
    timeout = 0.1
    timed_out = 0
    def handle_timeout(self):
        super().handle_timeout()
        self.timed_out += 1
with Timed(PATH, Echo) as server:
    before = time.monotonic()
    server.handle_request()
    assert server.timed_out == 1
    elapsed = time.monotonic() - before
    assert 0.1 <= elapsed < 5, elapsed
""",
    "a server that cannot bind raises, and leaves nothing open": """
open(PATH, "w").close()
before = os.listdir("/proc/self/fd")
for _ in range(3):
    with contextlib.suppress(OSError):
        Server(PATH, Echo)
        raise AssertionError
assert os.listdir("/proc/self/fd") == before
os.unlink(PATH)
with serving(Server(PATH, Echo)):
    assert ask(b"x\\n") == b"x\\n"
""",
    "service_actions is called in the parent after every turn, and at least every poll_interval": """
class Busy(Server):
    calls = 0
    def service_actions(self):
        super().service_actions()
        self.calls += 1
        if self.calls == 5:
            self.shutdown()
with Busy(PATH, Echo) as server:
    server.serve_forever(0.01)
    assert server.calls == 5
""",
}


@pytest.mark.parametrize("promise", CASES)
def test_hook(folder: Path, promise: str) -> None:
    """The documented behaviour of socketserver's hooks holds for PreforkingMixIn (each parameter is a promise)."""
    run_program(folder, CASES[promise])
