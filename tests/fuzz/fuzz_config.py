"""Any file yields options of valid types and ranges, which reach the parent, or an error of one line."""


from fuzzing import fuzz, instrumented

with instrumented():
    import invariants

    from upperd.service.options import OPTIONS

NAMES = [option.flag for option in OPTIONS]
TOKENS = ["\n", "#", '"', "'", '"""', "[", "]", "{", "}", ", ", ".", "true", "inf", "0x", "e9", "1979-05-27T07:32:00Z"]


def _seeds() -> list[bytes]:
    """Seeds: a file with every option at its default, and some for each as text, number, table and too long."""
    simple = [option for option in OPTIONS if isinstance(option.default, (bool, int, float))]
    lines = [f"{option.flag} = {_toml(option.default)}" for option in simple]
    seeds = ["\n".join(lines), "# empty\n"]
    for name in NAMES:
        seeds += [f'{name} = "localhost:1"', f"{name} = 0x7f", f"[{name}]\n{name}.a = [1, {{}}]", f"{name}s = 1"]
        seeds += [f"{name} = 0x{'f' * 4000}", f"{name}.{'.'.join('a' * 2000)} = 1"]
    return [seed.encode() for seed in seeds]


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Run the fuzzer."""
    fuzz(invariants.check_config, _seeds(), [*(f"{name} = " for name in NAMES), *TOKENS], longest=8192)


if __name__ == "__main__":
    main()
