"""`upperd.service.run`: makes a handler a program of its own, with upperd's whole command line."""

from __future__ import annotations

import os
import sys

from upperd.service import cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socketserver import BaseRequestHandler


def run(handler: type[BaseRequestHandler], name: str, arguments: Sequence[str] | None = None) -> int:
    """Become a daemon called `name` that serves `handler`, with every option of upperd(8).

        if __name__ == "__main__":
            sys.exit(run(Shout, name="shoutd"))

    `arguments`: the command line; None: that of this process. This process becomes the daemon by execve(2), and the
    daemon imports the module of `handler` again. `run` returns only if this process does not become the daemon, with an
    exit status (64: the command line, 78: the file or the handler). Raises ValueError if no import can find the
    class: it is defined inside a function, or its module has no file. RuntimeError if called when upperd imports it.
    """
    loading = sys.modules.get("upperd.service.loading")
    if loading is not None and loading.is_importing:
        raise RuntimeError('run() is called when the module is imported: put it below if __name__ == "__main__":')
    words = sys.argv[1:] if arguments is None else arguments
    purpose = (handler.__doc__ or "").strip().partition("\n")[0] or f"Serve {handler.__qualname__} on a Unix socket."
    return cli.main([f"--name={name}", f"--handler={_reference(handler)}", *words], program=name, purpose=purpose)


def _reference(handler: type) -> str:
    """The class as `--handler` names it. Raises ValueError."""
    name, module = handler.__qualname__, sys.modules[handler.__module__]
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name == "__main__":
        spec = None  # a folder or an archive was run: it has no name to import it by
    if "<locals>" in name:
        raise ValueError(f"{name} is inside a function: a daemon imports its handler, so define it at module level")
    if handler.__module__ != "__main__" or spec is not None:
        return f"{spec.name if spec is not None else handler.__module__}:{name}"
    if not os.path.isfile(getattr(module, "__file__", None) or ""):
        raise ValueError(f"the module of {name} has no file: a daemon imports its handler, so it must have one")
    return f"{os.path.abspath(str(module.__file__))}:{name}"
