"""Configuration files for reloads: valid ones with random limits, and broken ones."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, fields

from soak.crowd import DENIED_UID, DOUBTFUL_UID, FLOOD_UID, MIXED_UID, POLITE_UID

DRAIN_SECONDS = (0.0, 0.5, 2.0, 4.0)
BROKEN = (
    "max-children = ",
    "max-children = 0\n",
    "max-childern = 8\n",
    "idle-timeout = -1\n",
    'allow-user = ["no such user"]\n',
    "max-bytes = 1e3000\n",
    "\x00\xff",
    "[[[[[[",
)


@dataclass(frozen=True)
class Settings:
    """A valid configuration file. The field `max_children` is the option `max-children`."""

    max_children: int = 24
    spare_children: int = 4
    connections_per_child: int = 100
    max_children_per_user: int = 0
    max_queue: int = 1024
    max_rate_per_user: float = 0.0
    idle_timeout: float = 0.0
    max_lifetime: float = 0.0
    max_bytes: int = 0
    drain_timeout: float = 2.0
    deny_user: tuple[int, ...] = (DENIED_UID,) if os.geteuid() == 0 else ()
    allow_user: tuple[int, ...] = ()

    def toml(self) -> str:
        """The text of the file."""
        pairs = [(field.name.replace("_", "-"), getattr(self, field.name)) for field in fields(self)]
        return "".join(f"{name} = {list(value) if isinstance(value, tuple) else value}\n" for name, value in pairs)


def any_settings(chance: random.Random) -> Settings:
    """Random limits, of which usually one or two take effect now and then."""
    is_root = os.geteuid() == 0
    deny = Settings().deny_user
    allow: tuple[int, ...] = ()
    if chance.random() < 0.3:
        deny += (DOUBTFUL_UID,) if is_root else ()
    elif chance.random() < 0.2 and is_root:
        allow = (MIXED_UID, POLITE_UID, FLOOD_UID)
    elif not is_root and chance.random() < 0.1:
        deny += (os.geteuid(),)
    return Settings(
        max_children=chance.choice((3, 8, 16, 24, 40)),
        spare_children=chance.choice((1, 2, 4, 6)),
        connections_per_child=chance.choice((1, 2, 20, 100)),
        max_children_per_user=chance.choice((0, 0, 2, 5, 10)),
        max_queue=chance.choice((12, 100, 1024)),
        max_rate_per_user=chance.choice((0.0, 0.0, 0.0, 30.0, 300.0)),
        idle_timeout=chance.choice((0.0, 0.3, 1.5, 3.0)),
        max_lifetime=chance.choice((0.0, 0.0, 1.0, 4.0)),
        max_bytes=chance.choice((0, 0, 1_000, 50_001, 1_000_003)),
        drain_timeout=chance.choice(DRAIN_SECONDS),
        deny_user=deny,
        allow_user=allow,
    )
