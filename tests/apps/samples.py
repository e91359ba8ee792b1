"""Apps that the tests host; imported by templates, by name."""

import os
import sys
from typing import Any

from htag import Tag

import htagweb.host

imported_in_template = htagweb.host.inside_template
secrets_at_import = [name for name in os.environ if name in {"HTAGWEB_REDIS_URL", "HTAGWEB_SECRET"}]


class Counter(Tag.div):  # type: ignore[misc]
    """A small app with a number in it."""

    def init(self, start: str = "0") -> None:
        self.number = int(start)
        self.shown = Tag.span(self.number)
        self.add(self.shown)
        self.add(Tag.button("more", _onclick=self.bind.more()))

    def more(self) -> None:
        self.number += 1
        self.state["number"] = self.number
        self.shown.clear(self.number)


class Troubled(Tag.div):  # type: ignore[misc]
    """An app whose handlers do what no handler should, or tell about their process."""

    def init(self) -> None:
        self.add("troubled")

    def spin(self) -> None:
        print("spinning")
        while True:
            pass

    def about(self) -> None:
        print(f"seed {os.urandom(4).hex()} {id(self)}")
        print("on stderr", file=sys.stderr)
        facts: dict[str, Any] = {
            "in_template": imported_in_template,
            "secrets": secrets_at_import,
            "session_leader": os.getsid(0) == os.getpid(),
            "stdin": os.read(0, 1).decode(),
            "descriptors": sorted(
                os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]
            ),
        }
        self.state["about"] = facts

    def quit(self) -> None:
        sys.exit(0)
