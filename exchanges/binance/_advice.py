"""What a person can do about a refused key, by the venue's code (docs/venues/binance.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._advice import KEY, PERMISSION, SIGNATURE

KEY_TYPE: Final = "this account needs an Ed25519 key: make one and give its PEM as the secret"
ADVICE: Final[Mapping[str, str]] = {
    "-2015": "wrong key, a host address that the key doesn't allow, or a permission that it lacks (reading; futures too)",
    "-2014": KEY,
    "-2008": KEY,
    "-1022": SIGNATURE,
    "-1002": PERMISSION,
    "-4056": KEY_TYPE,
}
