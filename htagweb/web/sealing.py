"""Seals what a parano page and its web worker say to each other: key agreement, keys, frames.

Page and worker each make a key pair for this one agreement (X25519, or P-256),
and derive a key per direction from what the pairs have in common (HKDF-SHA256).
A frame is a number (8 bytes, big-endian) and the text under AES-256-GCM, whose
nonce is that number: so a key must never seal two texts under one number.

It keeps secret, and from being altered, repeated or put into another order, what
travels, from whoever only sees or carries it. Nobody signs the agreement: who can
change the page itself, or stand between both while they agree, is kept out by TLS
alone.

Whatever comes from outside is opened, or a SealError. No key and no text is in a
``repr``, an error or a log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from htagweb_broker import MOST_NUMBER

Curve = Literal["X25519", "P-256"]

NUMBER_BYTES = 8
TAG_BYTES = 16
OVERHEAD_BYTES = NUMBER_BYTES + TAG_BYTES
"""So much longer than its text is a frame."""

_KEY_BYTES = 32
_WRAP_NONCE_BYTES = 12
_PUBLIC_BYTES: Final[dict[str, int]] = {"X25519": 32, "P-256": 65}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class SealError(Exception):
    """Raised when what came is not what the other side sealed, or no key to agree on; it says what it was."""


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt, info).derive(secret)


# Frames


@dataclass(frozen=True, slots=True)
class TrafficKeys:
    """The keys of the two directions between one page and our side."""

    from_page: bytes = field(repr=False)
    to_page: bytes = field(repr=False)

    def open(self, frame: bytes) -> tuple[int, str]:
        """Return number and text of a frame of the page; SealError when it did not seal that.

        Whether the number has its turn is for the caller to say.
        """
        if len(frame) < OVERHEAD_BYTES:
            raise SealError(f"expected a sealed frame of {OVERHEAD_BYTES} bytes or more, got {len(frame)}")
        number = int.from_bytes(frame[:NUMBER_BYTES], "big")
        if not 1 <= number <= MOST_NUMBER:
            raise SealError("expected a frame's number from 1 to 2**53")
        try:
            text = AESGCM(self.from_page).decrypt(_nonce(number), frame[NUMBER_BYTES:], None)
            return number, text.decode()
        except InvalidTag:
            raise SealError("expected a frame of this page, got an altered or a foreign one") from None
        except UnicodeDecodeError:  # it holds the text
            raise SealError("expected text in UTF-8 in a frame") from None

    def seal(self, number: int, text: str) -> bytes:
        """Return a frame for the page. Nothing else may ever be sealed under the number with these keys."""
        if not 1 <= number <= MOST_NUMBER:
            raise SealError("expected a number from 1 to 2**53 to seal under")
        sealed = AESGCM(self.to_page).encrypt(_nonce(number), text.encode(), None)
        return number.to_bytes(NUMBER_BYTES, "big") + sealed


def _nonce(number: int) -> bytes:
    return bytes(4) + number.to_bytes(NUMBER_BYTES, "big")


class Conversation:
    """Both directions of one connection: frame 1, 2, 3 … each way, and no other."""

    def __init__(self, keys: TrafficKeys) -> None:
        self._keys = keys
        self._opened = 0
        self._sealed = 0

    def open(self, frame: bytes) -> str:
        """Return the text of the page's next frame; SealError for anything else."""
        number, text = self._keys.open(frame)
        if number != self._opened + 1:
            raise SealError(f"expected frame {self._opened + 1}, got frame {number}")
        self._opened = number
        return text

    def seal(self, text: str) -> bytes:
        """Return our next frame; to be sent in the order in which they are sealed."""
        self._sealed += 1
        return self._keys.seal(self._sealed, text)


# The agreement


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a handshake leads to."""

    public: str
    """Our public key, for the page (base64url)."""
    keys: TrafficKeys


def agree(curve: Curve, public: str) -> Agreement:
    """Agree with a page on keys that nobody had before, by its public key (base64url, no padding).

    SealError when the key is none of the curve, or is one of the few with
    which everybody could work out the keys.
    """
    theirs = _decoded(curve, public)
    try:
        ours, shared = _exchange(curve, theirs)
    except ValueError as exc:  # not on the curve, or of low order
        raise SealError(f"expected a public key of {curve} that is fit for an agreement") from exc
    label = b"htagweb parano 1\0" + curve.encode() + b"\0"
    salt = hashlib.sha256(label + theirs + ours).digest()
    keys = TrafficKeys(
        from_page=_derived(shared, salt, b"browser to server"),
        to_page=_derived(shared, salt, b"server to browser"),
    )
    return Agreement(base64.urlsafe_b64encode(ours).rstrip(b"=").decode(), keys)


def _decoded(curve: Curve, public: str) -> bytes:
    expected = f"expected {_PUBLIC_BYTES[curve]} bytes of base64url as a public key of {curve}"
    if not _BASE64URL.fullmatch(public):
        raise SealError(expected)
    try:
        raw = base64.urlsafe_b64decode(public + "=" * (-len(public) % 4))
    except binascii.Error as exc:
        raise SealError(expected) from exc
    if len(raw) != _PUBLIC_BYTES[curve]:
        raise SealError(expected)
    return raw


def _exchange(curve: Curve, theirs: bytes) -> tuple[bytes, bytes]:
    """Return our public key and the shared secret; ValueError for a key that is unfit."""
    if curve == "X25519":
        pair = x25519.X25519PrivateKey.generate()
        # A key of low order gives a secret of zeros, which is a ValueError there.
        shared = pair.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
        return pair.public_key().public_bytes_raw(), shared
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    ours = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return ours, ephemeral.exchange(ec.ECDH(), point)


# Keys that other web workers have to have too


class KeyWrap:
    """Wraps traffic keys for the broker, under keys that are derived from the web workers' secrets.

    Where the secret is set from outside (HTAGWEB_SECRET), a dump of the broker
    alone opens no channel: what is in it is sealed itself. Where the web workers
    keep their secret in the broker, the dump holds it too, and the wrapping only
    keeps keys from being taken for another session's, app's or channel's.
    """

    def __init__(self, shared_secrets: Sequence[str]) -> None:
        """The first secret wraps, with each of them is tried to unwrap."""
        self._ciphers = [
            AESGCM(_derived(secret.encode(), b"htagweb", b"traffic keys in the broker"))
            for secret in shared_secrets
        ]

    def wrap(self, keys: TrafficKeys, owner: str) -> bytes:
        """Return the keys as only the web workers can read them, bound to their owner's name."""
        nonce = secrets.token_bytes(_WRAP_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, keys.from_page + keys.to_page, owner.encode())

    def unwrap(self, wrapped: bytes, owner: str) -> TrafficKeys:
        """Return the keys; SealError when they are another owner's, or none of our secrets wrapped them."""
        nonce, body = wrapped[:_WRAP_NONCE_BYTES], wrapped[_WRAP_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                plain = cipher.decrypt(nonce, body, owner.encode())
            except (InvalidTag, ValueError):  # of another secret; too short
                continue
            if len(plain) == 2 * _KEY_BYTES:
                return TrafficKeys(plain[:_KEY_BYTES], plain[_KEY_BYTES:])
        raise SealError("expected keys that a web worker with our secret wrapped for this channel")
