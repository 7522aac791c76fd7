"""Finds, imports and checks the handler's class.

The parent loads the class once, before its first fork. A check of the options loads it in a separate process.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from socketserver import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler

from upperd.server.failure import describe
from upperd.server.hooks import counters_of
from upperd.service.listeners import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from upperd.service.options import Options

UPPER = "upperd.upper.handler"
_PATH_CURE = "name its folder with --python-path"


class HandlerError(StartError):
    """The handler cannot be loaded, or does not fit its listener. The text says why."""

    status = 78


is_importing = False
"""Whether the handler's module is being imported, when it must not start a daemon (program.py)."""


class Handlers:
    """The classes that serve connections and datagrams."""

    def __init__(self, options: Options, import_path: str = "") -> None:
        """`import_path`: more folders in which to find modules, as in PYTHONPATH. Raises HandlerError."""
        self.name = options.handler
        if options.handler:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a child ends without a flush
            self._stream = self._datagram = _load(options.handler, options.python_path, import_path)
        else:
            module = import_module(UPPER)
            self._stream, self._datagram = module.UpperHandler, module.UpperDatagramHandler

    def fitting(self, *, is_datagram: bool, listener: str) -> type[BaseRequestHandler]:
        """The class for this kind of listener. Raises HandlerError if the handler is for the other kind."""
        found = self._datagram if is_datagram else self._stream
        wrong: type[BaseRequestHandler] = StreamRequestHandler if is_datagram else DatagramRequestHandler
        if issubclass(found, wrong):
            what = "datagrams" if is_datagram else "connections"
            raise HandlerError(f"handler {self.name} is a {wrong.__name__}, and {listener} takes {what}")
        return found

    def check_fit(self, options: Options) -> None:
        """Check the handler against the listeners that options name. Those that a manager passes are unknown here.

        Raises HandlerError if it does not fit.
        """
        for is_datagram, names in (False, ("socket", "tcp")), (True, ("datagram", "udp")):
            for name in names:
                if getattr(options, name) and not (name == "socket" and options.default_socket):
                    self.fitting(is_datagram=is_datagram, listener=f"--{name}")


def _load(reference: str, python_path: str, import_path: str) -> type[BaseRequestHandler]:
    global is_importing
    is_importing = True
    try:
        found = _find(reference, python_path, import_path)
        _check(found)
    except HandlerError:
        raise
    except ValueError as error:
        raise HandlerError(f"handler {reference}: {error}") from None
    except BaseException as error:  # the module may raise anything
        raise HandlerError(f"handler {reference}: {describe(error)}") from None
    finally:
        is_importing = False
    return found


def _check(found: Any) -> None:
    """Raises ValueError if the class cannot serve."""
    counters_of(found)
    hash(found)
    for name in "start_child", "end_child":
        raw = next((vars(base)[name] for base in found.__mro__ if name in vars(base)), None)
        if raw is not None and not isinstance(raw, (classmethod, staticmethod)):
            raise ValueError(f"{name} is not a class method (@classmethod)")


def _find(reference: str, python_path: str, import_path: str) -> type[BaseRequestHandler]:
    where, _, name = reference.rpartition(":")
    sys.path[:0] = [folder for folder in python_path.split(os.pathsep) if folder]
    sys.path += [folder for folder in import_path.split(os.pathsep) if folder and folder not in sys.path]
    what = f"handler {reference}"
    try:
        module = _import_file(where) if "/" in where else import_module(where)
    except ModuleNotFoundError as error:
        if error.name and f"{where}.".startswith(f"{error.name}."):
            cure = f"name a file by its path: ./{reference}" if where.endswith(".py") else _PATH_CURE
            raise HandlerError(f"{what}: no module {error.name}: {cure}") from None
        raise HandlerError(f"{what}: {describe(error)}") from None
    except OSError as error:
        if error.filename == where:
            raise HandlerError(f"handler {where}: {error.strerror}") from None
        raise
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            from upperd.base.text import near

            cure = near(part, vars(found)) if hasattr(found, "__dict__") else ""
            raise HandlerError(f"{what}: {getattr(module, '__file__', where)} has no {name}{cure}")
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, BaseRequestHandler)):
        raise HandlerError(f"{what}: {name} is not a subclass of socketserver.BaseRequestHandler")
    if sys.modules["threading"].active_count() > 1:
        threads = HandlerError(f"{what}: its module starts threads, which a fork would lose: use start_child")
        threads.has_threads = True
        raise threads
    return found


def _import_file(path: str) -> ModuleType:
    """Import a file by its path; it may import modules from its own folder."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    sys.path.insert(0, os.path.dirname(path))
    stem = os.path.splitext(os.path.basename(path))[0]
    name = f"handler_{stem}" if stem in sys.modules else stem
    loader = SourceFileLoader(name, path)
    spec = spec_from_loader(name, loader)
    assert spec is not None  # a loader was given
    module = sys.modules[name] = module_from_spec(spec)
    loader.exec_module(module)
    return module
