"""Any environment yields what the manager passed, which reaches the parent unchanged, or an error of one line."""

from fuzzing import fuzz, instrumented

with instrumented():
    import invariants

SEEDS = [
    b"NOTIFY_SOCKET=@a\0WATCHDOG_USEC=5000000\0WATCHDOG_PID=7\0HOME=/x",
    b"LISTEN_PID=7\0LISTEN_FDS=3\0LISTEN_FDNAMES=upperd.socket::a=b\0LISTEN_PIDFDID=1",
    b"LISTEN_PID=8\0LISTEN_FDS=1",
    b"LISTEN_PID=7\0LISTEN_FDS=1025",
    b"",
]


def main() -> None:
    """Run the fuzzer."""
    names = sorted(invariants.MANAGERS)
    words = [*(f"\0{name}=" for name in names), f"LISTEN_PID={invariants.PID}\0", "=", ":"]
    fuzz(invariants.check_activation, SEEDS, words, longest=512)


if __name__ == "__main__":
    main()
