"""What one POST asks and how it is answered: in clear text, or sealed with the keys of a channel.

A page without a WebSocket makes a channel by a handshake. Its keys are kept in the
broker, as each of its requests may come to another web worker.
"""

from __future__ import annotations

from htagweb_broker import InstanceId
from starlette.requests import Request

from htagweb.web.sealing import OVERHEAD_BYTES, Curve, KeyWrap, SealError, TrafficKeys, agree
from htagweb.web.service import WebService

CHANNEL = "x-htagweb-channel"
"""The header that names a sealed request's channel."""


class Refused(Exception):
    """Raised for a request that is answered with a status and the exception's text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Exchange:
    """One request's text, and the way for its answer."""

    media_type = "application/json"
    is_sealed = False

    def __init__(self, text: str | bytes) -> None:
        self.text = text

    def answer(self, text: str) -> bytes:
        """Return the response's body."""
        return text.encode()


class SealedExchange(Exchange):
    """A request whose number is taken: one answer may be sealed under it."""

    media_type = "application/octet-stream"
    is_sealed = True

    def __init__(self, text: str, keys: TrafficKeys, number: int) -> None:
        """``number`` was taken for this very exchange."""
        super().__init__(text)
        self._keys: TrafficKeys | None = keys
        self._number = number

    def answer(self, text: str) -> bytes:
        """Return the response's body; RuntimeError the second time, two texts under one number tell both."""
        keys, self._keys = self._keys, None
        if keys is None:
            raise RuntimeError("expected one answer to a sealed request, this is the second")
        return keys.seal(self._number, text)


async def read_exchange(service: WebService, request: Request, instance: InstanceId) -> Exchange:
    """Read the request, and open it if it is sealed; Refused, BrokerError or ClientDisconnect."""
    limit = service.settings.max_message_bytes
    channel = request.headers.get(CHANNEL)
    if channel is None:
        return Exchange(await _body(request, limit))
    frame = await _body(request, limit + OVERHEAD_BYTES)
    seals = service.broker.seals
    wrapped = await seals.read(instance.session, channel)
    try:
        if wrapped is None:
            raise _unknown()
        keys = KeyWrap(await service.secrets()).unwrap(wrapped, _owner(instance, channel))
    except SealError:  # of another app, or of a secret that is no longer ours
        raise _unknown() from None
    try:
        number, text = keys.open(frame)
    except SealError as exc:
        raise Refused(422, f"The sealed message was refused: {exc}.") from exc
    # Only now: what the page did not seal must not use its numbers up. And as the last step before
    # it is dealt with: who has not heard that the number is taken has nothing to answer.
    match await seals.take(instance.session, channel, number):
        case "taken":
            return SealedExchange(text, keys, number)
        case "used":
            raise Refused(422, f"The sealed message was refused: frame {number} came before, or is too late.")
    raise _unknown()


def _unknown() -> Refused:
    return Refused(409, "This sealed channel is not known any more: agree on a new one.")


def _owner(instance: InstanceId, channel: str) -> str:
    return f"{instance.dump()}:{channel}"


async def shake_hands(service: WebService, instance: InstanceId, curve: Curve, public: str) -> dict[str, str]:
    """Make a sealed channel for one of the instance's pages; return what the page has to know of it.

    Refused when the page's key is none, BrokerError when the keys cannot be kept.
    """
    try:
        agreement = agree(curve, public)
    except SealError as exc:
        raise Refused(400, str(exc)) from exc
    seals = service.broker.seals
    channel = seals.new_channel()
    wrap = KeyWrap(await service.secrets())
    await seals.keep(instance.session, channel, wrap.wrap(agreement.keys, _owner(instance, channel)))
    return {"key": agreement.public, "channel": channel}


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Refused(413, f"A message may have at most {limit} bytes.")
    return bytes(body)
