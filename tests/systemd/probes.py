"""Try what a sandbox may forbid, and print the results as JSON: probes.py NAME...

Runs in the machine, inside of a unit, with the machine's Python and without other modules of ours. A result is "done",
or a word that a probe returns, or the name of an error or of a deadly signal. Each probe has a process of its own,
since some cannot be undone and others are deadly.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534
PTRACE_TRACEME = 0
CLONE_NEWUSER = 0x10000000
ADDR_NO_RANDOMIZE = 0x0040000
X32_GETPID = 0x40000000 + 39

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raise OSError as Python does."""
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def give_up_root() -> None:
    """Become nobody from now on, for rights that root or its group always has."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def see(path: str) -> None:
    """Look at a file; systemd hides one behind a file without any permissions."""
    if os.stat(path).st_mode & 0o777 == 0:
        raise PermissionError(errno.EACCES, path)


def create(path: str) -> None:
    """Create a file and remove it again."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
    os.unlink(path)


# --- Probes: one function each, in the order of the unit's lines


def be_a_user_of_a_container() -> None:
    """Become a user beyond the first 65536, which are those of the machine itself."""
    os.setuid(70000)


def change_root() -> None:
    """Use a capability."""
    os.chroot("/")


def become_root() -> str:
    """Run a set-user-id program of root."""
    give_up_root()
    program = Path(__file__).with_name("setuid-id")
    uid = subprocess.run([program, "-u"], stdout=subprocess.PIPE, check=True).stdout
    return "root" if int(uid) == 0 else "not-root"


def create_for_all() -> str:
    """Create a file that all may read and write, and return its resulting mode."""
    with tempfile.TemporaryDirectory() as folder:
        descriptor = os.open(f"{folder}/file", os.O_CREAT | os.O_WRONLY, 0o666)
        return f"{os.fstat(descriptor).st_mode & 0o777:o}"


def write_below_usr() -> None:
    """Put a file beside the programs."""
    create("/usr/local/bin/probe")


def look_into_home() -> None:
    """Look at a file in a home folder that all may read."""
    os.stat("/home/upperd-probe")


def look_into_tmp() -> None:
    """Look at a temporary file of another user."""
    os.stat("/tmp/upperd-probe")


def see_mounts() -> str:
    """Return the id of the mount namespace."""
    return os.readlink("/proc/self/ns/mnt")


def use_a_device() -> None:
    """Look for a device that is no pseudo-device."""
    os.stat("/dev/console")


def see_network() -> str:
    """Return the id of the network namespace."""
    return os.readlink("/proc/self/ns/net")


def open_internet_socket() -> None:
    """Open a socket of another family."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()


def send_by_ip() -> None:
    """Send a packet, if only to this host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"probe", ("127.0.0.1", 9))


def see_ipc() -> str:
    """Return the id of the IPC namespace: System V queues and shared memory."""
    return os.readlink("/proc/self/ns/ipc")


def see_a_process_of_root() -> None:
    """Look at a process of another user."""
    give_up_root()
    os.stat("/proc/1")


def read_system_statistics() -> None:
    """Look for a part of /proc that is not about processes."""
    os.stat("/proc/stat")


def read_clock_state() -> None:
    """Make a call that can also change the clock."""
    call("adjtimex", ctypes.create_string_buffer(1024))


def set_hostname() -> None:
    """Set the host's name to its present value."""
    socket.sethostname(socket.gethostname())


def make_control_group() -> None:
    """Make a control group at the top."""
    unified = "/sys/fs/cgroup/unified"
    folder = f"{unified if os.path.exists(unified) else '/sys/fs/cgroup'}/probe"
    os.mkdir(folder)
    os.rmdir(folder)


def see_kernel_log() -> None:
    """Look at the kernel's log."""
    see("/proc/kmsg")


def see_kernel_modules() -> None:
    """Look at the kernel's modules."""
    see("/usr/lib/modules")


def open_kernel_setting() -> None:
    """Open a setting of the kernel for writing."""
    os.close(os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY))


def change_personality() -> None:
    """Return addresses that can be predicted."""
    call("personality", ADDR_NO_RANDOMIZE)


def map_writable_code() -> None:
    """Map memory that can be written and executed."""
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def make_namespace() -> None:
    """Make a user namespace, the key to all others."""
    call("unshare", CLONE_NEWUSER)


def be_realtime() -> None:
    """Ask for real-time scheduling."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def make_setuid_program() -> None:
    """Leave a program behind that runs as this user for every caller."""
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o4755)


def call_another_abi() -> None:
    """Call the kernel by the numbers of x32, which Debian's kernel may not support."""
    call("syscall", X32_GETPID)


def be_debugged() -> None:
    """Make a call that no service needs."""
    call("ptrace", PTRACE_TRACEME, 0, None, None)


def be_nice() -> None:
    """Make a call that some services need, but not this one."""
    os.nice(1)


def outcome(probe: Callable[[], str | None]) -> str:
    """Run a probe in a process of its own; return its result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            word = probe() or "done"
        except OSError as error:
            word = errno.errorcode[error.errno or 0]
        os.write(writer, word.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        word = pipe.read()
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else word


if __name__ == "__main__":
    print(json.dumps({name: outcome(globals()[name]) for name in sys.argv[1:]}))
