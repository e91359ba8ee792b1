"""The web worker's side of a sealed line, written from the protocol alone: it checks the page's."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _x25519(theirs: bytes) -> tuple[bytes, bytes]:
    own = x25519.X25519PrivateKey.generate()
    return own.public_key().public_bytes_raw(), own.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))


def _p256(theirs: bytes) -> tuple[bytes, bytes]:
    own = ec.generate_private_key(ec.SECP256R1())
    public = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    return public, own.exchange(ec.ECDH(), peer)


class WorkerSeal:
    """What the worker derives from a page's curve and key."""

    def __init__(self, curve: str, key: str) -> None:
        """Agree with the page; ``public`` is our answer."""
        theirs = _bytes(key)
        ours, secret = {"X25519": _x25519, "P-256": _p256}[curve](theirs)
        self.curve = curve
        self.public = _base64url(ours)
        context = b"htagweb parano 1\0" + curve.encode() + b"\0" + theirs + ours
        salt = hashlib.sha256(context).digest()
        self._from_page = AESGCM(HKDF(SHA256(), 32, salt, b"browser to server").derive(secret))
        self._to_page = AESGCM(HKDF(SHA256(), 32, salt, b"server to browser").derive(secret))

    def open(self, frame: bytes) -> tuple[int, str]:
        """Return number and text of a frame of the page."""
        return int.from_bytes(frame[:8], "big"), self._from_page.decrypt(
            bytes(4) + frame[:8], frame[8:], None
        ).decode()

    def seal(self, number: int, text: str) -> bytes:
        """Return a frame for the page."""
        head = number.to_bytes(8, "big")
        return head + self._to_page.encrypt(bytes(4) + head, text.encode(), None)
