"""What a person can do about a refused key, by the venue's code (docs/venues/okx.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._advice import ACCOUNT, ADDRESS, KEY, PERMISSION, PHRASE, SIGNATURE

ADVICE: Final[Mapping[str, str]] = {
    "60005": KEY,
    "60007": SIGNATURE,
    "60024": PHRASE,
    "60032": f"{KEY}; accounts of other regions need --okx-source",
    "50105": PHRASE,
    "50101": "the key belongs to the other environment (demo or live, ENVOKX)",
    "50110": ADDRESS,
    "50111": KEY,
    "50113": SIGNATURE,
    "50119": f"{KEY}; accounts of other regions need --okx-source",
    "50030": PERMISSION,
    "50120": PERMISSION,
    "50007": ACCOUNT,
    "50035": "this key has to be bound to an address: add this host's",
}
