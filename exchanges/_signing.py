"""Request signing, once for all venues: pure functions over key material. Any thread.

Every function raises `CredentialUnusable` for material that can't sign; the text says what is wrong and holds no part of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchanges.errors import CredentialUnusable

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_PEM: Final = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
_WHITE: Final = re.compile(r"\s+")
_LINE: Final = 64
_SEED_BYTES: Final = 32
_P256_BYTES: Final = 32


def is_pem(secret: str) -> bool:
    """Whether a secret holds a private key rather than an HMAC secret."""
    return "PRIVATE KEY" in secret


def hmac_sha256_hex(secret: str, text: str) -> str:
    return hmac.new(_utf8(secret), _utf8(text), hashlib.sha256).hexdigest()


def hmac_sha256_base64(secret: str, text: str) -> str:
    return base64.b64encode(hmac.new(_utf8(secret), _utf8(text), hashlib.sha256).digest()).decode()


def hmac_sha512_base64(secret: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.new(secret, message, hashlib.sha512).digest()).decode()


def hmac_sha512_hex(secret: str, text: str) -> str:
    return hmac.new(_utf8(secret), _utf8(text), hashlib.sha512).hexdigest()


def base64_secret(secret: str) -> bytes:
    """The bytes of a secret that the venue hands out in base64; white space that got into it is dropped."""
    try:
        raw = base64.b64decode(_WHITE.sub("", secret), validate=True)
    except (binascii.Error, ValueError):
        raise CredentialUnusable("the API secret is not base64: part of it may be missing") from None
    if not raw:
        raise CredentialUnusable("the API secret is empty")
    return raw


def sha256(text: str) -> bytes:
    return hashlib.sha256(_utf8(text)).digest()


def sha256_hex(text: str) -> str:
    return hashlib.sha256(_utf8(text)).hexdigest()


def repaired_pem(text: str) -> str:
    """A PEM with its line breaks put back: stored keys arrive on one line or with literal backslash-n (contract 1.3)."""
    found = _PEM.search(text.replace("\\r", "\n").replace("\\n", "\n"))
    if found is None:
        raise CredentialUnusable("the private key has no complete BEGIN/END PRIVATE KEY pair")
    label, body = found.groups()
    if "ENCRYPTED" in label or ":" in body:
        raise CredentialUnusable("the private key is protected by a password; store it without one")
    body = _WHITE.sub("", body)
    lines = [body[start : start + _LINE] for start in range(0, len(body), _LINE)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def load_private_key(material: str) -> PrivateKey:
    """The RSA, P-256 or Ed25519 key in a PEM (flattened ones too), or in a base64 Ed25519 seed of 32 or 64 bytes."""
    if not is_pem(material):
        return _ed25519_of_seed(material)
    try:
        key = load_pem_private_key(repaired_pem(material).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, UnicodeEncodeError):
        # The library's text may quote the input, so it is not chained.
        raise CredentialUnusable("the private key can't be read: it is damaged or of an unknown kind") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise CredentialUnusable("the private key is of a kind that no venue uses (RSA, P-256 or Ed25519 expected)")
    return key


def sign_pkcs1v15_sha256_base64(key: PrivateKey, text: str) -> str:
    if not isinstance(key, RSAPrivateKey):
        raise CredentialUnusable("an RSA private key is needed")
    try:
        return base64.b64encode(key.sign(_utf8(text), PKCS1v15(), hashes.SHA256())).decode()
    except ValueError:
        raise CredentialUnusable("the RSA private key is too short to sign with SHA-256") from None


def sign_ed25519_base64(key: PrivateKey, text: str) -> str:
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialUnusable("an Ed25519 private key is needed")
    return base64.b64encode(key.sign(_utf8(text))).decode()


def jwt_es256(key: PrivateKey, claims: Mapping[str, object], headers: Mapping[str, object] | None = None) -> str:
    """A signed JSON web token (RFC 7515, 7518): P-256, signature as raw r||s. `headers` go beside `alg` and `typ`."""
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise CredentialUnusable("an elliptic curve private key on P-256 is needed")
    text = _signing_input("ES256", claims, headers)
    r, s = decode_dss_signature(key.sign(text.encode(), ECDSA(hashes.SHA256())))
    return f"{text}.{_base64url(r.to_bytes(_P256_BYTES, 'big') + s.to_bytes(_P256_BYTES, 'big'))}"


def jwt_eddsa(key: PrivateKey, claims: Mapping[str, object], headers: Mapping[str, object] | None = None) -> str:
    """A signed JSON web token (RFC 8037): Ed25519."""
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialUnusable("an Ed25519 private key is needed")
    text = _signing_input("EdDSA", claims, headers)
    return f"{text}.{_base64url(key.sign(text.encode()))}"


def jwt(key: PrivateKey, claims: Mapping[str, object], headers: Mapping[str, object] | None = None) -> str:
    """ES256 or EdDSA, whichever the key is made for."""
    return jwt_eddsa(key, claims, headers) if isinstance(key, Ed25519PrivateKey) else jwt_es256(key, claims, headers)


def _ed25519_of_seed(material: str) -> Ed25519PrivateKey:
    try:
        raw = base64.b64decode(_WHITE.sub("", material), validate=True)
    except (binascii.Error, ValueError):
        raise CredentialUnusable("the private key is neither a PEM nor base64") from None
    if len(raw) not in (_SEED_BYTES, 2 * _SEED_BYTES):  # 64 bytes = seed and public key
        raise CredentialUnusable(f"a base64 Ed25519 key has 32 or 64 bytes, this one has {len(raw)}")
    return Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])


def _signing_input(algorithm: str, claims: Mapping[str, object], headers: Mapping[str, object] | None) -> str:
    header = {"alg": algorithm, "typ": "JWT", **(headers or {})}
    return f"{_base64url(_json(header))}.{_base64url(_json(claims))}"


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(dict(value), separators=(",", ":")).encode()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # lone surrogates, possible in JSON escapes
        raise CredentialUnusable("the key material or the signed text is not valid Unicode") from None
