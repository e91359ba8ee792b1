"""A parano page's side of the seal, written from the protocol and not from the server's module."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def to_base64url(raw: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "==")


class PageSeal:
    """One agreement: ``key`` goes to the server, ``agree`` takes what comes back."""

    def __init__(self, curve: str = "X25519") -> None:
        self.curve = curve
        self._x25519 = x25519.X25519PrivateKey.generate()
        self._p256 = ec.generate_private_key(ec.SECP256R1())
        self._public = (
            self._x25519.public_key().public_bytes_raw()
            if curve == "X25519"
            else self._p256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        )
        self.key = to_base64url(self._public)
        self.number = 0
        """The number of the last frame sealed."""

    def agree(self, server_key: str) -> None:
        """Derive the keys."""
        theirs = from_base64url(server_key)
        if self.curve == "X25519":
            shared = self._x25519.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
        else:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
            shared = self._p256.exchange(ec.ECDH(), point)
        label = b"htagweb parano 1\x00" + self.curve.encode("ascii") + b"\x00"
        salt = hashlib.sha256(label + self._public + theirs).digest()
        self._to_server = HKDF(SHA256(), 32, salt, b"browser to server").derive(shared)
        self._from_server = HKDF(SHA256(), 32, salt, b"server to browser").derive(shared)

    def seal(self, text: str, number: int | None = None) -> bytes:
        """Return the next frame, or one with the number."""
        if number is None:
            self.number += 1
            number = self.number
        head = number.to_bytes(8, "big")
        return head + AESGCM(self._to_server).encrypt(b"\0\0\0\0" + head, text.encode(), None)

    def open(self, frame: bytes) -> tuple[int, str]:
        """Return number and text of a frame of the server."""
        head, body = frame[:8], frame[8:]
        plain = AESGCM(self._from_server).decrypt(b"\0\0\0\0" + head, body, None)
        return int.from_bytes(head, "big"), plain.decode()
