"""Signed calls of Kraken, spot and futures (docs/venues/kraken.md 2)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Call
from exchanges._signing import base64_secret, hmac_sha512_base64, sha256
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

FORM: Final = "application/x-www-form-urlencoded"


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation for material that can't sign."""

    __slots__ = ("_key", "_nonce", "_secret")

    def __init__(self, credentials: Credentials) -> None:
        key = credentials.key.reveal()
        if not key or not key.isascii() or any(not char.isprintable() for char in key):
            raise CredentialUnusable("the API key is empty or holds characters that no key has")
        self._key = key
        self._secret = base64_secret(credentials.secret.reveal())
        self._nonce = 0

    def spot(self, call: Call, wall_ms: int) -> Call:
        """The call with a fresh nonce, ms as every other user of the key counts, and its signature."""
        self._nonce = max(wall_ms, self._nonce + 1)
        body = "&".join(part for part in (f"nonce={self._nonce}", call.body) if part)
        message = urlsplit(call.url).path.encode() + sha256(f"{self._nonce}{body}")
        headers = {
            "API-Key": self._key,
            "API-Sign": hmac_sha512_base64(self._secret, message),
            "Content-Type": FORM,
        }
        return msgspec.structs.replace(call, body=body, headers=headers)

    def futures(self, call: Call) -> Call:
        """The call with its signature; without a nonce, so that calls may arrive in any order."""
        parts = urlsplit(call.url)
        path = parts.path.removeprefix("/derivatives")
        sign = hmac_sha512_base64(self._secret, sha256(f"{parts.query}{call.body or ''}{path}"))
        headers = {"APIKey": self._key, "Authent": sign}
        if call.body is not None:
            headers["Content-Type"] = FORM
        return msgspec.structs.replace(call, headers=headers)

    def challenge(self, message: str) -> dict[str, str]:
        """The fields of a private subscription that answer a challenge."""
        return {
            "api_key": self._key,
            "original_challenge": message,
            "signed_challenge": hmac_sha512_base64(self._secret, sha256(message)),
        }

    def asks_challenge(self) -> dict[str, str]:
        return {"event": "challenge", "api_key": self._key}
