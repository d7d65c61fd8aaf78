"""What a person can do about a refused key, by the venue's code (docs/venues/bitget.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._advice import ACCOUNT, ADDRESS, KEY, PERMISSION, PHRASE, SIGNATURE

ADVICE: Final[Mapping[str, str]] = {
    "30005": "key, secret and passphrase are all needed",
    "30011": KEY,
    "30012": PHRASE,
    "30015": SIGNATURE,
    "40006": KEY,
    "40009": SIGNATURE,
    "40011": PHRASE,
    "40012": "the key or its passphrase is wrong",
    "40014": PERMISSION,
    "40018": ADDRESS,
    "40031": ACCOUNT,
    "40037": KEY,
}
