"""PreforkingMixIn in other programs, which may use it as they use the stock class."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from programs import IN_THREAD
from tools import need

PRELUDE = """
import contextlib, faulthandler, os, select, signal, socket, socketserver, sys, threading, time
faulthandler.dump_traceback_later(80, exit=True)
from upperd.server import PreforkingMixIn

PATH, KIND = sys.argv[1:]
MixIn = PreforkingMixIn if KIND == "ours" else socketserver.ForkingMixIn

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)

class Server(MixIn, socketserver.UnixStreamServer):
    spare_children = 2

class TCP(MixIn, socketserver.TCPServer):
    allow_reuse_address = True
    spare_children = 2

def ask(data, address=PATH):
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.settimeout(30)
        client.connect(address)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(100), b""))

def listens(address):
    with socket.socket() as client:
        return client.connect_ex(address) == 0
"""

CASES = {
    "it may block every signal and wait in sigwait": """
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
with Server(PATH, Echo) as server, in_thread(server):
    for _ in range(3):
        assert ask(b"x") == b"x"
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM
""",
    "of two servers one may be closed: its address is free, and the other one serves": """
with TCP(("127.0.0.1", 0), Echo) as one, in_thread(one):
    with TCP(("127.0.0.1", 0), Echo) as other, in_thread(other):
        assert ask(b"x", one.server_address) == ask(b"x", other.server_address) == b"x"
        address = other.server_address
    end = time.monotonic() + 30
    while listens(address):  # until a child of the other one, which has a copy, has ended
        assert time.monotonic() < end, "it still listens"
    assert ask(b"x", one.server_address) == b"x"
""",
    "an address in use is an OSError of the constructor": """
import errno
with Server(PATH, Echo):
    try:
        Server(PATH, Echo)
    except OSError as error:
        assert error.errno == errno.EADDRINUSE
    else:
        raise AssertionError("there are two")
""",
    "the default time-out of sockets, and a listener that does not block, change nothing": """
socket.setdefaulttimeout(1)
with Server(PATH, Echo) as server:
    server.socket.setblocking(False)
    with in_thread(server):
        assert ask(b"x") == b"x"
        children, before = server.active_children, time.process_time()
        select.select([], [], [], 2.5)
        assert time.process_time() - before < 1
        assert children <= server.active_children or KIND == "stock"
        assert ask(b"y") == b"y"
""",
    "an exception of a signal handler leaves the loop, which may be entered again, a thousand times": """
class Leave(Exception):
    pass
def leave(*_):
    raise Leave
signal.signal(signal.SIGALRM, leave)
left = 0
with Server(PATH, Echo) as server:
    while left < 1000:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            server.serve_forever(0.05)
        except Leave:
            left += 1
    asking = threading.Thread(target=lambda: (answers.append(ask(b"x")), server.shutdown()))
    answers = []
    asking.start()
    server.serve_forever(0.05)
    asking.join(30)
assert answers == [b"x"]
""",
    "it may call handle_request in a loop of its own, beside select": """
reading, writing = os.pipe()
answers = []
def client():
    answers.extend(ask(b"x") for _ in range(20))
    os.write(writing, b"!")
with Server(PATH, Echo) as server:
    asking = threading.Thread(target=client)
    asking.start()
    while True:
        ready, _, _ = select.select([server, reading], [], [], 30)
        assert ready
        if server in ready:
            server.handle_request()
        if reading in ready:
            break
    asking.join(30)
assert answers == [b"x"] * 20
""",
    "it may have threads, subprocesses, an asyncio loop and multiprocessing beside it": """
import asyncio, multiprocessing, subprocess
async def run():
    process = await asyncio.create_subprocess_exec("true")
    return await process.wait()
def twice(number):
    return 2 * number
stop = threading.Event()
idle = threading.Thread(target=stop.wait)
idle.start()
with Server(PATH, Echo) as server, in_thread(server):
    for _ in range(5):
        assert ask(b"x") == b"x"
        assert subprocess.run(["false"]).returncode == 1
        assert asyncio.run(run()) == 0
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.map(twice, [1, 2]) == [2, 4]
stop.set()
idle.join(30)
""",
    "clients of TLS that leave at once hold up no other": """
import ssl, subprocess
subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
subprocess.run([*made, "-keyout", f"{PATH}.key", "-out", f"{PATH}.pem"], check=True, capture_output=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{PATH}.pem", f"{PATH}.key")
class TLS(TCP):
    request_queue_size = 100
    def get_request(self):
        connection, address = super().get_request()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address
    def handle_error(self, request, client_address):
        pass
with TLS(("127.0.0.1", 0), Echo) as server, in_thread(server):
    for _ in range(5):
        for _ in range(20):
            with contextlib.closing(socket.create_connection(server.server_address)):
                pass
        trusting = ssl.create_default_context(cafile=f"{PATH}.pem")
        with socket.create_connection(server.server_address, 30) as plain:
            with trusting.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"x\\n")
                assert client.recv(9) == b"x\\n"
        assert KIND == "stock" or not server.parent.population.is_paused
""",
    "it may have more than 255 listeners": """
with contextlib.ExitStack() as until:
    servers = []
    for number in range(260):
        server = until.enter_context(Server(f"{PATH}.{number}", Echo))
        server.spare_children = 1
        servers.append(server)
    for server in (servers[0], servers[255], servers[259]):
        with in_thread(server):
            assert ask(b"x", server.server_address) == b"x"
""",
}


ALONE = (
    "clients of TLS that leave at once hold up no other",
    "an exception of a signal handler leaves the loop, which may be entered again, a thousand times",
)
"""Cases in which the stock class hangs: its child has copies of the clients in the same program; and it keeps one
threading.Event for ever, which an exception between two steps leaves locked."""
PAIRS = [(promise, kind) for promise in CASES for kind in ("stock", "ours") if kind == "ours" or promise not in ALONE]


@pytest.mark.parametrize(("promise", "kind"), PAIRS)
def test_program(folder: Path, promise: str, kind: str) -> None:
    """A program may do this with PreforkingMixIn as it may with ForkingMixIn (each parameter is a promise)."""
    if "openssl" in CASES[promise]:
        need("openssl")
    code = PRELUDE + IN_THREAD + CASES[promise]
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(folder / "s"), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
