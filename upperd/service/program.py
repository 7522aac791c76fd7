"""A program of one's own around a handler, with the whole of upperd's command line: `upperd.service.run`."""

from __future__ import annotations

import os
import sys

from upperd.service import cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socketserver import BaseRequestHandler


def run(handler: type[BaseRequestHandler], name: str, arguments: Sequence[str] | None = None) -> int:
    """Be a daemon that is called `name` and serves `handler`, with every option of upperd(8).

        if __name__ == "__main__":
            sys.exit(run(Shout, name="shoutd"))

    `arguments`: the command line; None: that of this process. The process becomes the daemon by execve(2), which
    imports the module of `handler` anew; so what follows is reached only where there is no daemon. Returns the exit
    status then (64: the command line, 78: the file or the handler). Raises ValueError: the class cannot be imported
    again, because it is defined inside a function, or its module has no file. RuntimeError: an import calls this.
    """
    loading = sys.modules.get("upperd.service.loading")
    if loading is not None and loading.is_importing:
        raise RuntimeError('run() is called when the module is imported: put it below if __name__ == "__main__":')
    words = sys.argv[1:] if arguments is None else arguments
    purpose = (handler.__doc__ or "").strip().partition("\n")[0] or f"Serve {handler.__qualname__} on a Unix socket."
    return cli.main([f"--name={name}", f"--handler={_reference(handler)}", *words], program=name, purpose=purpose)


def _reference(handler: type) -> str:
    """How `--handler` names the class. Raises ValueError."""
    name, module = handler.__qualname__, sys.modules[handler.__module__]
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name == "__main__":
        spec = None  # of a folder or an archive, which has no name to import it by
    if "<locals>" in name:
        raise ValueError(f"{name} is defined inside a function: a daemon imports its handler, so it must be outside")
    if handler.__module__ != "__main__" or spec is not None:
        return f"{spec.name if spec is not None else handler.__module__}:{name}"
    if not os.path.isfile(getattr(module, "__file__", None) or ""):
        raise ValueError(f"the module of {name} has no file: a daemon imports its handler, so it must have one")
    return f"{os.path.abspath(str(module.__file__))}:{name}"
