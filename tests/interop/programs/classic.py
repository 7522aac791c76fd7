"""The tutorial's client, which beginners type first."""

import socket

HOST, PORT = "localhost", 9999

with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
    sock.connect((HOST, PORT))
    while True:
        try:
            line = input()
        except EOFError:
            break
        sock.sendall(line.encode())
        print(sock.recv(1024).decode(), flush=True)
