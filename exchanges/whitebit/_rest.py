"""WhiteBIT's hosts, its signed calls, and what its errors mean (docs.whitebit.com: authentication, errors)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Answer, Call, FailKind
from exchanges._failures import Failure
from exchanges._frames import RETRYABLE, UNREADABLE
from exchanges._meaning import ACCOUNT, LIMITED, OFF, PERMISSION, SIGNATURE, WRONG, Meaning, refused
from exchanges._signing import hmac_sha512_hex
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

SITE_OPTION: Final = "WHITEBIT_SITE"


class Site(NamedTuple):
    """Where the venue is reached."""

    rest: str
    ws: str


COM: Final = Site("https://whitebit.com", "wss://api.whitebit.com/ws")
SITES: Final[Mapping[str, Site]] = {"com": COM, "eu": Site("https://whitebit.eu", "wss://api.whitebit.eu/ws")}
"""The second one stands in the documents, which mark it as not released."""


def site_of(options: Mapping[str, str]) -> Site:
    return SITES.get(options.get(SITE_OPTION, "").strip().lower(), COM)


def option_refusal(options: Mapping[str, str]) -> str | None:
    """None, or why the chosen site is none."""
    chosen = options.get(SITE_OPTION, "").strip().lower()
    return f"{SITE_OPTION}={chosen!r} is none of {', '.join(SITES)}" if chosen and chosen not in SITES else None


NO_SANDBOX: Final = "WhiteBIT has no sandbox: its demo tokens trade on the live venue"
WINDOW_MS: Final = 5_000
"""How far a nonce may be from the venue's clock."""
RATE_WAIT_S: Final = 1.0
MAINTENANCE_WAIT_S: Final = 3.5


class Signer:
    """Signs the calls of one key. Raises `CredentialUnusable` for material that can't sign. I/O thread only."""

    def __init__(self, credentials: Credentials, site: Site = COM) -> None:
        self._site = site
        self._key, self._secret = credentials.key.reveal(), credentials.secret.reveal()
        if not self._key or not self._secret:
            raise CredentialUnusable("the API key or its secret is missing")
        if not self._key.isascii() or not self._key.isprintable():
            raise CredentialUnusable("the API key has characters that no header can carry")
        hmac_sha512_hex(self._secret, "")
        self._nonce = 0

    def signed(self, call: Call, wall_ms: int) -> Call:
        """The call with a fresh nonce. `call.body` holds the parameters as a JSON object, also when it was signed before.

        With `nonceWindow` a nonce need not be higher than those of everybody else who uses the key, only near the venue's
        clock and used once; without it an old one is answered as 429.
        """
        # A clock that turned out to be ahead is followed back: the venue takes nothing from outside its window.
        behind = self._nonce - WINDOW_MS <= wall_ms <= self._nonce
        self._nonce = self._nonce + 1 if behind else wall_ms
        params = msgspec.json.decode(call.body or "{}", type=dict[str, object])
        head = {"request": urlsplit(call.url).path, "nonce": self._nonce, "nonceWindow": True}
        body = msgspec.json.encode({**params, **head}).decode()
        payload = base64.b64encode(body.encode()).decode()
        headers = {
            "Content-Type": "application/json",
            "X-TXC-APIKEY": self._key,
            "X-TXC-PAYLOAD": payload,
            "X-TXC-SIGNATURE": hmac_sha512_hex(self._secret, payload),
        }
        url = call.url if call.url.startswith("https:") else self._site.rest + call.url
        return msgspec.structs.replace(call, url=url, body=body, headers=headers)


def private_call(tag: str, path: str, params: Mapping[str, object], **more: object) -> Call:
    """An unsigned private call, whose site the signature adds: all of them are POST."""
    body = msgspec.json.encode(params).decode()
    call = Call(tag=tag, method="POST", url=f"/api/v4/{path}", body=body, pool="private")
    return msgspec.structs.replace(call, **more) if more else call


# --- errors ---


ERRORS: Final[Mapping[str, Meaning]] = {
    # Numbers of errors are used twice (2: key off, and order not found), so the text decides.
    "nonce": OFF,
    "unauthorized request": refused(SIGNATURE),
    "this action is unauthorized": refused(
        "the key is switched off (one that nobody uses for 14 days switches itself off), or its list of addresses lacks this "
        "host's: look at it in the venue's API settings"
    ),
    "not authorized to perform this action": refused(PERMISSION),
    "you don't have permission": refused(
        "the key is bound to a list of endpoints that lacks one: allow the socket token, orders, and the trade and "
        "collateral accounts, or remove the list"
    ),
    "user not found": refused(ACCOUNT),
    "too many requests": LIMITED,
    "system maintenance": Meaning(FailKind.MAINTENANCE),
    "market is not available": WRONG,
    "does not exist": WRONG,
}
"""Part of an error's text, in lower case → what it means. The first one counts."""
SOCKET_CODES: Final[dict[int, FailKind]] = {
    1: FailKind.REQUEST,
    2: FailKind.TRANSIENT,
    3: FailKind.TRANSIENT,
    4: FailKind.REQUEST,
    5: FailKind.TRANSIENT,
    6: FailKind.TRANSIENT,
    7: FailKind.RATE_LIMITED,
    9: FailKind.REQUEST,
}
"""Codes of refused socket requests: invalid argument, internal error, unavailable, method, timeout, not authorised, too many
requests, unknown market."""


def kind_of_text(text: str) -> FailKind | None:
    said = text.lower()
    return next((meaning.kind for part, meaning in ERRORS.items() if part in said), None)


def failure_of_code(code: int, text: str) -> Failure:
    """What a refused socket request means."""
    kind = kind_of_text(text) or SOCKET_CODES.get(code, FailKind.TRANSIENT)
    wait_s = RATE_WAIT_S if kind is FailKind.RATE_LIMITED else None
    return Failure(kind, f"{text.strip()[:200] or 'refused without a reason'} (code {code})", wait_s)


def bad_nonce(reason: str) -> bool:
    """Whether a refusal is about the clock."""
    return "nonce" in reason.lower()


class _Error(msgspec.Struct):
    code: object = None
    message: object = ""
    errors: msgspec.Raw = msgspec.Raw(b"")
    success: bool | None = None


_decode_error = msgspec.json.Decoder(_Error).decode


def failure_of(answer: Answer) -> Failure | None:
    """Why an answer is none; None for a good one. The body decides before the status does."""
    if not answer.status:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer")
    text, refused = "", answer.status >= 400
    try:
        error = _decode_error(answer.body)
        refused = refused or error.success is False
        text = f"{error.message} {bytes(error.errors).decode()}".strip()
        text = f"{text} (code {error.code})" if error.code is not None else text
    except UNREADABLE:
        pass  # a list, or no JSON
    if not refused:
        return None
    reason = f"HTTP {answer.status}: {text[:200]}" if text else f"HTTP {answer.status}"
    kind = kind_of_text(text)
    if answer.status >= 500:
        # Says nothing about the key, whatever stands in the page of a gateway.
        passing = kind if kind in (FailKind.MAINTENANCE, FailKind.RATE_LIMITED) else FailKind.TRANSIENT
        return Failure(passing, reason, MAINTENANCE_WAIT_S)
    if kind is FailKind.TRANSIENT or kind is FailKind.CREDENTIAL:
        return Failure(kind, reason)
    if answer.status in (418, 429):
        return Failure(FailKind.RATE_LIMITED, reason, RATE_WAIT_S)
    if answer.status == 401:
        return Failure(FailKind.CREDENTIAL, reason)
    if kind is None:
        kind = FailKind.REQUEST if answer.status == 422 else FailKind.TRANSIENT
    wait_s = {FailKind.RATE_LIMITED: RATE_WAIT_S, FailKind.MAINTENANCE: MAINTENANCE_WAIT_S}.get(kind)
    return Failure(kind, reason, wait_s or (MAINTENANCE_WAIT_S if answer.status in RETRYABLE else None))


class _Status(msgspec.Struct):
    status: object = ""


_decode_status = msgspec.json.Decoder(_Status).decode


def under_maintenance(answer: Answer) -> bool:
    """Whether the platform's status says so (docs.whitebit.com: maintenance status)."""
    try:
        return "maintenance" in str(_decode_status(answer.body).status).lower()
    except UNREADABLE:
        return False
