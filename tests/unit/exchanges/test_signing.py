"""Signing against published check values and against the verifying half of the same algorithm."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges import _signing
from exchanges.errors import CredentialUnusable

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, traditional: bool = False
) -> str:
    kind = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, kind, NoEncryption()).decode()


def test_hmac_matches_the_check_values_of_the_binance_pages() -> None:
    text = "apiKey=test-key-1&recvWindow=5000&timestamp=1795000000000"
    expected = "beef34be2378ee26b043f2841a2e7c7ee5bab44b8077090bea79c04fdba24600"
    assert _signing.hmac_sha256_hex("test-secret-1", text) == expected
    assert base64.b64decode(_signing.hmac_sha256_base64("test-secret-1", text)).hex() == expected


def test_hmac_sha512_matches_rfc_4231() -> None:
    expected = (
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
    )
    assert base64.b64decode(_signing.hmac_sha512_base64(b"\x0b" * 20, b"Hi There")).hex() == expected


@pytest.mark.parametrize("secret", ["a+/=", " a+\n/= "])
def test_a_base64_secret_may_have_white_space_in_it(secret: str) -> None:
    assert _signing.base64_secret(secret) == b"k\xef"


@pytest.mark.parametrize("secret", ["", " ", "abc", "not base64!", "é", "a=b="])
def test_a_secret_that_is_not_base64_is_unusable_and_not_quoted(secret: str) -> None:
    with pytest.raises(CredentialUnusable) as refused:
        _signing.base64_secret(secret)
    assert not secret.strip() or secret not in str(refused.value)


@pytest.mark.parametrize("key", [RSA, P256, ED], ids=["rsa", "p256", "ed25519"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text,
        lambda text: text.strip().replace("\n", " "),
        lambda text: text.strip().replace("\n", "\\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.strip().replace("\n", ""),
        lambda text: "  \n" + text.strip().replace("\n", "\\r\\n") + " ",
    ],
    ids=["intact", "spaces", "literal", "crlf", "joined", "literal crlf"],
)
def test_a_pem_is_read_whatever_happened_to_its_line_breaks(key, damage) -> None:  # type: ignore[no-untyped-def]
    read = _signing.load_private_key(damage(pem(key)))
    assert pem(read) == pem(key)


@pytest.mark.parametrize("key", [RSA, P256], ids=["rsa", "p256"])
def test_traditional_pem_labels_are_read(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    flattened = pem(key, traditional=True).replace("\n", " ")
    assert pem(_signing.load_private_key(flattened)) == pem(key)


@pytest.mark.parametrize("extra", [b"", ED.public_key().public_bytes_raw()], ids=["32 bytes", "64 bytes"])
def test_a_base64_seed_is_an_ed25519_key(extra: bytes) -> None:
    seed = base64.b64encode(ED.private_bytes_raw() + extra).decode()
    assert pem(_signing.load_private_key(seed)) == pem(ED)


@pytest.mark.parametrize(
    "material",
    [
        "",
        "not base64!",
        base64.b64encode(b"x" * 31).decode(),
        "-----BEGIN PRIVATE KEY----- SECRETMATERIAL",
        "-----BEGIN PRIVATE KEY----- SECRETMATERIAL -----END PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY----- SECRETMATERIAL -----END ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nSECRETMATERIAL\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY----- é\ud800 -----END PRIVATE KEY-----",
    ],
)
def test_unusable_material_is_refused_without_quoting_it(material: str) -> None:
    with pytest.raises(CredentialUnusable) as caught:
        _signing.load_private_key(material)
    assert "SECRETMATERIAL" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_rsa_and_ed25519_signatures_verify() -> None:
    RSA.public_key().verify(
        base64.b64decode(_signing.sign_pkcs1v15_sha256_base64(RSA, "a=1")), b"a=1", padding.PKCS1v15(), hashes.SHA256()
    )
    ED.public_key().verify(base64.b64decode(_signing.sign_ed25519_base64(ED, "a=1")), b"a=1")


def _part(token: str, index: int) -> bytes:
    part = token.split(".")[index]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_es256_tokens_carry_a_raw_signature() -> None:
    token = _signing.jwt(P256, {"sub": "k", "nbf": 1}, {"kid": "k", "nonce": "ab"})
    assert json.loads(_part(token, 0)) == {"alg": "ES256", "typ": "JWT", "kid": "k", "nonce": "ab"}
    assert json.loads(_part(token, 1)) == {"sub": "k", "nbf": 1}
    raw = _part(token, 2)
    assert len(raw) == 64
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    P256.public_key().verify(der, token.rpartition(".")[0].encode(), ec.ECDSA(hashes.SHA256()))


def test_eddsa_tokens_verify() -> None:
    token = _signing.jwt(ED, {"sub": "k"})
    ED.public_key().verify(_part(token, 2), token.rpartition(".")[0].encode())


def test_a_key_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(CredentialUnusable):
        _signing.sign_pkcs1v15_sha256_base64(ED, "x")
    with pytest.raises(CredentialUnusable):
        _signing.sign_ed25519_base64(RSA, "x")
    with pytest.raises(CredentialUnusable):
        _signing.jwt_es256(ED, {})
    with pytest.raises(CredentialUnusable):
        _signing.jwt_eddsa(P256, {})
    with pytest.raises(CredentialUnusable):
        _signing.jwt_es256(ec.generate_private_key(ec.SECP384R1()), {})
