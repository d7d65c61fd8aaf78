"""What the errors of a venue mean: each has one table, by code or by part of a text. Pure.

The adapter reads from it what to do next, and `connector check` what a person can do.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from exchanges._adapter import FailKind


class Meaning(NamedTuple):
    """What an error means."""

    kind: FailKind
    advice: str = ""
    """What a person can do about a key that was refused with it: one sentence."""
    clock: bool = False
    """Our time is off: fetch the venue's and ask again."""
    wait_s: float | None = None
    """Wait so long, where nothing in the answer says how long."""
    own: bool = True
    """It is the account's alone; False: it binds everybody on the address."""


PASSING: Final = Meaning(FailKind.TRANSIENT)
"""What stands in no table is the venue's own trouble."""
OFF: Final = Meaning(FailKind.TRANSIENT, clock=True)
LIMITED: Final = Meaning(FailKind.RATE_LIMITED)
WRONG: Final = Meaning(FailKind.REQUEST)


def refused(advice: str = "") -> Meaning:
    """The key was."""
    return Meaning(FailKind.CREDENTIAL, advice)


KEY: Final = (
    "the venue doesn't know this key: look for a typing error, a deleted or expired key, or a key of its test network"
)
SIGNATURE: Final = "the secret doesn't belong to this key: copy both again, completely"
PHRASE: Final = "the passphrase is not the one that was chosen when the key was made (it is not the login password)"
ADDRESS: Final = "the key's list of allowed addresses lacks this host's: add its outgoing address, or remove the list"
PERMISSION: Final = "the key lacks a permission: allow reading (and trading on this market) in the venue's key settings"
ACCOUNT: Final = "the account itself is blocked or not allowed to do this: ask the venue's support"
