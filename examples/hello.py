"""The smallest app. Start it with: python examples/hello.py"""

from htag import Tag

from htagweb import Runner


class App(Tag.div):
    def init(self):
        self <= "hello world"


if __name__ == "__main__":
    Runner(App).run()
