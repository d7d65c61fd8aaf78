"""Signatures that stay young: a call that waits for a budget is signed again before it is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TypeVar

import msgspec

from exchanges._adapter import Call, Instant

Owner = TypeVar("Owner")


def renewable(sign: Callable[[Owner, Call, Instant], Call]) -> Callable[[Owner, Call, Instant], Call]:
    """For a method that signs a call as of a moment, which says of the signed call how to do that again."""

    @wraps(sign)
    def signed(owner: Owner, call: Call, now: Instant) -> Call:
        return msgspec.structs.replace(sign(owner, call, now), again=partial(sign, owner, call))

    return signed
