"""What KuCoin's codes mean (docs/venues/kucoin.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._meaning import ACCOUNT, ADDRESS, KEY, LIMITED, OFF, PERMISSION, PHRASE, SIGNATURE, Meaning, refused

CLOCK: Final = "400002"
"""`KC-API-TIMESTAMP` more than 5 s from the venue's clock."""

ERRORS: Final[Mapping[str, Meaning]] = {
    CLOCK: OFF,
    "400001": refused("key, secret and passphrase are all needed"),  # a KC-API header is missing
    "400003": refused(KEY),
    "400004": refused(PHRASE),
    "400005": refused(SIGNATURE),
    "400006": refused(ADDRESS),
    "400007": refused(PERMISSION),
    "400303": refused(),
    "400401": refused(),
    "126047": refused(),
    "411100": refused(ACCOUNT),  # frozen
    **dict.fromkeys(("429000", "429", "200002", "1015"), LIMITED),
}
