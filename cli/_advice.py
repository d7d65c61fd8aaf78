"""What a person can do about a refused key, by the code or words in the venue's answer. Pure.

Sources: the error tables of the venues, as listed in the venue modules under `exchanges/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from exchanges._adapter import FailKind

_KEY: Final = (
    "the venue doesn't know this key: look for a typing error, a deleted or expired key, or a key of its test network"
)
_SIGNATURE: Final = "the secret doesn't belong to this key: copy both again, completely"
_PHRASE: Final = "the passphrase is not the one that was chosen when the key was made (it is not the login password)"
_ADDRESS: Final = "the key's list of allowed addresses lacks this host's: add its outgoing address, or remove the list"
_PERMISSION: Final = (
    "the key lacks a permission: allow reading (and trading on this market) in the venue's key settings"
)
_ACCOUNT: Final = "the account itself is blocked or not allowed to do this: ask the venue's support"
_UNUSABLE: Final = "the secret can't be used for signing: give it as the venue showed it, a PEM with all of its lines"

GENERAL: Final = (
    "check key, secret and passphrase, the key's permissions and addresses, and that it is of this exchange"
)
NEW_KEY_TYPE: Final = "the venue refuses this type of key: make a new one of the type that the venue asks for"
REQUEST: Final = "the key may be right, but the venue won't serve this account's stream: read its reason above"

_CODES: Final[Mapping[str, Mapping[str, str]]] = {
    "binance": {
        "-2015": "wrong key, a host address that the key doesn't allow, or a permission that it lacks (reading; futures too)",
        "-2014": _KEY,
        "-2008": _KEY,
        "-1022": _SIGNATURE,
        "-1002": _PERMISSION,
        "-4056": "this account needs an Ed25519 key: make one and give its PEM as the secret",
    },
    "kucoin": {
        "400001": "key, secret and passphrase are all needed",
        "400003": _KEY,
        "400004": _PHRASE,
        "400005": _SIGNATURE,
        "400006": _ADDRESS,
        "400007": _PERMISSION,
        "411100": _ACCOUNT,
    },
    "bybit": {
        "10003": f"{_KEY}; regional accounts need --bybit-host",
        "10004": _SIGNATURE,
        "10005": _PERMISSION,
        "10009": "this key belongs to another region: choose it with --bybit-host",
        "10010": _ADDRESS,
        "10024": _ACCOUNT,
        "10027": _ACCOUNT,
        "10028": "only unified accounts can be used: upgrade the account",
        "100028": "only unified accounts can be used: upgrade the account",
        "33004": "the key has expired: make a new one, or bind it to an address so that it lasts",
    },
    "okx": {
        "60005": _KEY,
        "60007": _SIGNATURE,
        "60024": _PHRASE,
        "60032": f"{_KEY}; accounts of other regions need --okx-source",
        "50105": _PHRASE,
        "50101": "the key belongs to the other environment (demo or live, ENVOKX)",
        "50110": _ADDRESS,
        "50111": _KEY,
        "50113": _SIGNATURE,
        "50119": f"{_KEY}; accounts of other regions need --okx-source",
        "50030": _PERMISSION,
        "50120": _PERMISSION,
        "50007": _ACCOUNT,
        "50035": "this key has to be bound to an address: add this host's",
    },
    "bitget": {
        "30005": "key, secret and passphrase are all needed",
        "30011": _KEY,
        "30012": _KEY,
        "30013": _PHRASE,
        "30015": _SIGNATURE,
        "40006": _KEY,
        "40009": _SIGNATURE,
        "40011": _PHRASE,
        "40012": "the key or its passphrase is wrong",
        "40014": _PERMISSION,
        "40018": _ADDRESS,
        "40031": _ACCOUNT,
        "40037": _KEY,
    },
}
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{4,6}(?!\w)")
_KEY_TYPES: Final[Mapping[str, str]] = {
    "coinbase": "only CDP keys work: make one at the developer platform; its name is the key, its PEM (or seed) the secret",
    "binance": "this account needs an Ed25519 key: make one and give its PEM as the secret",
}
_WORDS: Final[Mapping[str, str]] = {
    "private key": _UNUSABLE,
    "not base64": "the secret is not complete: copy it again, as the venue showed it",
    "invalid key": _KEY,
    "authenticated feed": "the key is unknown, lacks access, or the secret isn't its own; spot keys don't work on futures",
    "authenticationerror": "the key is unknown, or the secret isn't its own; spot keys don't work on futures",
    "is missing": "give a key and a secret (and a passphrase where the venue has one)",
    "are missing": "give a key and a secret (and a passphrase where the venue has one)",
    "passphrase": _PHRASE,
    "permission": _PERMISSION,
    "scopes": _PERMISSION,
    "expired": _KEY,
    "signature": _SIGNATURE,
    "authentication failure": "the key is unknown, or the secret doesn't belong to it: copy both again, completely",
    "api wallet": "give the address of the account itself, not that of a wallet that may trade for it",
    "no account of this address": "the account must have been funded on this network once (HYPERLIQUIDENV chooses it)",
    "no account address": "the key is the account's address, 0x and 40 hexadecimal digits; there is no secret",
    "does not know this account": "paper accounts exist from their first use in the platform on; check key and secret",
}


def names_refusal(venue: str, reason: str) -> bool:
    """Whether the text holds a code by which `venue` (family name) refuses keys."""
    return _by_code(venue, reason) is not None


def _by_code(venue: str, reason: str) -> str | None:
    codes = _CODES.get(venue, {})
    return next((codes[found] for found in _NUMBER.findall(reason) if found in codes), None)


def advice(venue: str, kind: FailKind, reason: str) -> str:
    """One sentence on what to do about a refusal of `venue` (family name) with this reason."""
    if kind is FailKind.KEY_TYPE:
        return _KEY_TYPES.get(venue, NEW_KEY_TYPE)
    by_code = _by_code(venue, reason)
    if by_code is not None:
        return by_code
    lower = reason.lower()
    for words, text in _WORDS.items():
        if words in lower:
            return text
    return REQUEST if kind is FailKind.REQUEST else GENERAL
