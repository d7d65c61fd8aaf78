"""What a command changes, beyond what the state's own promises say (rows A1, A13, A49, C4, C15, D3, D4, D7)."""

from __future__ import annotations

import logging

import pytest

import workers._service
from connector.core.messages import StreamClosed
from connector.state.memory_state import MemoryState
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.options import EngineOptions
from tasks.commands import CandleRequest, CloseStream, OpenStream, RestartStream
from tests.unit.connector.streams.fakes import Clock, FakeSink, keys
from workers._service import Service


class Desk:
    """A service over an engine that was never started."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.state = MemoryState()
        self.engine = Engine(EngineOptions(role="user"), self.state, self.sink, Edges(clock=Clock()))
        self.service = Service(self.engine)

    def open(self, stream_id: str, exchange: str = "bybit", key: str = "1") -> None:
        self.service.apply(OpenStream(stream_id, exchange, "owner", keys(key)))

    def zrems(self) -> list[str]:
        return [message.stream_id for message in self.sink.messages if isinstance(message, StreamClosed)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("exchange", ["kraken", "hyperliquid", "bybitLinear"])
def test_an_exchange_without_an_adapter_is_refused_in_words(
    desk: Desk, exchange: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a build without the venue's module, nothing may look as if it were served (bug D7)."""
    monkeypatch.setattr(workers._service, "venue_of", lambda _: None)
    with caplog.at_level(logging.WARNING):
        desk.open("s", exchange)
        desk.service.apply(CandleRequest(exchange, "BTC-USD", "60"))
        desk.service.apply(CandleRequest(exchange, "BTC-USD", "60"))
    assert desk.state.wanted_ids() == set()
    assert desk.state.candles() == set()
    assert desk.sink.messages == []
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ["open dropped: this exchange has no stream here", "candle request refused"]


def test_the_account_leaves_last_event_time_with_its_last_subscriber_only(desk: Desk) -> None:
    """Bug D4: at upstream each close did it, and the backend then judged a healthy account dead."""
    desk.open("s")
    desk.open("s")
    desk.service.apply(CloseStream("s"))
    assert desk.zrems() == []
    assert desk.state.wanted(["s"])["s"].count == 1
    desk.service.apply(CloseStream("s"))
    assert desk.zrems() == ["s"]


def test_a_close_of_an_unknown_stream_still_removes_the_account(desk: Desk) -> None:
    desk.service.apply(CloseStream("nobody"))
    assert desk.zrems() == ["nobody"]


def test_the_last_close_removes_the_account_although_its_owner_has_just_died(desk: Desk) -> None:
    """Its lease still stood, so nobody said it, and the backend judged an account dead that nobody listens to."""
    desk.open("s")
    desk.state.claim(["s"], "a process that was killed", 8.0)
    desk.service.apply(CloseStream("s"))
    assert desk.zrems() == ["s"]


def test_a_restart_of_all_keeps_every_streams_own_id_and_count(desk: Desk) -> None:
    """Bugs D3, C15."""
    for stream_id in ("a", "b", "b"):
        desk.open(stream_id)
    desk.service.apply(RestartStream(None))
    entries = desk.state.wanted(["a", "b"])
    assert {name: (entry.count, entry.generation) for name, entry in entries.items()} == {"a": (1, 1), "b": (2, 1)}
    desk.service.apply(RestartStream("a"))
    assert desk.state.wanted(["a", "b"])["b"].generation == 1


def test_a_restart_of_an_unknown_stream_does_nothing(desk: Desk) -> None:
    desk.service.apply(RestartStream("nobody"))
    assert desk.state.wanted_ids() == set()


def test_an_unknown_pair_is_one_clear_warning_and_no_subscription(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Bug A13: 1,746 requests with a venue's wire code were silently without data."""
    request = CandleRequest("binance", "BTC/USDT", "7x")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            desk.service.apply(request)
    assert desk.state.candles() == set()
    told = [record.getMessage() for record in caplog.records]
    told = [message for message in told if "list could not be loaded" not in message]  # asked for on another thread
    assert told == ["candle request refused"]
