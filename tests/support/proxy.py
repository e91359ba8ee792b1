"""A TCP proxy between a browser and a web worker, that does what networks do: cut, freeze, refuse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

CHUNK_BYTES = 65536


class Proxy:
    """Passes bytes between its clients and a port of loopback."""

    def __init__(self, tasks: asyncio.TaskGroup, port: int, idle_s: float | None) -> None:
        self._tasks = tasks
        self.port = port
        """Where new connections go."""
        self._idle_s = idle_s
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self.base = ""
        self.idle_cuts = 0
        """How many connections were cut because nothing passed for so long."""
        self.refuses = False
        """Whether new connections are cut at once."""

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a client's connection."""
        if self.refuses:
            return writer.transport.abort()
        connection = _Connection(reader, writer)
        task = self._tasks.create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.run(self.port, self._idle_s)
        except TimeoutError:
            self.idle_cuts += 1

    def cut(self) -> None:
        """Cut all connections."""
        for task in list(self._connections):
            task.cancel()

    def freeze(self) -> None:
        """Pass nothing more on today's connections, and do not say so: as a router that forgot them."""
        for connection in self._connections.values():
            connection.flows.clear()


class _Connection:
    """One client's connection, and ours to the server; the end of one is the end of both."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.flows = asyncio.Event()
        self.flows.set()

    async def run(self, port: int, idle_s: float | None) -> None:
        """Pass bytes both ways until either side ends; TimeoutError when none passed for ``idle_s``.

        ConnectionRefusedError when nothing listens on the port.
        """
        try:
            async with asyncio.timeout(idle_s) as idle:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    async with asyncio.TaskGroup() as tasks:
                        ways = [(self._reader, writer), (reader, self._writer)]
                        passing = [tasks.create_task(self._pass(*way, idle, idle_s)) for way in ways]
                        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
                        for task in passing:
                            task.cancel()
                finally:
                    writer.transport.abort()
        finally:
            self._writer.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        idle: asyncio.Timeout,
        idle_s: float | None,
    ) -> None:
        with contextlib.suppress(ConnectionError):  # reset by either side: an end as any other
            while True:
                data = await reader.read(CHUNK_BYTES)
                await self.flows.wait()
                if not data:
                    return
                if idle_s is not None:
                    idle.reschedule(asyncio.get_running_loop().time() + idle_s)
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def proxy_to(port: int, idle_s: float | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy to a port of loopback, that cuts a connection on which nothing passed for ``idle_s``."""
    async with asyncio.TaskGroup() as tasks:
        proxy = Proxy(tasks, port, idle_s)
        server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
        proxy.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
