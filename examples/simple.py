"""A page with one button that changes it. Start it with: python examples/simple.py"""

from htag import Tag

from htagweb import Runner


class App(Tag.body):
    """Greets as often as it is asked to."""

    def init(self):
        self.greetings = Tag.ul(_class="greetings")
        self <= Tag.h1("A simple app")
        self <= self.greetings
        self <= Tag.button("Say hi", _onclick=self.greet, _class="greet")

    def greet(self, event):
        self.greetings <= Tag.li("hi!")


if __name__ == "__main__":
    Runner(App).run()
