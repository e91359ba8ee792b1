"""An app that somebody develops: a directory with its sources, served by ``python server.py``."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.servers import WebServer

SERVER = """\
import os

from htag import Tag
from htagweb import Runner

import words


class App(Tag.body):
    def init(self):
        self.session["opened"] = self.session.get("opened", 0) + 1
        self.add(Tag.h1(words.TEXT, _class="words"))
        self.add(Tag.b(self.session["opened"], _class="opened"))
        self.add(Tag.button("read", _onclick=self.bind.read(), _class="read"))

    def read(self):
        import later

        self.add(Tag.i(later.TEXT, _class="later"))


app = Runner(App, "127.0.0.1", int(os.environ["PORT"]), debug="DEBUG" in os.environ)


def serve(name):
    async def endpoint(request):
        return await app.handle(request, name)

    app.add_route(f"/{name}", endpoint)


for name in ("faults.Init", "faults.Render", "faults.Later", "unreadable.App", "words.App", "nowhere.App"):
    serve(name)
app.run()
"""
FAULTS = """\
from htag import Tag


class Init(Tag.body):
    def init(self):
        raise ValueError("no luck")


class Render(Tag.body):
    def render(self):
        raise ValueError("no luck")


class Later(Tag.body):
    broken = False

    def render(self):
        if self.broken:
            raise ValueError("no luck")
        self.clear("fine")

    def fail(self):
        raise ValueError("no luck")

    def spoil(self):
        self.broken = True
"""


class Project:
    """The directory and its server."""

    def __init__(self, directory: Path, *, debug: bool) -> None:
        """Write an app that shows a text, and start its server."""
        self.directory = directory
        self.restore()
        # As the tests' own path: the server's script is in its own folder.
        env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")} | ({"DEBUG": "1"} if debug else {})
        self.server = WebServer([str(directory / "server.py")], directory, env)

    @property
    def base(self) -> str:
        """The server's address."""
        return self.server.base

    def restore(self) -> None:
        """Write all files as they were first."""
        self.say("hello")
        self.say("later", "later.py")
        self.write("faults.py", FAULTS)
        self.write("unreadable.py", "def broken(:\n")
        self.write("server.py", SERVER)

    def say(self, text: str, name: str = "words.py") -> None:
        """Have a module say another text."""
        self.write(name, f"TEXT = {text!r}\n")

    def write(self, name: str, text: str) -> None:
        """Save a file."""
        (self.directory / name).write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Save a file with another text in place of one that is in it."""
        before = (self.directory / name).read_text()
        assert old in before
        self.write(name, before.replace(old, new))

    def close(self) -> None:
        """End the server and all that came with it."""
        self.server.process.stop()
        self.server.close()
