"""Old defects of single venues: see `harness.worlds.mutants`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from exchanges._adapter import Fail
from exchanges.hyperliquid._user import FILLS, ORDERS, UserAdapter
from exchanges.kraken._line import RestLine


def first_nonce_by_our_clock() -> AbstractContextManager[object]:
    """W3: nonces are signed before anything is known of the venue's time."""
    return patch.object(RestLine, "_listed", lambda *_: True)


def orders_under_codes() -> AbstractContextManager[object]:
    """W4: who has waited for the symbol list for long enough goes on without names."""
    genuine = UserAdapter._subscribe_when_named

    def subscribe(self: UserAdapter, session: Any, now: Any) -> Any:
        outputs = genuine(self, session, now)
        if not any(isinstance(output, Fail) for output in outputs):
            return outputs
        self._unconfirmed = dict.fromkeys((ORDERS, FILLS))
        session.listening(now)
        return self._subscribe(session, now)

    return patch.object(UserAdapter, "_subscribe_when_named", subscribe)
