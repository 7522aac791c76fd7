"""The reusable server: `PreforkingMixIn` and its parts.

It knows sockets and processes, and imports no other package of upperd.

`PreforkingMixIn` is imported on first use, so that `upperctl` can read the scoreboard without loading a server.
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
