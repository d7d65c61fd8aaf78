"""Keys of Coinbase: CDP keys sign JSON web tokens (ES256 or EdDSA), legacy keys HMAC (docs/venues/coinbase.md 2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Call
from exchanges._signing import hmac_sha256_hex, is_pem, jwt, load_private_key, sha256_hex
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

TOKEN_LIFE_S: Final = 120
_SEED_LENGTHS: Final = (32, 64)


class Signer:
    """Signs for one key. Raises `CredentialUnusable` on creation when the material can't sign.

    Times are seconds of the venue's clock.
    """

    __slots__ = ("_key", "_new_id", "_private", "_secret")

    def __init__(self, credentials: Credentials, new_id: Callable[[], str]) -> None:
        self._key = credentials.key.reveal()
        self._secret = credentials.secret.reveal()
        self._new_id = new_id
        if not self._key or not self._secret:
            raise CredentialUnusable("the API key or its secret is empty")
        self._private = load_private_key(self._secret) if is_cloud(credentials) else None
        if self._private is not None:
            self._token(0, None)  # tells a key of the wrong kind now, not in the middle of a session

    @property
    def cloud(self) -> bool:
        return self._private is not None

    def frame(self, operation: str, channel: str, product_ids: Sequence[str], now_s: int) -> dict[str, Any]:
        """A subscribe or unsubscribe frame; every frame carries its own fresh token."""
        frame: dict[str, Any] = {"type": operation, "channel": channel}
        if product_ids:
            frame["product_ids"] = list(product_ids)
        if self.cloud:
            frame["jwt"] = self._token(now_s, None)
            return frame
        frame["api_key"] = self._key
        frame["timestamp"] = str(now_s)
        frame["signature"] = hmac_sha256_hex(self._secret, f"{now_s}{channel}{','.join(product_ids)}")
        if channel == "user":
            frame["user_id"] = ""
        return frame

    def signed(self, call: Call, now_s: int) -> Call:
        """The call with a fresh signature."""
        parts = urlsplit(call.url)
        if self.cloud:
            token = self._token(now_s, f"{call.method} {parts.hostname}{parts.path}")
            return msgspec.structs.replace(call, headers={"Authorization": f"Bearer {token}"})
        text = f"{now_s}{call.method}{parts.path}{call.body or ''}"
        headers = {
            "CB-ACCESS-KEY": self._key,
            "CB-ACCESS-TIMESTAMP": str(now_s),
            "CB-ACCESS-SIGN": hmac_sha256_hex(self._secret, text),
        }
        return msgspec.structs.replace(call, headers=headers)

    def _token(self, now_s: int, uri: str | None) -> str:
        if self._private is None:
            raise CredentialUnusable("a legacy key signs no tokens")
        claims: dict[str, object] = {"sub": self._key, "iss": "cdp", "nbf": now_s, "exp": now_s + TOKEN_LIFE_S}
        if uri is not None:
            claims["uri"] = uri
        nonce = sha256_hex(f"{self._new_id()}:{now_s}")[:32]
        return jwt(self._private, claims, {"kid": self._key, "nonce": nonce})


def is_cloud(credentials: Credentials) -> bool:
    """Whether this is a CDP key. The option decides; where it is absent (or contradicts a PEM), the material does."""
    secret = credentials.secret.reveal()
    if credentials.keys_type == "cloud" or is_pem(secret):
        return True
    if credentials.keys_type == "legacy":
        return False
    if "/apiKeys/" in credentials.key.reveal():
        return True
    try:
        raw = base64.b64decode("".join(secret.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) in _SEED_LENGTHS
