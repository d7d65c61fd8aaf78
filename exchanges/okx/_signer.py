"""OKX's signatures (docs/venues/okx.md, section 2)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from exchanges._adapter import Call
from exchanges._signing import hmac_sha256_base64
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

_LOGIN_TEXT: Final = "GET/users/self/verify"


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation when something is empty."""

    __slots__ = ("_demo", "_key", "_passphrase", "_secret")

    def __init__(self, credentials: Credentials, *, demo: bool) -> None:
        self._key = credentials.key.reveal()
        self._secret = credentials.secret.reveal()
        self._passphrase = credentials.passphrase.reveal() if credentials.passphrase else ""
        self._demo = demo
        if not (self._key and self._secret and self._passphrase):
            raise CredentialUnusable("the API key, its secret or its passphrase is empty")

    def login(self, now_ms: int) -> dict[str, str]:
        """The argument of the login frame; it is good for 30 s."""
        timestamp = str(now_ms // 1000)
        return {
            "apiKey": self._key,
            "passphrase": self._passphrase,
            "timestamp": timestamp,
            "sign": hmac_sha256_base64(self._secret, timestamp + _LOGIN_TEXT),
        }

    def signed(self, call: Call, now_ms: int) -> Call:
        """The call with fresh signature headers; they are good for 30 s."""
        moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        path = "/" + call.url.split("/", 3)[3]
        headers = {
            "OK-ACCESS-KEY": self._key,
            "OK-ACCESS-PASSPHRASE": self._passphrase,
            "OK-ACCESS-TIMESTAMP": moment,
            "OK-ACCESS-SIGN": hmac_sha256_base64(self._secret, moment + call.method + path + (call.body or "")),
        }
        if self._demo:
            headers["x-simulated-trading"] = "1"
        return msgspec.structs.replace(call, headers=headers)
