"""Who is signed in, by OpenID Connect.

Try it with a provider that lets everybody in:

    pip install authlib httpx oidc-provider-mock
    oidc-provider-mock &
    python examples/oauth.py

For a real provider set OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, and register
http://localhost:8000/auth (your own address, with https) there as the address to come back to.
"""

import os

from authlib.integrations.starlette_client import OAuth, OAuthError
from htag import Tag
from starlette.responses import HTMLResponse, RedirectResponse

from htagweb import Runner

ISSUER = os.getenv("OIDC_ISSUER", "http://localhost:9400")
STYLE = "body {font: 16px sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em}"
WHY_NOT = {
    "access_denied": "It was cancelled.",
    "mismatching_state": "This attempt is too old, was used before, or began in another browser.",
}

oauth = OAuth()
oauth.register(
    "provider",
    server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_id=os.getenv("OIDC_CLIENT_ID", "htagweb"),
    client_secret=os.getenv("OIDC_CLIENT_SECRET", "none"),
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)


class SignIn(Tag.a):
    """Leads to the provider."""

    def init(self):
        self <= "Sign in"
        self["href"] = "/login"


class SignOut(Tag.form):
    """A POST: a link of another site must not sign anybody out."""

    def init(self):
        self <= Tag.button("Sign out")
        self["action"], self["method"] = "/logout", "post"


class App(Tag.body):
    """Everybody's page: it shows who is signed in."""

    statics = Tag.style(STYLE)

    def render(self):
        user = self.session.get("user")
        self.clear(Tag.h1("Welcome"))
        self <= Tag.p(["You are ", Tag.b(user["name"] if user else "not signed in", _class="who"), "."])
        self <= Tag.p([Tag.a("What members see", _href="/members")])
        self <= (SignOut() if user else SignIn())


class Members(Tag.body):
    """Another app, for those alone who are signed in."""

    statics = Tag.style(STYLE)

    def init(self):
        self <= Tag.h1(["Good to see you, ", Tag.b(self.session["user"]["name"], _class="who")])
        self <= Tag.a("Back", _href="/")


app = Runner(App)


async def members(request):
    """Serve the members' app, or ask who it is."""
    if "user" not in request.session:
        return RedirectResponse("/login", 303)
    return await app.handle(request, Members)


async def login(request):
    """Send the browser to the provider. What belongs to the attempt waits in the session."""
    return await oauth.provider.authorize_redirect(request, request.url_for("auth"))


async def auth(request):
    """Take the browser back from the provider."""
    try:
        token = await oauth.provider.authorize_access_token(request)
    except OAuthError as exc:
        return refusal(WHY_NOT.get(exc.error, "The provider refused it."))
    about = token["userinfo"]
    name = about.get("name") or about.get("email") or about["sub"]
    request.session["user"] = {"id": about["sub"], "name": name}  # of all that was told, what is needed
    request.session.renew()  # whoever knew the session's id before is not signed in with it
    return RedirectResponse("/", 303)


async def logout(request):
    """Forget who it was. The new id ends the apps of the old one, and what they still show."""
    request.session.clear()
    request.session.renew()
    return RedirectResponse("/", 303)


def refusal(why):
    """Return a page that says why, and leads back; nothing that the request brought is in it."""
    head = f'<!doctype html><html lang="en"><title>Not signed in</title><style>{STYLE}</style>'
    links = '<a href="/login">Try again</a> or <a href="/">go back</a>.'
    return HTMLResponse(f"{head}<h1>You are not signed in</h1><p>{why}</p><p>{links}</p>", 400)


app.add_route("/members", members)
app.add_route("/login", login)
app.add_route("/auth", auth)
app.add_route("/logout", logout, methods=["POST"])

if __name__ == "__main__":
    app.run()
