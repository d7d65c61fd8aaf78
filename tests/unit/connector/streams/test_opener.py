"""A venue's other addresses are tried when none before them can be opened, each once."""

from __future__ import annotations

from typing import cast

import pytest
import websocket

from connector.core.clock import SystemClock
from connector.core.proxies import Ways
from connector.streams.dial import Dial
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.transport import DialFailure, Transport
from connector.streams.websocket_client import SocketOpener, tls_context
from exchanges._adapter import Connect
from exchanges._venue import Limits, Rate

FIRST, SECOND, THIRD = "wss://one/private", "wss://two/private", "wss://three/private"


class Opener(SocketOpener):
    """Knows what each address answers instead of asking it."""

    def __init__(self, answers: dict[str, Exception]) -> None:
        super().__init__(Endpoints(), tls_context(), 1, Egresses(Ways(), SystemClock()))
        self.answers = answers
        self.tried: list[str] = []

    def connect(self, dial: Dial, address: str) -> Transport:
        self.tried.append(address)
        if address in self.answers:
            raise self.answers[address]
        return cast("Transport", object())


def opened(answers: dict[str, Exception], *others: str) -> tuple[Transport | DialFailure, list[str]]:
    opener = Opener(answers)
    limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0))
    dial = Dial(Connect(FIRST, others=others), limits, "bybit", "", lambda: True, lambda _: None)
    try:
        return opener._open(dial), opener.tried
    finally:
        opener.stop()


def refused(status: int) -> Exception:
    return websocket.WebSocketBadStatusException("no", status, "", {}, b"")


def test_the_first_address_that_opens_is_used() -> None:
    assert opened({}, SECOND)[1] == [FIRST]
    result, tried = opened({FIRST: OSError("no such host")}, SECOND, THIRD)
    assert not isinstance(result, DialFailure)
    assert tried == [FIRST, SECOND]


@pytest.mark.parametrize("error", [OSError("no such host"), refused(403), refused(502)])
def test_the_last_failure_is_told_when_no_address_opens(error: Exception) -> None:
    result, tried = opened({FIRST: error, SECOND: OSError("the second")}, SECOND)
    assert isinstance(result, DialFailure)
    assert "the second" in result.reason
    assert tried == [FIRST, SECOND]


@pytest.mark.parametrize("status", [418, 429])
def test_a_refusal_of_our_own_address_is_not_carried_to_the_venues_other_ones(status: int) -> None:
    result, tried = opened({FIRST: refused(status)}, SECOND)
    assert isinstance(result, DialFailure)
    assert result.status == status
    assert tried == [FIRST]
