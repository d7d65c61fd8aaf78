"""What a person can do about a refused key, by the venue's code (docs/venues/kucoin.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._advice import ACCOUNT, ADDRESS, KEY, PERMISSION, PHRASE, SIGNATURE

ADVICE: Final[Mapping[str, str]] = {
    "400001": "key, secret and passphrase are all needed",
    "400003": KEY,
    "400004": PHRASE,
    "400005": SIGNATURE,
    "400006": ADDRESS,
    "400007": PERMISSION,
    "411100": ACCOUNT,
}
