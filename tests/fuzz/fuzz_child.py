"""Whatever one user's children write, report and do, the parent goes on, and other users are served as before."""

from fuzzing import fuzz, instrumented

with instrumented():
    import child_invariants

SEEDS = [
    bytes((0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 7, 0, 0, 4, 4, 7, 3, 0, 64, 9, 1, 0, 2, 0, 0)),
    bytes((1, 0, 0, 0, 5, 0, 255, 6, 0, 7, 3, 0, 255, 2, 0, 0, 10, 0, 1, 3, 0, 255, 11, 0, 3)),
    bytes((1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 8, 0, 0, 8, 1, 0, 6, 0, 3, 3, 0, 200)),
    b"",
]
WORDS = [f"{chr(what)}\0\0" for what in range(12)]
"""A step of each kind."""


def main() -> None:
    """Run the fuzzer."""
    fuzz(child_invariants.check_child, SEEDS, WORDS, longest=240)


if __name__ == "__main__":
    main()
