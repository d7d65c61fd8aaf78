"""What Bybit's codes and texts mean (docs/venues/bybit.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._adapter import FailKind
from exchanges._meaning import (
    ACCOUNT,
    ADDRESS,
    KEY,
    LIMITED,
    OFF,
    PASSING,
    PERMISSION,
    SIGNATURE,
    WRONG,
    Meaning,
    refused,
)

_UNIFIED: Final = "only unified accounts can be used: upgrade the account"

ERRORS: Final[Mapping[int, Meaning]] = {
    10002: OFF,
    10003: refused(f"{KEY}; regional accounts need --bybit-host"),  # also: a key of another environment
    10004: refused(SIGNATURE),
    10005: refused(PERMISSION),
    10007: refused(),  # authentication failed
    10009: refused("this key belongs to another region: choose it with --bybit-host"),
    10010: refused(ADDRESS),
    10024: refused(ACCOUNT),  # compliance rules
    10027: refused(ACCOUNT),  # trading banned
    10028: refused(_UNIFIED),
    100028: refused(_UNIFIED),
    33004: refused("the key has expired: make a new one, or bind it to an address so that it lasts"),
    -2015: refused(),
    **dict.fromkeys((10006, 10018, 10429, 20003, 170222), LIMITED),
    10001: WRONG,  # a parameter that the venue does not take: asking again changes nothing
}
_EXPIRED: Final = -1
"""With "expired" in its text it is about our time."""
TEXTS: Final[tuple[tuple[str, Meaning], ...]] = (
    ("api key is invalid", refused()),
    ("your api key has expired", refused()),
    ("error sign", refused()),
    ("apikey is invalid", refused()),
    ("too many visits", LIMITED),
    ("maintenance", Meaning(FailKind.MAINTENANCE)),
    ("system upgrade", Meaning(FailKind.MAINTENANCE)),
    ("system is upgrading", Meaning(FailKind.MAINTENANCE)),
)
"""Part of a text in lower case. The first one counts."""
_LOUDER: Final = frozenset({FailKind.CREDENTIAL, FailKind.RATE_LIMITED})
"""What a text may say of a code that tells less."""


def meaning_of(code: int, text: str) -> Meaning:
    lower = text.lower()
    if code == _EXPIRED and "expired" in lower:
        return OFF
    found = ERRORS.get(code)
    said = next((meaning for part, meaning in TEXTS if part in lower), PASSING)
    if found is None:
        return said
    louder = said.kind in _LOUDER and found.kind is not FailKind.CREDENTIAL and found is not OFF
    return said if louder else found
