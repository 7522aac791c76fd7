"""A client on Python's `socket`: `relay.py copy|talk PATH`."""

import socket
import sys
import threading


def send_all(connection: socket.socket) -> None:
    while block := sys.stdin.buffer.raw.read(65536):
        connection.sendall(block)
    connection.shutdown(socket.SHUT_WR)


def copy(connection: socket.socket) -> None:
    """Copy standard input to the daemon, and meanwhile the answer to standard output."""
    threading.Thread(target=send_all, args=(connection,)).start()
    while block := connection.recv(65536):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def talk(connection: socket.socket) -> None:
    """Send a line, print its answer, go on with the next line."""
    answers = connection.makefile("rb")
    for line in sys.stdin.buffer:
        connection.sendall(line)
        sys.stdout.buffer.write(answers.readline())
        sys.stdout.buffer.flush()


with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
    connection.connect(sys.argv[2])
    {"copy": copy, "talk": talk}[sys.argv[1]](connection)
