"""A page that has POSTs alone, and a small server whose answers a test gives piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page

from tests.browser.client_page import ClientPage
from tests.browser.worker_seal import WorkerSeal
from tests.support.waiting import until

REASONS = {200: "OK", 409: "Conflict"}


class Post:
    """One POST of the page, seen from the web worker."""

    def __init__(self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        """Answer it on ``writer``."""
        self.headers = headers
        self.body = body
        self.text = ""
        self.number = 0
        self.gone = False
        self.seal: WorkerSeal | None = None
        self._writer = writer

    @property
    def message(self) -> dict[str, Any]:
        """The message, decoded."""
        return dict(json.loads(self.text))

    @property
    def extra(self) -> dict[str, Any]:
        """Its part that is ours."""
        return dict(self.message["htagweb"])

    async def begin(self, status: int = 200) -> None:
        """Send status and headers."""
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'Refused')}\r\nConnection: close\r\n"
        await self.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())

    async def finish(self, *messages: Any) -> None:
        """Send the array of messages and end."""
        text = json.dumps(messages)
        await self.finish_body(self.seal.seal(self.number, text) if self.seal else text.encode())

    async def finish_body(self, body: bytes) -> None:
        """Send this body and end."""
        await self.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        self._writer.close()

    async def answer(self, *messages: Any) -> None:
        """Send it all."""
        await self.begin()
        await self.finish(*messages)

    async def settle(self, number: int, **action: Any) -> None:
        """Answer this interaction with action ``number``."""
        await self.finish(self.answered_by(number, **action))

    def answered_by(self, number: int, **action: Any) -> dict[str, Any]:
        """Return action ``number`` as the answer to this interaction."""
        control = {"n": number, "page": self.extra["page"], "answers": self.extra["n"]}
        return {**action, "htagweb": control}

    async def refuse(self, status: int, text: str = "") -> None:
        """Answer with a status and a plain text."""
        await self.begin(status)
        await self.finish_body(text.encode())

    def die(self) -> None:
        """Break the connection, as a worker that is killed."""
        self._writer.transport.abort()

    async def write(self, data: bytes) -> None:
        """Send a piece of the response as it is."""
        self._writer.write(data)
        await self._writer.drain()


class PostServer:
    """Takes POSTs, and keeps them for the test; handshakes it answers by itself."""

    def __init__(self) -> None:
        """Keep what comes in ``posts``."""
        self.posts: list[Post] = []
        self.seals: list[WorkerSeal] = []
        self.changed: Callable[[], None] = lambda: None
        self.base = ""
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[PostServer]:
        """Serve on a free port until the context ends."""
        server = await asyncio.start_server(self._handle_connection, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await until(lambda: not self._writers, "every connection has ended")

    async def _handle_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._handle_post(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            """A connection that the browser opened for later, or left."""
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _handle_post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines()[1:])
        }
        post = Post(headers, await reader.readexactly(int(headers["content-length"])), writer)
        if headers["content-type"] == "application/octet-stream":
            post.seal = self.seals[int(headers["x-htagweb-channel"])]
            post.number, post.text = post.seal.open(post.body)
        else:
            post.text = post.body.decode()
        if "key" in post.extra:
            self.seals.append(WorkerSeal(post.extra["curve"], post.extra["key"]))
            await post.begin()
            answer = {"htagweb": {"key": self.seals[-1].public, "channel": str(len(self.seals) - 1)}}
            return await post.finish_body(json.dumps(answer).encode())
        self.posts.append(post)
        self.changed()
        await reader.read()  # until the browser leaves, or the answer has ended
        post.gone = True
        self.changed()


class PostPage(ClientPage):
    """The page under test, without a WebSocket."""

    def __init__(self, page: Page, server: PostServer) -> None:
        """Control ``page``, whose POSTs go to ``server``."""
        super().__init__(page)
        self.server = server
        server.changed = self._changed.set

    async def open(self, scheme: str = "http", style: str = "", csp: str = "", **config: Any) -> PostPage:
        """Load the document, configured for POSTs."""
        self.base = self.server.base
        await super().open(scheme, style, csp, http_only=True, **config)
        return self

    async def post(self, count: int) -> Post:
        """Wait for the page's ``count``-th POST."""
        posts = self.server.posts
        await self.until(lambda: len(posts) >= count, f"{count} POSTs (got {[each.text for each in posts]})")
        return posts[count - 1]

    async def open_ready(self, **config: Any) -> PostPage:
        """Load the document, answer its hello and what start() asked: two POSTs."""
        await self.open(**config)
        await (await self.post(1)).answer()
        await self.until_state("ready")
        started = await self.post(2)
        await started.begin()
        await started.settle(13)
        await self.until_unanswered()
        return self

    async def until_unanswered(self, *numbers: int) -> None:
        """Wait until these interactions, and no others, wait for an answer."""
        await self.until_js(f"`${{htagweb.inspect().unanswered}}` === '{','.join(map(str, numbers))}'")
