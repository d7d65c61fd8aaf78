"""Bitget REST: signed calls, envelopes and what their errors mean (docs/venues/bitget.md, sections 2 and 7)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Answer, Call, Fail, FailKind
from exchanges._frames import UNREADABLE
from exchanges._signing import hmac_sha256_base64, is_pem, load_private_key, sign_pkcs1v15_sha256_base64
from exchanges.bitget import _markets
from exchanges.bitget._errors import DENIED, REST
from exchanges.credentials import Credentials

SUCCESS: Final = "00000"
UNIFIED: Final = "40085"
"""The account is unified: it wants the v3 API."""
CLASSIC: Final = "40084"
"""The account is classic: it wants the v2 API (seen on the simulator only; the venue's own code is not documented)."""
OTHER_GENERATION: Final = frozenset({UNIFIED, CLASSIC})
PASSING: Final = frozenset({"40010", "40015", "40200", "40604", "40725", "40808", "45001"})
"""The venue is busy or in a release window (docs/venues/bitget.md, section 7): worth another try."""
NO_ORDER: Final = frozenset({"40109", "40768", "43001", "25204"})
RATE_WAIT_S: Final = 1.0
MAX_WAIT_S: Final = 60.0


class Envelope(msgspec.Struct):
    code: str | int = ""
    msg: str | None = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Envelope).decode


def read(answer: Answer) -> Envelope:
    """The envelope of an answer; an empty one when the body is not Bitget's JSON (a gateway's page)."""
    try:
        return _decode(answer.body)
    except UNREADABLE:
        return Envelope()


def succeeded(answer: Answer, envelope: Envelope) -> bool:
    return 200 <= answer.status < 300 and str(envelope.code) == SUCCESS


def denied(envelope: Envelope) -> bool:
    """The key may not ask this: it says nothing about the account."""
    return str(envelope.code) == DENIED or "permission" in (envelope.msg or "").lower()


def late(envelope: Envelope) -> bool:
    """The venue refuses our time."""
    meaning = REST.get(str(envelope.code))
    return meaning is not None and meaning.clock


def failure(answer: Answer, envelope: Envelope) -> Fail:
    """What an answer that did not succeed means. Clock and account-mode errors are the caller's to handle first."""
    code, text = str(envelope.code), envelope.msg or ""
    reason = answer.error or " ".join(part for part in (code or f"HTTP {answer.status}", text) if part)
    meaning = REST.get(code)
    if meaning is not None and meaning.kind is FailKind.CREDENTIAL:
        return Fail(kind=meaning.kind, reason=reason)
    if answer.status == 429 or code == "429" or (code == "40725" and "too many" in text.lower()):
        header = answer.headers.get("retry-after", "")
        wait_s = min(float(header), MAX_WAIT_S) if header.isdigit() else RATE_WAIT_S
        return Fail(kind=FailKind.RATE_LIMITED, reason=reason, retry_after_s=wait_s)
    return Fail(kind=FailKind.TRANSIENT, reason=reason)


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
        **(_markets.DEMO_HEADER if is_demo(credentials) else {}),
    }
    return msgspec.structs.replace(call, headers=headers)
