"""A single process with an event loop: `loop.py asyncio|uvloop streams|protocol PATH`."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

BLOCK = 256 * 1024
BACKLOG = 4096


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(BLOCK):
            writer.write(data.upper())
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


class Upper(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the methods, but is no asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())

    # This bounds the buffer: while the client does not read, nothing is read from it.
    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve(form: str, path: str) -> None:
    if form == "streams":
        server = await asyncio.start_unix_server(serve_stream, path, backlog=BACKLOG, limit=BLOCK)
    else:
        server = await asyncio.get_running_loop().create_unix_server(Upper, path, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(serve(*sys.argv[2:]))
