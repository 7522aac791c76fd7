"""A client process that makes many short connections, one after the other: `python short.py PATH COUNT`."""

import socket
import sys


def main(path: str, count: int) -> int:
    """Ask `count` times, on a new connection each time; the exit status is 0 if every answer was right."""
    for _ in range(count):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"short")
            client.shutdown(socket.SHUT_WR)
            if client.recv(16) != b"SHORT" or client.recv(16) != b"":
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
