"""A reverse proxy that serves a web server under a prefix: it takes the prefix off each request's path."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

CHUNK_BYTES = 65536


@contextlib.asynccontextmanager
async def prefix_proxy(port: int, prefix: str) -> AsyncIterator[str]:
    """Run the proxy to a port of loopback; give its address, with the prefix. Other paths get no answer.

    A browser sends its next request on a connection when it has the answer to the one before, so a request
    begins a chunk; what goes over a WebSocket passes, as its frames are masked.
    """
    request = re.compile(rb"((?:GET|POST) )" + prefix.encode() + rb"(?=/)")

    async def up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if data.startswith((b"GET ", b"POST ")):
                data, found = request.subn(rb"\1", data, count=1)
                if not found:
                    return
            writer.write(data)

    async def down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as ways:
                both = [
                    ways.create_task(up(reader, server_writer)),
                    ways.create_task(down(server_reader, writer)),
                ]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for task in both:
                    task.cancel()
        finally:
            writer.transport.abort()
            server_writer.transport.abort()

    connections: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as tasks:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = tasks.create_task(serve(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        listening = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}{prefix}"
        finally:
            listening.close()
            for task in connections:
                task.cancel()
