"""A sandbox in which the kernel does not name the user of a TCP connection."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Callable
from platform import machine

from tools import missing


def netlink_refused() -> Callable[[], None]:
    """What a process runs before exec(2) to have no AF_NETLINK; skips if that is impossible."""
    if machine() not in ("x86_64", "aarch64"):
        missing("the numbers of system calls here are not known to this test")
    return _refuse_netlink


def _refuse_netlink() -> None:
    """Forbid sockets of AF_NETLINK from now on (seccomp(2)), as RestrictAddressFamilies= does (systemd.exec(5))."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    number = {"x86_64": 41, "aarch64": 198}[machine()]
    rows = [
        (load, 0, 0, 0),  # seccomp_data.nr
        (equal, 0, 3, number),
        (load, 0, 0, 16),  # seccomp_data.args[0]
        (equal, 0, 1, int(socket.AF_NETLINK)),
        (give, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),  # SECCOMP_RET_ERRNO
        (give, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rows), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
