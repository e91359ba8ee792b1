"""What the tests of the web edge serve: who asks, by which address; a session; a login."""

from htag import Tag
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from htagweb import Runner


class Keeper(Tag.body):  # type: ignore[misc]
    """Keeps what it is told in the session; some of it only when it ends."""

    def init(self, v: str = "1") -> None:
        self.shown = Tag.pre(v)
        self.add(self.shown)

    def remember(self, key: str, value: str) -> None:
        self.session[key] = value
        self.shown.clear(f"{key} is kept")

    def fail(self, text: str) -> None:
        raise ValueError(len(text))


class Other(Keeper):
    """A second app."""


app = Runner(Keeper)
app.add_route("/other", Other)


async def who(request: Request) -> Response:
    """Tell what the request looks like from here."""
    return JSONResponse(
        {
            "url": str(request.url),
            "callback": str(request.url_for("who")),
            "visitor": request.client and request.client.host,
        }
    )


async def session(request: Request) -> Response:
    """Show the session; a query changes it."""
    request.session.update(request.query_params)
    return JSONResponse(dict(request.session))


async def login(request: Request) -> Response:
    """Let somebody in, under a new session id."""
    request.session["user"] = request.query_params["user"]
    request.session.renew()  # type: ignore[attr-defined]
    return JSONResponse(dict(request.session))


app.add_route("/who", who, name="who")
app.add_route("/session", session)
app.add_route("/login", login)
