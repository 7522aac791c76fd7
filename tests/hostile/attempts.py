"""What a hostile child attempts, as programs for obey.py. Each raises if the attempt is prevented.

`PARENT` and `SIBLING` stand for the pids of the daemon and of another user's child.
"""

from __future__ import annotations

READ_MEMORY = """
def read_memory(pid):
    found = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            low, high = (int(end, 16) for end in line.split()[0].split("-"))
            if line.split()[1].startswith("rw"):
                try:
                    memory.seek(low)
                    found += memory.read(high - low)
                except (OSError, ValueError, OverflowError):
                    pass
    return found
"""
"""Searches the memory of a process."""

DUMPABLE = """
import ctypes, os, signal
C = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(C, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result
def dumpable():
    # A process that lets itself be looked into, as any would without the measure.
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        secret = b"".join((b"a sec", b"ret of ", b"mine"))
        C.prctl(4, 1)
        os.write(writing, b"x")
        signal.alarm(60)
        signal.pause()
    os.read(reading, 1)
    return pid
def end(pid):
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""
"""Makes a dumpable process, and calls functions of the C library."""

PROCESS_VM_READV = """
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
def read_by_call(pid, address):
    room = ctypes.create_string_buffer(8)
    ours, theirs = Vector(ctypes.addressof(room), 8), Vector(address, 8)
    return call("process_vm_readv", pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
"""

LOOK_INTO = (
    f"{READ_MEMORY}answer = len(read_memory(PID))",
    "open('/proc/PID/mem', 'r+b')",
    "import os; answer = os.listdir('/proc/PID/fd')",
    f"{DUMPABLE}call('ptrace', 16, PID, 0, 0)",
    "open('/proc/PID/oom_score_adj', 'w').write('1000')",
)
"""Each looks into the process PID, or changes it."""


def of_a_dumpable(program: str) -> str:
    """The same against a dumpable process, in the place of `pid`."""
    return f"{DUMPABLE}{READ_MEMORY}{PROCESS_VM_READV}pid = dumpable()\ntry:\n {program}\nfinally:\n end(pid)"


FIND_SECRET = of_a_dumpable("answer = b'a secret of mine' in read_memory(pid)")
"""Reads memory that it may read, which shows that the method works and that a refusal elsewhere is one."""

RUN = """
import os, subprocess, shutil, sys
def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise OSError(done.returncode, done.stderr.decode())
    return done.stdout.decode()
def run_copy(folder):
    path = folder + "/copy-of-id"
    shutil.copy("/usr/bin/id", path)
    os.chmod(path, 0o755)
    try:
        return run(path)
    finally:
        os.unlink(path)
def run_in_memory():
    number = os.memfd_create("id", 0)
    with open("/usr/bin/id", "rb") as program:
        os.write(number, program.read())
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(f"/proc/self/fd/{number}", ["id"])
        finally:
            os._exit(9)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise OSError(status, "exec")
    return "ran"
LOADER = next(line.split()[-1] for line in open("/proc/self/maps") if "/ld-linux" in line)
"""

FLAGS = """
import contextlib, os, socket
for number in range(100):
    for flag in (False, True):
        with contextlib.suppress(OSError):
            os.set_blocking(number, flag)
    if number != handler.request.fileno():
        with contextlib.suppress(OSError):
            socket.socket(fileno=os.dup(number)).shutdown(socket.SHUT_RDWR)
answer = "done"
"""
"""Changes the flags of all its descriptors, and shuts down its sockets for all processes that share them."""

NONSENSE = """
row = handler.request._row.words
for place in range(len(row)):
    row[place] = WORD
answer = "done"
"""
"""Writes a word all over its row of the scoreboard."""

CHANNEL = """
import os, socket, stat
for number in range(3, 200):
    try:
        if stat.S_ISSOCK(os.fstat(number).st_mode) and number != handler.request.fileno():
            channel = socket.socket(fileno=os.dup(number))
            if channel.type == socket.SOCK_SEQPACKET:
                break
    except OSError:
        pass
"""
"""Finds its channel to the parent."""

LISTENERS = """
import os, socket, stat
answer = []
for name in os.listdir("/proc/self/fd"):
    try:
        if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
            one = socket.socket(fileno=os.dup(int(name)))
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                answer.append(int(name))
    except OSError:
        pass
"""
"""Looks for a descriptor that it could accept from."""
