"""Checking Coinbase's two kinds of keys: CDP keys sign JSON web tokens, legacy keys HMAC. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from simulator._values import ApiKey
from simulator._venue import Instant
from simulator.engine import Account
from simulator.signing import hmac_hex, public_key, same

if TYPE_CHECKING:
    from simulator.engine import Engine

TOLERANCE_S: Final = 10
"""How far a token may lie in the future, and a legacy timestamp in the past or future (assumed: it is not documented)."""
MAX_LIFE_S: Final = 120
ISSUERS: Final = frozenset({"cdp", "coinbase-cloud"})
"""The second is the older documentation's; tokens with it are still made by ccxt."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Failure(Exception):
    """An error answer."""

    def __init__(self, status: int, error: str, text: str) -> None:
        super().__init__(text)
        self.status, self.body = status, {"error": error, "error_details": text, "message": text}


class Refused(Exception):
    """The key is refused; the text is for the statistics."""


def by_token(engine: Engine, token: str, uri: str | None, now: Instant) -> Account:
    """The account of a web token; `uri` must stand in REST tokens and must not in those of a WebSocket frame."""
    signed, _, last = token.rpartition(".")
    first, _, second = signed.partition(".")
    header, claims, signature = _part(first), _part(second), _bytes(last)
    found = engine.find_key("coinbase", str(claims.get("sub", "")))
    if found is None or header.get("kid") != claims.get("sub") or not header.get("nonce"):
        raise Refused("unknown key")
    account, key = found
    if key.rejected:
        raise Refused(key.rejected)
    if not _verified(key, str(header.get("alg")), signed.encode(), signature):
        raise Refused("signature")
    seconds = now.wall_ms // 1000
    begin, end = claims.get("nbf"), claims.get("exp")
    if not isinstance(begin, int) or not isinstance(end, int) or end - begin > MAX_LIFE_S:
        raise Refused("times")
    if begin > seconds + TOLERANCE_S or end < seconds:
        raise Refused("clock")
    if claims.get("iss") not in ISSUERS or _uri(claims) != uri:
        raise Refused("claims")
    return account


def _uri(claims: Mapping[str, Any]) -> object:
    """`uri`, or the first of `uris` as the newer tokens of Ed25519 keys have it."""
    uris = claims.get("uris")
    return uris[0] if isinstance(uris, list) and uris and "uri" not in claims else claims.get("uri")


def by_hmac(engine: Engine, key_text: str, stamp: str, text: str, signature: str, now: Instant) -> Account:
    """The account of a legacy key over `stamp` + `text`."""
    found = engine.find_key("coinbase", key_text)
    if found is None or found[1].kind != "hmac":
        raise Refused("unknown key")
    account, key = found
    if key.rejected:
        raise Refused(key.rejected)
    if not stamp.isdigit() or abs(int(stamp) - now.wall_ms // 1000) > 3 * TOLERANCE_S:
        raise Refused("clock")
    if not same(hmac_hex(key.secret, stamp + text), signature):
        raise Refused("signature")
    return account


def by_frame(engine: Engine, frame: Mapping[str, Any], now: Instant) -> Account | None:
    """The account that signed a subscribe frame; None for an unsigned frame. Raises `Refused`."""
    if isinstance(frame.get("jwt"), str):
        return by_token(engine, frame["jwt"], None, now)
    if "api_key" not in frame:
        return None
    products = frame.get("product_ids")
    names = ",".join(str(name) for name in products) if isinstance(products, list) else ""
    text = f"{frame.get('channel', '')}{names}"
    return by_hmac(engine, str(frame["api_key"]), str(frame.get("timestamp")), text, str(frame.get("signature")), now)


def _verified(key: ApiKey, algorithm: str, signed: bytes, signature: bytes) -> bool:
    public = _public(key)
    try:
        if algorithm == "ES256" and isinstance(public, ec.EllipticCurvePublicKey) and len(signature) == 64:
            r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
            public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
            return True
        if algorithm == "EdDSA" and isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, signed)
            return True
    except InvalidSignature:
        return False
    return False


def _public(key: ApiKey) -> Any:
    """The public half of a PEM, or of an Ed25519 seed in base64."""
    if "-----BEGIN" in key.secret:
        return public_key(key.secret)
    raw = _bytes("".join(key.secret.split()))
    return ed25519.Ed25519PrivateKey.from_private_bytes(raw[:32]).public_key() if len(raw) in (32, 64) else None


def _part(text: str) -> dict[str, Any]:
    try:
        return _decode(_bytes(text))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("token") from error


def _bytes(text: str) -> bytes:
    """Base64 in either alphabet, with or without padding; empty when it is none."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
