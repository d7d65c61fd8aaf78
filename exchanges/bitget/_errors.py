"""What Bitget's codes mean, of REST and of its sockets (docs/venues/bitget.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges._adapter import FailKind
from exchanges._meaning import ACCOUNT, ADDRESS, KEY, OFF, PERMISSION, PHRASE, SIGNATURE, WRONG, Meaning, refused

LOGIN_FAILED: Final = "30005"
NOT_LOGGED_IN: Final = "30004"
DENIED: Final = "40014"
"""A permission is missing."""

SOCKET: Final[Mapping[str, Meaning]] = {
    **dict.fromkeys(("30001", "30002", "30003", "30016"), WRONG),  # an argument
    # Our time may be the cause, so the clock is looked at first.
    LOGIN_FAILED: Meaning(FailKind.TRANSIENT, "key, secret and passphrase are all needed", clock=True),
    "30006": Meaning(FailKind.RATE_LIMITED, wait_s=1.0),
    "30007": Meaning(FailKind.RATE_LIMITED, wait_s=60.0),  # the address may be blocked for a while
    "30011": refused(KEY),
    "30012": refused(PHRASE),
    "30013": OFF,
    "30014": OFF,
    "30015": refused(SIGNATURE),
}
REST: Final[Mapping[str, Meaning]] = {
    "40001": refused(),  # ACCESS_KEY missing
    "40002": refused(),  # ACCESS_SIGN missing
    "40003": refused(),  # signature missing
    "40004": OFF,
    "40005": OFF,
    "40006": refused(KEY),
    "40008": OFF,
    "40009": refused(SIGNATURE),
    "40011": refused(PHRASE),  # missing
    "40012": refused("the key or its passphrase is wrong"),
    DENIED: refused(PERMISSION),
    "40018": refused(ADDRESS),
    "40031": refused(ACCOUNT),  # closed
    "40037": refused(KEY),  # gone
}
ERRORS: Final[Mapping[str, Meaning]] = {**SOCKET, **REST}
