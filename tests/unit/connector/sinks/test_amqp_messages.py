"""Routing keys, properties and the form on disk."""

from __future__ import annotations

import ssl

import pytest

from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, ServiceMessage, TickerMessage
from connector.core.places import Host, RabbitPlace
from connector.servers.rabbit import parameters
from connector.sinks._amqp_messages import (
    SHORT_BYTES,
    Durable,
    Outgoing,
    in_memory,
    joined,
    publishing,
    restored,
    short,
    stored,
)

MESSAGES: list[Durable] = [
    AccountMessage(
        stream_id="u.1",
        exchange="okxLinear",
        event_type="executionReport",
        event_id="id",
        event_time_ms=1_790_000_001_999,
        body=b'{"a":1}',
        received_mono=3.0,
    ),
    InfoMessage(stream_id="u", exchange="okx"),
    CandleMessage(
        exchange="okx",
        symbol="BTC-USDT",
        interval="candle1m",
        event_id="id",
        start_ms=60_000,
        body=b"{}",
        closed=True,
        received_mono=3.0,
    ),
    ServiceMessage(kind="streamGap", body=b"{}", redis=False),
]


@pytest.mark.parametrize(
    ("message", "key", "kind"),
    [
        (MESSAGES[0], "user.okxLinear.executionReport.u.1", "executionReport"),
        (MESSAGES[1], "user.okx.info.u", "info"),
        (MESSAGES[2], "candle.okx.candle1m.BTC-USDT", "candle"),
        (MESSAGES[3], "service.streamGap", "streamGap"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_key_says_where_it_belongs(message: Durable, key: str, kind: str) -> None:
    routing_key, _, properties = publishing(Outgoing(message, "id", 2.0), 1_790_000_000)
    assert (routing_key, properties.type, properties.message_id) == (key, kind, "id")
    assert properties.headers is not None
    assert properties.headers["schema"] == 1


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_the_form_on_disk_publishes_the_same(message: Durable) -> None:
    outgoing = Outgoing(message, "id", 2.0)
    again = restored(stored(outgoing), in_memory(outgoing), 9.0)
    first, second = publishing(outgoing, 1_790_000_000), publishing(again, 1_790_000_000)
    assert first[:2] == second[:2]
    assert first[2].message_id == second[2].message_id
    if isinstance(message, AccountMessage):
        assert again.message == message
        assert first[2].timestamp == 1_790_000_001


def test_long_ids_fit_and_stay_different() -> None:
    long = ["x" * 300, "x" * 300 + "y", "é" * 200]
    shortened = [short(text) for text in long]
    assert all(len(text.encode()) <= SHORT_BYTES for text in shortened)
    assert len(set(shortened)) == 3
    assert short("as it is") == "as it is"
    assert short("\ud800") == "?"


def test_tls_checks_the_name_of_the_broker() -> None:
    place = RabbitPlace(hosts=(Host("broker.example", 5671), Host("second.example", 5671)), tls=True)
    first, second = (host.ssl_options for host in parameters(place, name="test"))
    assert (first.server_hostname, second.server_hostname) == ("broker.example", "second.example")
    assert first.context.verify_mode is ssl.CERT_REQUIRED
    assert first.context.check_hostname
    assert [host.ssl_options for host in parameters(RabbitPlace(), name="test")] == [None]


def test_a_message_of_many_rows_fits_into_one_frame_of_amqp_however_long_they_are() -> None:
    names = [f"S{number}" for number in range(1_000)]
    short, long = ([b"x" * size] * len(names) for size in (200, 2_000))
    frames = [
        TickerMessage(exchange=exchange, symbols=names, bodies=bodies, received_mono=0.0)
        for exchange, bodies in (("okx", short), ("bybit", long))
    ]
    messages = joined(frames, 400)
    assert [(m.exchange, len(m.symbols)) for m in messages[:3]] == [("okx", 400), ("okx", 400), ("okx", 200)]
    assert all(len(b",".join(message.bodies)) < 128 * 1024 - 1_024 for message in messages)
    assert [name for message in messages if message.exchange == "bybit" for name in message.symbols] == names
    enormous = TickerMessage(exchange="okx", symbols=["A", "B"], bodies=[b"x" * 200_000] * 2, received_mono=0.0)
    assert [message.symbols for message in joined([enormous], 400)] == [["A"], ["B"]]
