"""KuCoin's signed calls, and which version of its keys an account has (docs/venues/kucoin.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import RETRYABLE
from exchanges._signing import hmac_sha256_base64
from exchanges.credentials import Credentials
from exchanges.kucoin._errors import read

_V2: Final = "/api/ua/v2/"
_KEY_CODES: Final = frozenset({"400003", "400004", "400005"})


class KeyVersion:
    """Which `KC-API-KEY-VERSION` a key takes. Both mean "passphrase hashed": the official SDK sends 3, ccxt 2.

    The first signed call with a version decides: if it is refused, it is made once more with the other one before the key
    counts as bad, and what worked is kept.
    """

    __slots__ = ("_only", "_proven")

    def __init__(self) -> None:
        self._only = ""
        self._proven: set[str] = set()

    def of(self, url: str) -> str:
        return self._only or ("3" if _V2 in url else "2")

    def again(self, call: Call, answer: Answer) -> bool:
        """Whether this answer asks for the same call with the other version. To be told of every signed answer."""
        refused = str(read(answer).code) in _KEY_CODES
        version = self.of(call.url)
        if not refused:
            if answer.status not in RETRYABLE:
                self._proven.add(version)
            return False
        if self._only or version in self._proven:
            return False
        self._only = "2" if version == "3" else "3"
        return True


def sign(call: Call, credentials: Credentials, wall_ms: int, version: str = "2") -> Call:
    """The call with fresh authentication headers; replaces older ones. Raises `CredentialUnusable`."""
    parts = urlsplit(call.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    secret = credentials.secret.reveal()
    stamp = str(wall_ms)
    headers: Mapping[str, str] = {
        "KC-API-KEY": credentials.key.reveal(),
        "KC-API-TIMESTAMP": stamp,
        "KC-API-SIGN": hmac_sha256_base64(secret, f"{stamp}{call.method}{path}{call.body or ''}"),
        "KC-API-PASSPHRASE": hashed_passphrase(credentials),
        "KC-API-KEY-VERSION": version,
        "Content-Type": "application/json",
    }
    return msgspec.structs.replace(call, headers=headers)


def hashed_passphrase(credentials: Credentials) -> str:
    passphrase = credentials.passphrase.reveal() if credentials.passphrase else ""
    return hmac_sha256_base64(credentials.secret.reveal(), passphrase)
