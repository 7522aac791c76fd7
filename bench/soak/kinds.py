"""What clients do. Each kind of client is a function: well-behaved, slow, silent, rude, malicious.

A kind returns when the client leaves by itself, and raises GoneError when the daemon has ended the connection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from soak.exchange import Exchange

Kind = Callable[[Exchange, random.Random], Awaitable[None]]

WORDS = ("hello", "straße", "ﬁn", "ŉ", "été", "привет", "ὀδός", "𐐨𐑀", "日本", "0123456789", "ß" * 40, "i̇")
BLOCK = 65536


def text(chance: random.Random, size: int) -> bytes:
    """A line of about `size` bytes."""
    words: list[str] = []
    length = 0
    while length < size:
        words.append(chance.choice(WORDS))
        length += len(words[-1].encode()) + 1
    return " ".join(words).encode() + b"\n"


async def short(exchange: Exchange, chance: random.Random) -> None:
    """Sends one word."""
    await exchange.send(chance.choice(WORDS).encode())
    exchange.end_input()
    await exchange.receive_to_end()


async def conversation(exchange: Exchange, chance: random.Random) -> None:
    """Sends line by line, and waits for each answer."""
    answered = 0
    for _ in range(chance.randint(2, 20)):
        line = text(chance, chance.randint(1, 400))
        answered += len(line.decode().upper().encode())
        await exchange.send(line)
        await exchange.receive_up_to(answered)
        if chance.random() < 0.3:
            await asyncio.sleep(chance.uniform(0, 0.3))
    exchange.end_input()
    await exchange.receive_to_end()


async def long(exchange: Exchange, chance: random.Random) -> None:
    """Sends up to some megabytes, and reads at the same time."""
    block = text(chance, BLOCK)

    async def send() -> None:
        for _ in range(chance.randint(4, 40)):
            await exchange.send(block)
        exchange.end_input()

    sending = asyncio.ensure_future(send())
    try:
        await exchange.receive_to_end()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def idle(exchange: Exchange, chance: random.Random) -> None:
    """Sends a word, and then nothing for a long time."""
    await exchange.send(b"idle")
    await exchange.receive_up_to(4)
    try:
        await exchange.receive(seconds=chance.uniform(0.3, 4))
    except TimeoutError:
        exchange.end_input()
        await exchange.receive_to_end()


async def slow_writer(exchange: Exchange, chance: random.Random) -> None:
    """Sends byte by byte, with pauses within characters as well."""
    for byte in text(chance, chance.randint(10, 80)):
        await exchange.send(bytes((byte,)))
        await asyncio.sleep(chance.uniform(0, 0.05))
    exchange.end_input()
    await exchange.receive_to_end()


async def slow_reader(exchange: Exchange, chance: random.Random) -> None:
    """Reads its answer in small pieces, with pauses."""
    block = text(chance, 1000)
    left = chance.randint(50, 400)
    while True:
        while left and exchange.send_some(block):
            left -= 1
            if not left:
                exchange.end_input()
        await exchange.receive(chance.randint(1, 20_000))
        await asyncio.sleep(chance.uniform(0, 0.05))


async def leave(exchange: Exchange, chance: random.Random) -> None:
    """Sends, and closes before the answer."""
    await exchange.send(text(chance, chance.randint(1, 5_000)))
    await asyncio.sleep(chance.choice((0, 0, 0.01)))


async def leave_at_once(exchange: Exchange, chance: random.Random) -> None:
    """Connects, and closes."""


async def reset(exchange: Exchange, chance: random.Random) -> None:
    """Closes with part of the answer unread, which resets the connection."""
    await exchange.send(text(chance, chance.randint(5_000, 100_000)))
    await exchange.receive(100)


async def half_close(exchange: Exchange, chance: random.Random) -> None:
    """Sends nothing but the end of file."""
    exchange.end_input()
    await exchange.receive_to_end()


async def silent(exchange: Exchange, chance: random.Random) -> None:
    """Sends nothing, and closes after a while."""
    try:
        await exchange.receive(seconds=chance.uniform(0.1, 3))
    except TimeoutError:
        return


async def never_reads(exchange: Exchange, chance: random.Random) -> None:
    """Sends until every buffer is full, and reads nothing."""
    block = text(chance, BLOCK)
    for _ in range(chance.randint(5, 30)):
        while exchange.send_some(block):
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)


async def binary(exchange: Exchange, chance: random.Random) -> None:
    """Sends random bytes."""
    await exchange.send(chance.randbytes(chance.randint(1, 20_000)))
    exchange.end_input()
    await exchange.receive_to_end()


async def unfinished(exchange: Exchange, chance: random.Random) -> None:
    """Sends characters that begin and never end."""
    begun = chance.choice((b"\xc3", b"\xe2\x82", b"\xf0\x90\x90", b"\xf4\x8f\xbf", b"\xe0\x9f", b"\xed\xa0"))
    for _ in range(chance.randint(1, 200)):
        await exchange.send(begun)
        if chance.random() < 0.05:
            await asyncio.sleep(0.01)
    exchange.end_input()
    await exchange.receive_to_end()


MIXED: dict[Kind, int] = {
    short: 30, conversation: 14, long: 4, idle: 6, slow_writer: 5, slow_reader: 4, leave: 6, leave_at_once: 6,
    reset: 6, half_close: 4, silent: 3, never_reads: 2, binary: 5, unfinished: 5,
}  # fmt: skip
"""The kinds, and their shares of the load."""
