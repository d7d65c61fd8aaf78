"""What a person can do about a refused key, by the venue's words (docs/venues/whitebit.md, section 7). Pure.

Its numbers are used for other errors, too, so the text decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._advice import ACCOUNT, PERMISSION, SIGNATURE

ADVICE: Final[Mapping[str, str]] = {
    "unauthorized request": SIGNATURE,
    "this action is unauthorized": (
        "the key is switched off (one that nobody uses for 14 days switches itself off), or its list of addresses lacks this "
        "host's: look at it in the venue's API settings"
    ),
    "not authorized to perform this action": PERMISSION,
    "you don't have permission": (
        "the key is bound to a list of endpoints that lacks one: allow the socket token, orders, and the trade and "
        "collateral accounts, or remove the list"
    ),
    "user not found": ACCOUNT,
}
