"""What an app was asked and has not answered yet, who waits for it, and how they hear the answer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from htagweb_broker import Answered, EndReason, FailureReply, Interact, MessageError, Open, PageReply

from htagweb.host.frames import Answer, Changes
from htagweb.supervisor.handover import AskedState
from htagweb.supervisor.publisher import Publisher
from htagweb.supervisor.taken import TakenNumbers

BUSY_PAGES = 4
"""So many pages of an app may wait for all that they can at once; how many there are is the pages' word."""
_NOTHING = msgspec.Raw(b"{}")
_encode = msgspec.json.Encoder().encode


class Asked:
    """The page requests and interactions of one generation."""

    def __init__(self, publisher: Publisher, generation: str) -> None:
        self._publisher = publisher
        self._generation = generation
        self._requests: dict[str, str] = {}
        """Which web worker waits for a page, by request."""
        self._posts: dict[str, str] = {}
        """Which web worker's request waits for an answer, by the interaction's work."""
        self.taken = TakenNumbers()

    def dump(self) -> AskedState:
        """Return what a successor has to know."""
        return AskedState(self._requests, self._posts, self.taken.dump())

    def resume(self, state: AskedState) -> None:
        """Go on where another was."""
        self._requests |= state.requests
        self._posts |= state.posts
        self.taken.load(state.taken)

    # Pages

    def open(self, message: Open) -> str:
        """Note that a page was asked for; return the name of that work."""
        self._requests[message.request] = message.worker
        return open_work(message.request)

    def show(self, request: str, html: str, changes: Changes | None) -> None:
        """Send a page to whoever asked for it."""
        worker = self._requests.pop(request, None)
        if worker is not None:
            self._publisher.reply(request, worker, PageReply(self._generation, html), changes)
        else:
            self._publisher.save(changes)

    def refuse_pages(self, reason: EndReason, error: str, detail: str) -> None:
        """Tell all who wait for a page that there will be none."""
        for request, worker in self._requests.items():
            self._publisher.reply(request, worker, FailureReply(reason, error, detail))
        self._requests.clear()

    # Interactions

    def is_to_run(self, message: Interact, in_flight: Mapping[str, float]) -> bool:
        """Return whether the app has to be handed an interaction: not twice.

        A page that asks for what was answered has not heard: the server may have lost the
        answer. It is told that there was one, or finds by its number that one is missing.
        """
        if self.taken.is_new(message):
            return True
        was_taken = self.taken.has(message.page, message.number)
        if was_taken and interact_work(message.page, message.number) not in in_flight:
            self._publisher.answer(Answered(message.page, message.number, _NOTHING, _NOTHING), message.worker)
        return False

    def interact(self, message: Interact) -> str:
        """Note that the app was handed an interaction; return the name of that work."""
        work = interact_work(message.page, message.number)
        if message.worker:
            self._posts[work] = message.worker
        return work

    def answer(self, answer: Answer, changes: Changes | None) -> None:
        """Emit the app's answer."""
        worker = self._posts.pop(interact_work(answer.page, answer.number), "")
        answered = Answered(answer.page, answer.number, answer.dom, answer.scripts)
        try:
            self._publisher.answer(answered, worker, changes)
        except MessageError as exc:
            self._emit_error(answer.page, answer.number, f"The answer is too large: {exc}.", worker)

    def refuse(self, message: Interact, error: str) -> None:
        """Answer an interaction in the app's place."""
        self._emit_error(message.page, message.number, error, message.worker)

    def _emit_error(self, page: str, number: int, error: str, worker: str) -> None:
        scripts = msgspec.Raw(_encode({"err": error}))
        self._publisher.answer(Answered(page, number, _NOTHING, scripts, refused=True), worker)


def open_work(request: str) -> str:
    """Return the name of a page request among the work in flight."""
    return f"open {request}"


def interact_work(page: str, number: int) -> str:
    """Return the name of an interaction among the work in flight."""
    return f"{page} {number}"


def is_too_busy(in_flight: Mapping[str, float], page: str, most: int) -> bool:
    """Return whether the page, or all pages together, wait for as much as they may."""
    if len(in_flight) >= most * BUSY_PAGES:
        return True
    prefix = interact_work(page, 0)[:-1]
    return sum(work.startswith(prefix) for work in in_flight) >= most
