"""Signs for one account: HMAC, RSA or Ed25519, decided from the secret (docs/venues/binance.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from exchanges._signing import (
    hmac_sha256_hex,
    is_pem,
    load_private_key,
    sign_ed25519_base64,
    sign_pkcs1v15_sha256_base64,
)
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

RECV_WINDOW_MS: Final = 60_000
"""The maximum. Requests wait for budgets after they were signed; 5 s (the default) would be over too soon."""


class Signer:
    """Key material of one account, ready to sign. Its `repr` shows nothing."""

    __slots__ = ("_key", "_private", "_secret")

    def __init__(self, credentials: Credentials) -> None:
        """Raises `CredentialUnusable`."""
        self._key, self._secret = credentials.key.reveal(), credentials.secret.reveal()
        if not self._key or not self._secret:
            raise CredentialUnusable("API key or secret is missing")
        if not self._key.isascii() or not self._key.isprintable():
            raise CredentialUnusable("the API key holds characters that no Binance key has")
        self._private: RSAPrivateKey | Ed25519PrivateKey | None = None
        if is_pem(self._secret):
            private = load_private_key(self._secret)
            if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
                raise CredentialUnusable("Binance takes RSA and Ed25519 private keys only")
            self._private = private

    def __repr__(self) -> str:
        return "Signer()"

    @property
    def headers(self) -> dict[str, str]:
        return {"X-MBX-APIKEY": self._key}

    def sign(self, text: str) -> str:
        """HMAC gives hex, RSA and Ed25519 base64."""
        if self._private is None:
            return hmac_sha256_hex(self._secret, text)
        if isinstance(self._private, RSAPrivateKey):
            return sign_pkcs1v15_sha256_base64(self._private, text)
        return sign_ed25519_base64(self._private, text)

    def params(self, timestamp_ms: int, recv_window_ms: int = RECV_WINDOW_MS) -> dict[str, str | int]:
        """Signed parameters of a WebSocket API request: sorted by name, not percent-encoded."""
        params: dict[str, str | int] = {
            "apiKey": self._key,
            "recvWindow": recv_window_ms,
            "timestamp": timestamp_ms,
        }
        params["signature"] = self.sign("&".join(f"{name}={params[name]}" for name in sorted(params)))
        return params

    def query(self, params: str, timestamp_ms: int, recv_window_ms: int = RECV_WINDOW_MS) -> str:
        """A signed REST query; `params` is percent-encoded already (obligatory before signing since 2026-01-15)."""
        text = f"{params}&" if params else ""
        text += f"recvWindow={recv_window_ms}&timestamp={timestamp_ms}"
        return f"{text}&signature={quote(self.sign(text), safe='')}"


def encoded(params: Mapping[str, str | int]) -> str:
    """A percent-encoded query, in the order given."""
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in params.items())
