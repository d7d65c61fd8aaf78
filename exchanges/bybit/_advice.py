"""What a person can do about a refused key, by the venue's code (docs/venues/bybit.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._advice import ACCOUNT, ADDRESS, KEY, PERMISSION, SIGNATURE

ADVICE: Final[Mapping[str, str]] = {
    "10003": f"{KEY}; regional accounts need --bybit-host",
    "10004": SIGNATURE,
    "10005": PERMISSION,
    "10009": "this key belongs to another region: choose it with --bybit-host",
    "10010": ADDRESS,
    "10024": ACCOUNT,
    "10027": ACCOUNT,
    "10028": "only unified accounts can be used: upgrade the account",
    "100028": "only unified accounts can be used: upgrade the account",
    "33004": "the key has expired: make a new one, or bind it to an address so that it lasts",
}
