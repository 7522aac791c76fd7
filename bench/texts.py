"""The texts that are sent in bulk, and their upper case.

They only contain letters that every compared program maps to the same bytes: no letter whose upper case has another
number of letters (as U+00DF has), and none that some programs treat differently.
"""

from __future__ import annotations

from pathlib import Path

from build import BUILT, replacing

SIZE = 1 << 20
SAMPLES = {
    "ascii": "The quick brown fox jumps over the lazy dog, 42 times a day; nobody has ever asked the dog about it.\n",
    # All below U+0100, so without the ligature and the curly apostrophe.
    "french": "Voilà l'été à Évian: où les élèves âgés préfèrent déjà la crème brûlée, le café et le maïs à l'hôtel.\n",
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю; а потом приходи к нам в гости вечером.\n",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, και ύστερα πηγαίνω στη θάλασσα με τους φίλους μου κάθε πρωί.\n",
}
SAMPLES["mixed"] = SAMPLES["ascii"] + SAMPLES["french"] + SAMPLES["cyrillic"] + SAMPLES["greek"]


def write_text(name: str) -> tuple[Path, Path]:
    """Write about SIZE bytes of a text, and its upper case, unless they exist; return the two files."""
    sample = SAMPLES[name]
    times = SIZE // len(sample.encode())
    paths = BUILT / f"{name}.text", BUILT / f"{name}.upper"
    for path, line in zip(paths, (sample, sample.upper()), strict=True):
        data = line.encode() * times
        if not path.exists() or path.read_bytes() != data:
            with replacing(path) as partial:
                partial.write_bytes(data)
    return paths
