"""A stream comes out as str.upper has it; bytes that are not UTF-8 stay and are counted, wherever reads cut it."""

from fuzzing import fuzz, instrumented

with instrumented():
    import invariants

SEEDS = ["aé€😀ß\n".encode(), "ŉΐﬃ".encode(), b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b""]


def main() -> None:
    """Run the fuzzer."""
    fuzz(invariants.check_transform, SEEDS, "\n\uffff\U0010ffff", longest=32)


if __name__ == "__main__":
    main()
