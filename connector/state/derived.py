"""A sealing key without a setting: made from the broker's password. Who has that can read the keys in the commands anyway."""

from __future__ import annotations

import base64
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

LEAST_LENGTH: Final = 16
LEAST_VARIETY: Final = 6
"""Different characters of a password that is more than one key held down."""
DEFAULTS: Final = ("guest", "password", "changeme", "rabbitmq", "secret", "example", "admin", "default")
"""What sample files are full of; repeated or filled up with digits they are no better."""
_LABEL: Final = b"websocket-connector/credentials at rest/1"
"""Instead of a salt: all processes come to the same key without asking each other, or a Redis that is away."""
_COST: Final = 2**15
"""32 MB and about 0.1 s once per process: a copy of Redis is no cheap way to the password."""


def weakness(password: str) -> str | None:
    """Why no key is made from a password, in words; None = it is good enough."""
    if len(password) < LEAST_LENGTH:
        return f"it has less than {LEAST_LENGTH} characters"
    if len(set(password)) < LEAST_VARIETY:
        return "it repeats a few characters"
    rest = "".join(letter for letter in password.lower() if letter.isalpha())
    for word in DEFAULTS:
        rest = rest.replace(word, "")
    return "it is a default" if not rest else None


@cache
def derived_key(password: str) -> str:
    """The Fernet key of a password. Takes about 0.1 s the first time; the same in every process and version."""
    raw = Scrypt(salt=_LABEL, length=32, n=_COST, r=8, p=1).derive(password.encode())
    return base64.urlsafe_b64encode(raw).decode()
