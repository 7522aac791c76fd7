"""The reusable server: `PreforkingMixIn`, and what carries it.

It knows sockets and processes, and imports nothing of ours.

`PreforkingMixIn` is imported when it is asked for: `upperctl` reads the scoreboard without a server.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.server.mixin import PreforkingMixIn

__all__ = ["PreforkingMixIn"]


def __getattr__(name: str) -> object:
    if name == "PreforkingMixIn":
        from upperd.server.mixin import PreforkingMixIn

        return PreforkingMixIn
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
