"""The documents that a browser gets: the app's page with our script, or a page that says what is wrong."""

from __future__ import annotations

import html
import re

import msgspec
from starlette.responses import HTMLResponse, Response

from htagweb.web.script import CLIENT_JS, CLIENT_VERSION

RETRY_S = 3
CRASHED_RETRY_S = 15
DEBUG_RETRY_S = 1
SUPERVISOR_COMMAND = "htagweb-supervisor --redis-url $HTAGWEB_REDIS_URL"

_HEAD = re.compile(r"<head(\s[^>]*)?>", re.IGNORECASE)
_NO_STORE = {"cache-control": "no-store"}


def app_page(document: str, root: str, config: dict[str, object]) -> Response:
    """Return the app's document with the client's configuration and script as the first of its head.

    ``root`` is the path that the Runner is mounted under, "" for none.
    """
    # "<" is escaped, so no value can end the script element.
    text = msgspec.json.encode(config).decode().replace("<", "\\u003c")
    scripts = (
        f'<script id="htagweb-config" type="application/json">{text}</script>'
        f'<script src="{html.escape(root)}/_/client.js?v={CLIENT_VERSION}"></script>'
    )
    head = _HEAD.search(document)
    position = head.end() if head else 0
    return HTMLResponse(document[:position] + scripts + document[position:], headers=_NO_STORE)


def client_script() -> Response:
    """Return the client script; its address changes with its text, so it may be kept for ever."""
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(CLIENT_JS, media_type="text/javascript", headers=headers)


_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto 0; padding: 0 1rem }
h1 { font-size: 1.25rem } code, pre { font: 14px/1.4 ui-monospace, monospace }
code { background: #8882; padding: .1em .3em; border-radius: .2em }
pre { background: #8882; padding: 1rem; border-radius: .3rem; overflow: auto }
body:has(pre) { max-width: 72rem; margin-top: 3rem }
button { font: inherit; padding: .3rem .9rem }
"""


# Asks in the background: a page that is read, scrolled and copied from must not be loaded again for nothing,
# and a reload while the server is away would put the browser's or a proxy's page in its place, for good.
_TRY_AGAIN = """<noscript><meta http-equiv="refresh" content="%(s)d"></noscript><script>
async function hasOtherPage() {
  const signal = AbortSignal.timeout?.(20000);
  const answer = await fetch(location.href, { cache: "no-store", redirect: "manual", signal });
  if (!answer.headers.has("%(header)s")) return answer.status < 502 && answer.status !== 429;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.body.textContent !== document.body.textContent;
}
async function tryAgain() {
  if (!document.hidden && (await hasOtherPage().catch(() => false))) return location.reload();
  tryLater();
}
function tryLater() {
  setTimeout(tryAgain, %(s)d * (800 + Math.random() * 400));
}
tryLater();
</script>"""
PROBLEM_HEADER = "x-htagweb-problem"
"""Its title, in the header: a page that waits to be loaded again tells it."""


def problem(
    status: int, title: str, text: str, *, detail: str = "", retry_s: int = 0, debug: bool = False
) -> Response:
    """Return a page that says what is wrong and what to do; ``text`` may hold HTML, ``title`` is ASCII.

    With ``retry_s`` it asks so often whether there is something else to show; with ``debug`` in any case.
    """
    retry_s = DEBUG_RETRY_S if debug else retry_s
    again = _TRY_AGAIN % {"s": retry_s, "header": PROBLEM_HEADER} if retry_s else ""
    more = f"<pre>{html.escape(detail)}</pre>" if detail else ""
    wait = "<p>This page tries again by itself.</p>" if again else ""
    body = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body><h1>{html.escape(title)}</h1><p>{text}</p>{more}{wait}<button onclick="location.reload()">'
        "Try now</button></body></html>"
    )
    headers = _NO_STORE | {PROBLEM_HEADER: title} | ({"retry-after": str(retry_s)} if again else {})
    return HTMLResponse(body, status, headers=headers)


def no_supervisor() -> Response:
    """Say that nobody can run the app, and how to change that."""
    return problem(
        503,
        "No supervisor is running",
        f"The web server works, but nothing runs the apps. Start one: <code>{SUPERVISOR_COMMAND}</code>",
        retry_s=RETRY_S,
    )


def no_room() -> Response:
    """Say that all supervisors are full."""
    return problem(
        503, "All places are taken", "The server runs as many apps as it may just now.", retry_s=RETRY_S
    )


def broker_away() -> Response:
    """Say that the broker cannot be reached; what exactly is wrong is in the log, not on the page."""
    return problem(503, "The server is not ready", "Its broker cannot be reached just now.", retry_s=RETRY_S)


def too_many_arrivals() -> Response:
    """Say that too many new visitors come from one address."""
    return problem(
        503, "Many visitors at once", "Your network sends more than are let in in a second.", retry_s=RETRY_S
    )


def session_moves() -> Response:
    """Say that the session is getting a new id, which this request does not have yet."""
    return problem(503, "One moment", "Your session is being renewed.", retry_s=RETRY_S)


def too_late() -> Response:
    """Say that the page took too long."""
    return problem(504, "The app did not answer", "Its page did not come in time.", retry_s=RETRY_S)


def too_busy() -> Response:
    """Say that the app has more to do already than is kept for it."""
    return problem(503, "The app is busy", "Too many requests wait for it.", retry_s=RETRY_S)


def too_many_apps(most: int) -> Response:
    """Say that the session runs as many apps as it may."""
    return problem(
        503,
        "Too many apps are open",
        f"One user may run {most} apps at once. Close one to go on.",
        retry_s=RETRY_S,
    )


def not_started(reason: str, error: str, detail: str, debug: bool = False) -> Response:
    """Say why the app could not be started.

    With ``debug`` the page heals when the app's source does; a crash may have been a passing one.
    """
    if reason in RETURNS_BY_ITSELF or reason == "replaced":
        text = html.escape(f"{error[:1].upper()}{error[1:]}.")
        return problem(503, "The app is moving", text, retry_s=RETRY_S, debug=debug)
    status = 504 if reason == "interaction_timeout" else 500
    retry_s = CRASHED_RETRY_S if reason == "crashed" else 0
    title, text = "The app could not start", html.escape(error)
    return problem(status, title, text, detail=detail, retry_s=retry_s, debug=debug)


END_TEXTS: dict[str, str] = {
    "exit": "This app has ended.",
    "inactivity": "This app ended after a while without use.",
    "interaction_timeout": "The app took too long to answer and was ended.",
    "crashed": "The app stopped unexpectedly.",
    "replaced": "This app was opened again with other parameters.",
    "drained": "The server is being restarted. This page comes back by itself.",
    "lost": "The server was interrupted. This page comes back by itself.",
    "never_connected": "This app was not used and has ended.",
    "refused": "The app could not start.",
    "killed": "This app was ended by the operator.",
    "renewed": "You have a new session. This page comes back by itself.",
    "changed": "The app's source has changed. This page comes back by itself.",
    "memory": "The app took more memory than it may and was ended. If that happens again, tell its operator.",
    "cpu": "The app computed longer than it may and was ended. If that happens again, tell its operator.",
    "processes": "The app started more than it may and was ended. If that happens again, tell its operator.",
}
"""What a page says when its app process ended."""

RETURNS_BY_ITSELF = frozenset({"drained", "lost", "never_connected", "renewed", "changed"})
RETURNS_ON_CLICK = frozenset({"inactivity"})
"""The next click in the page opens it again."""
