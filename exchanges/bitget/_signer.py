"""Bitget's signed calls (docs/venues/bitget.md, section 2)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Call
from exchanges._signing import hmac_sha256_base64, is_pem, load_private_key, sign_pkcs1v15_sha256_base64
from exchanges.bitget import _hosts
from exchanges.credentials import Credentials

_VERIFY: Final = "GET/user/verify"


def signature(credentials: Credentials, text: str) -> str:
    """HMAC, or RSA for keys whose secret is a PEM. Raises `CredentialUnusable`."""
    secret = credentials.secret.reveal()
    if is_pem(secret):
        return sign_pkcs1v15_sha256_base64(load_private_key(secret), text)
    return hmac_sha256_base64(secret, text)


def passphrase(credentials: Credentials) -> str:
    """Bitget takes it in clear."""
    return credentials.passphrase.reveal() if credentials.passphrase else ""


def is_demo(credentials: Credentials) -> bool:
    return credentials.environment == "sandbox"


def sign(call: Call, credentials: Credentials, wall_ms: int) -> Call:
    """The call with fresh authentication headers; replaces older ones. Raises `CredentialUnusable`."""
    parts = urlsplit(call.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    stamp = str(wall_ms)
    headers = {
        "ACCESS-KEY": credentials.key.reveal(),
        "ACCESS-SIGN": signature(credentials, f"{stamp}{call.method}{path}{call.body or ''}"),
        "ACCESS-TIMESTAMP": stamp,
        "ACCESS-PASSPHRASE": passphrase(credentials),
        "Content-Type": "application/json",
        "locale": "en-US",
        **(_hosts.DEMO_HEADER if is_demo(credentials) else {}),
    }
    return msgspec.structs.replace(call, headers=headers)


def login(credentials: Credentials, wall_ms: int) -> str:
    """The frame that logs a connection in. Raises `CredentialUnusable`."""
    stamp = str(wall_ms // 1000)
    fields = {
        "apiKey": credentials.key.reveal(),
        "passphrase": passphrase(credentials),
        "timestamp": stamp,
        "sign": signature(credentials, stamp + _VERIFY),
    }
    return msgspec.json.encode({"op": "login", "args": [fields]}).decode()
