"""The life of a daemon around any handler: options, listeners, rules, limits, reload, the manager.

`run`, for a program of one's own, is imported when it is asked for: the parent has no use for the launcher.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.service.program import run

__all__ = ["run"]


def __getattr__(name: str) -> object:
    if name == "run":
        from upperd.service.program import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
