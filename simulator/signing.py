"""Checking signatures the way the venues do. Pure functions; broken key material or signatures are just "wrong"."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from simulator._values import ApiKey, KeyKind

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

_PEM = re.compile(r"(-----BEGIN [A-Z ]+-----)(.*?)(-----END [A-Z ]+-----)", re.DOTALL)


def hmac_hex(secret: str, text: str, algorithm: Literal["sha256", "sha512"] = "sha256") -> str:
    return hmac.new(secret.encode(), text.encode(), algorithm).hexdigest()


def hmac_base64(secret: str | bytes, text: str | bytes, algorithm: Literal["sha256", "sha512"] = "sha256") -> str:
    """Kraken passes the decoded secret and a prepared message as bytes."""
    key = secret.encode() if isinstance(secret, str) else secret
    message = text.encode() if isinstance(text, str) else text
    return base64.b64encode(hmac.new(key, message, algorithm).digest()).decode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def same(a: str, b: str) -> bool:
    """Compare texts in constant time."""
    return hmac.compare_digest(a.encode(), b.encode())


@lru_cache(maxsize=1024)
def public_key(pem: str) -> PublicKey | None:
    """The public key of a PEM text (private or public, line breaks may be lost); None if it can't be read."""
    found = _PEM.search(pem.replace("\\n", "\n"))
    if found is None:
        return None
    body = "".join(found[2].split())
    text = f"{found[1]}\n{body}\n{found[3]}\n".encode()
    try:
        if "PRIVATE KEY" in found[1]:
            loaded = load_pem_private_key(text, password=None).public_key()
        else:
            loaded = load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return loaded if isinstance(loaded, PublicKey) else None


def kind_of(secret: str) -> KeyKind:
    """What a secret is: PEM texts tell their type, everything else is an HMAC secret."""
    if "-----BEGIN" not in secret:
        return "hmac"
    loaded = public_key(secret)
    if isinstance(loaded, rsa.RSAPublicKey):
        return "rsa"
    return "ed25519" if isinstance(loaded, ed25519.Ed25519PublicKey) else "ecdsa"


def signed_by(key: ApiKey, text: str, signature: str) -> bool:
    """Whether `signature` is the key's own over `text`: HMAC as hex, RSA (PKCS#1 v1.5, SHA-256) and Ed25519 as base64."""
    if key.kind == "hmac":
        return same(hmac_hex(key.secret, text), signature)
    return verify_public(public_key(key.secret), text.encode(), signature)


def verify_public(key: PublicKey | None, message: bytes, signature: str) -> bool:
    """Check a base64 signature with a public key."""
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(raw, message, padding.PKCS1v15(), SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(raw, message)
        else:
            return False
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
