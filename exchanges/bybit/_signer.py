"""Signatures of Bybit v5. Source: bybit-exchange.github.io/docs/v5 (guide), July 2026."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Call
from exchanges._signing import (
    hmac_sha256_hex,
    is_pem,
    load_private_key,
    sign_pkcs1v15_sha256_base64,
)
from exchanges.bybit._hosts import site_of
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

RECV_WINDOW_MS: Final = 20_000
"""Longer than the default of 5 s: a call may wait in the REST pool for its budget. Only reading calls are made."""
AUTH_AHEAD_MS: Final = 10_000
"""`expires` of the login frame lies this far ahead: 1 s (pybit) proved too tight on slow links."""


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation when the material can't sign."""

    __slots__ = ("_key", "_private", "_secret", "_site")

    def __init__(self, credentials: Credentials) -> None:
        self._site = site_of(credentials).headers
        self._key = credentials.key.reveal()
        self._secret = credentials.secret.reveal()
        if not self._key or not self._secret:
            raise CredentialUnusable("the API key or its secret is empty")
        self._private = load_private_key(self._secret) if is_pem(self._secret) else None
        self._sign("")

    def _sign(self, text: str) -> str:
        if self._private is not None:
            return sign_pkcs1v15_sha256_base64(self._private, text)
        return hmac_sha256_hex(self._secret, text)

    def login(self, expires_ms: int) -> list[str | int]:
        """Arguments of the `auth` frame."""
        return [self._key, expires_ms, self._sign(f"GET/realtime{expires_ms}")]

    def signed(self, call: Call, timestamp_ms: int) -> Call:
        """The call with fresh signature headers."""
        query = call.url.partition("?")[2]
        text = f"{timestamp_ms}{self._key}{RECV_WINDOW_MS}{query}{call.body or ''}"
        headers = {
            "X-BAPI-API-KEY": self._key,
            "X-BAPI-TIMESTAMP": str(timestamp_ms),
            "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS),
            "X-BAPI-SIGN": self._sign(text),
            **dict(self._site),
        }
        return msgspec.structs.replace(call, headers=headers)
