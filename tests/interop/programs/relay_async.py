"""A client on asyncio's streams: `relay_async.py copy|talk PATH`."""

import asyncio
import sys


async def send_all(writer: asyncio.StreamWriter) -> None:
    while block := await asyncio.to_thread(sys.stdin.buffer.raw.read, 65536):
        writer.write(block)
        await writer.drain()
    writer.write_eof()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy standard input to the daemon, and meanwhile the answer to standard output."""
    sending = asyncio.create_task(send_all(writer))
    while block := await reader.read(65536):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    await sending


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a line, print its answer, go on with the next line."""
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        writer.write(line)
        sys.stdout.buffer.write(await reader.readline())
        sys.stdout.buffer.flush()


async def main() -> None:
    reader, writer = await asyncio.open_unix_connection(sys.argv[2])
    await {"copy": copy, "talk": talk}[sys.argv[1]](reader, writer)
    writer.close()


asyncio.run(main())
