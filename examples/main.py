"""What an app can do, on one page. Start it with: python examples/main.py"""

import asyncio
import os
import time

from htag import Tag

from htagweb import Runner

STORY = "Once upon a time there was a page that never had to be reloaded."


class Counter(Tag.div):
    """Keeps its number as long as its process lives: try F5."""

    def init(self):
        self.number = Tag.span("0", _class="number")
        self <= Tag.h2("A counter")
        self <= Tag.button("+1", _onclick=self.bind.increment(), _class="increment")
        self <= self.number

    def increment(self):
        self.number.clear(str(int(self.number.innerHTML) + 1))


class Clock(Tag.div):
    """Moves by itself: the server pushes each change with ``update()``."""

    def init(self):
        self.time = Tag.span("…", _class="time")
        self <= Tag.h2("A clock")
        self <= self.time
        self.js = self.bind.start()
        self.task = None

    def start(self):
        if self.task is None:
            self.task = asyncio.create_task(self.tick())

    async def tick(self):
        while True:
            self.time.clear(time.strftime("%H:%M:%S"))
            await self.time.update()
            await asyncio.sleep(1)


class Notes(Tag.div):
    """Lives in the session: other apps, routes and later processes of this user see it too."""

    def init(self):
        self.list = Tag.ul(_class="notes")
        self <= Tag.h2("Notes of this session")
        self <= Tag.input(
            _class="note", _placeholder="a note, then Enter", _onchange=self.bind.add_note(b"this.value")
        )
        self <= self.list

    def render(self):
        self.list.clear([Tag.li(note) for note in self.root.state.get("notes", [])])

    def add_note(self, text):
        if text.strip():
            self.root.state["notes"] = [*self.root.state.get("notes", []), text]


class Story(Tag.div):
    """Each ``yield`` goes to the page at once."""

    def init(self):
        self.text = Tag.p(_class="story")
        self <= Tag.h2("A story, word by word")
        self <= Tag.button("Tell", _onclick=self.bind.tell(), _class="tell")
        self <= self.text

    async def tell(self):
        self.text.clear()
        for word in STORY.split():
            self.text <= word + " "
            yield
            await asyncio.sleep(0.1)


class App(Tag.body):
    """The whole page."""

    statics = Tag.style(
        "body {font: 16px sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em} span {margin: 0 1em}"
    )

    def init(self, v="1"):
        self <= Tag.h1("htagweb")
        self <= Tag.p(
            ["This is process ", Tag.b(os.getpid(), _class="pid"), ", with v=", Tag.b(v, _class="v"), "."]
        )
        self <= Counter() + Clock() + Notes() + Story()
        self <= Tag.h2("Elsewhere")
        links = [("the same with v=2", "/?v=2"), ("with v=1", "/"), ("another app", "/other")]
        self <= Tag.p([[Tag.a(text, _href=href), " "] for text, href in links])
        self <= Tag.button("Exit", _onclick=self.bind.exit(), _class="exit")


class Other(Tag.div):
    """A second app: its own process, the same session."""

    def init(self):
        self <= Tag.p(f"This is process {os.getpid()}. Notes in the session: ")
        self <= Tag.pre(str(self.session.get(f"{__name__}.App", {}).get("notes", [])), _class="seen")
        self <= Tag.a("back", _href="/")


app = Runner(App)


async def serve_other(request):
    return await app.handle(request, Other)


app.add_route("/other", serve_other)

if __name__ == "__main__":
    app.run()
