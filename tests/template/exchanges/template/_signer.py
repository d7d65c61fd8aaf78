"""Signatures: HMAC-SHA256 as hex over stamp, method, path with query."""

from __future__ import annotations

import msgspec

from exchanges._adapter import Call
from exchanges._signing import hmac_sha256_hex
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation when the material can't sign."""

    __slots__ = ("_key", "_secret")

    def __init__(self, credentials: Credentials) -> None:
        self._key, self._secret = credentials.key.reveal(), credentials.secret.reveal()
        if not self._key or not self._secret:
            raise CredentialUnusable("the API key or its secret is empty")
        hmac_sha256_hex(self._secret, "")

    def login(self, stamp: int) -> dict[str, object]:
        return {"key": self._key, "stamp": stamp, "sign": hmac_sha256_hex(self._secret, f"{stamp}LOGIN")}

    def signed(self, call: Call, stamp: int) -> Call:
        """The call with fresh signature headers."""
        text = f"{stamp}{call.method}/{call.url.split('/', 3)[3]}"
        headers = {"x-key": self._key, "x-stamp": str(stamp), "x-sign": hmac_sha256_hex(self._secret, text)}
        return msgspec.structs.replace(call, headers=headers)
