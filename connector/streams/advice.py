"""What a person can do about a refused key, by the code or words in the venue's answer. Pure.

Codes and words of a venue stand in its own table of errors (`exchanges._meaning`); here is what our own texts say of key
material, and what plain English says of a refusal that stands in no table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from exchanges import key_advice, key_type_advice
from exchanges._adapter import FailKind
from exchanges._meaning import KEY, PERMISSION, PHRASE, SIGNATURE

_UNUSABLE: Final = "the secret can't be used for signing: give it as the venue showed it, a PEM with all of its lines"

GENERAL: Final = (
    "check key, secret and passphrase, the key's permissions and addresses, and that it is of this exchange"
)
NEW_KEY_TYPE: Final = "the venue refuses this type of key: make a new one of the type that the venue asks for"
REQUEST: Final = "the key may be right, but the venue won't serve this account's stream: read its reason above"

_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{4,6}(?!\w)")
_WORDS: Final[Mapping[str, str]] = {
    "private key": _UNUSABLE,
    "not base64": "the secret is not complete: copy it again, as the venue showed it",
    "is missing": "give a key and a secret (and a passphrase where the venue has one)",
    "are missing": "give a key and a secret (and a passphrase where the venue has one)",
    "passphrase": PHRASE,
    "permission": PERMISSION,
    "expired": KEY,
    "signature": SIGNATURE,
}


def names_refusal(venue: str, reason: str) -> bool:
    """Whether the text holds a code by which `venue` (family name) refuses keys."""
    return _by_code(venue, reason) is not None


def _by_code(venue: str, reason: str) -> str | None:
    """Advice by a number in the text, else by words of a venue whose numbers say nothing."""
    codes = key_advice(venue)
    by_number = next((codes[found] for found in _NUMBER.findall(reason) if found in codes), None)
    bare = _bare(reason)
    words = (text for said, text in codes.items() if not said.lstrip("-").isdecimal() and _bare(said) in bare)
    return by_number if by_number is not None else next(words, None)


def _bare(text: str) -> str:
    """Any case, and without blanks: a venue may write some around a colon."""
    return "".join(text.lower().split())


def advice(venue: str, kind: FailKind, reason: str) -> str:
    """One sentence on what to do about a refusal of `venue` (family name) with this reason."""
    if kind is FailKind.KEY_TYPE:
        return key_type_advice(venue) or NEW_KEY_TYPE
    by_code = _by_code(venue, reason)
    if by_code is not None:
        return by_code
    lower = reason.lower()
    for words, text in _WORDS.items():
        if words in lower:
            return text
    return REQUEST if kind is FailKind.REQUEST else GENERAL
