"""What ticker and candle connections of Coinbase share: the deployment's key, and refused products."""

from __future__ import annotations

import re
from typing import Final

from exchanges._adapter import Fail, FailKind, Instant, Note, Output
from exchanges._failures import Failure
from exchanges._venue import Setup
from exchanges.coinbase._connection import HEARTBEATS, Link, Request, requests
from exchanges.coinbase._signer import Signer
from exchanges.credentials import credentials
from exchanges.errors import CredentialUnusable

_WORD: Final = re.compile(r"[\w.-]+")
"""Of a refusal: `T-USD` is part of `DOT-USD`, so names are compared as a whole."""


class MarketLink(Link):
    """A connection to the public channels, signed with the deployment's own key where there is one."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._signer = market_signer(setup)

    def _unauthorised(self, failure: Failure, now: Instant) -> list[Output]:
        """Public channels work without a key as well: go on without it."""
        if self._signer is None:
            return [Fail(kind=FailKind.TRANSIENT, reason=failure.reason)]
        self._signer = None
        return [Note("the Coinbase market data key is refused; going on without it", "error"), *self._again(now)]

    def _declined(self, request: Request, failure: Failure, now: Instant) -> list[Output]:
        """An unknown product spoils its frame: ask for the others again; halve the frame if no product is named."""
        if request.channel == HEARTBEATS or not request.ids:
            return [Fail(kind=FailKind.TRANSIENT, reason=failure.reason)]
        words = {word.strip(".-") for word in _WORD.findall(failure.reason)}
        named = [product for product in request.ids if product in words]
        if named or len(request.ids) == 1:
            gone = named or list(request.ids)
            left = [product for product in request.ids if product not in gone]
            if left:
                self._queue.extendleft(reversed(requests("subscribe", request.channel, left)))
            return self._unknown(gone, failure.reason, now)
        middle = len(request.ids) // 2
        for part in (request.ids[middle:], request.ids[:middle]):
            self._queue.appendleft(Request("subscribe", request.channel, part))
        return []

    def _unknown(self, products: list[str], reason: str, now: Instant) -> list[Output]:
        """The venue does not know these products."""
        return []


def market_signer(setup: Setup) -> Signer | None:
    """The deployment's key for market data, if it is set and can sign."""
    key, secret = setup.options.get("COINBASE_API_KEY"), setup.options.get("COINBASE_API_SECRET")
    if not key or not secret:
        return None
    try:
        return Signer(credentials(key, secret, keys_type="cloud"), setup.new_id)
    except CredentialUnusable:
        return None  # public channels need no key
