"""What the publisher does with confirms, refusals and alarms; the broker is played by the test."""

from __future__ import annotations

from typing import Any

import pika

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, Message, TickerMessage
from connector.sinks import _amqp_publisher
from connector.sinks._amqp_intake import Intake
from connector.sinks._amqp_link import Topology
from connector.sinks._amqp_publisher import Options, Publisher
from tests.clocks import Standing


def event(number: int) -> AccountMessage:
    return AccountMessage(
        stream_id="u",
        exchange="okx",
        event_type="executionReport",
        event_id=str(number),
        event_time_ms=1,
        body=b"{}",
        received_mono=0.0,
    )


class FakeLink:
    def __init__(self) -> None:
        self.usable = True
        self.detail = ""
        self.sent: list[tuple[str, bytes]] = []
        self.tag = 0
        self.dropped = ""

    def publish(
        self, _exchange: str, _key: str, body: bytes, properties: pika.BasicProperties, *, mandatory: bool = False
    ) -> int:
        assert not mandatory, "there is no queue"
        self.sent.append((properties.message_id, body))
        self.tag += 1
        return self.tag

    def keep_queue(self) -> None: ...

    def drop(self, why: str) -> None:
        self.dropped = why


class FakeLoop:
    """Runs nothing by itself: `turn` does what is due, whatever the delay."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_later(self, _delay: float, callback: Any) -> None:
        self.due.append(callback)

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


class Played:
    """A publisher whose link is ready."""

    def __init__(self, window: int = 100) -> None:
        self.clock = Standing()
        self.intake = Intake(
            memory_messages=1_000, ticker_rows=1_000, outbox=None, name="rabbitmq", clock=self.clock, chance=Chance(1)
        )
        self.publisher = Publisher(
            self.intake,
            Topology(exchange="x", queue=None, binding="user.#", queue_arguments={}),
            Options(name="rabbitmq", window=window, ticker_per_symbol=False, confirm_timeout_s=60.0),
            self.clock,
            Chance(1),
        )
        self.confirmed: list[str] = []
        self.publisher.on_confirmed = lambda messages: self.confirmed.extend(m.event_id for m in messages)
        self.connect()

    def connect(self) -> None:
        self.link = FakeLink()
        self.loop = FakeLoop()
        self.publisher._link = self.link  # type: ignore[assignment]
        self.publisher._loop = self.loop
        self.publisher.ready()

    def submit(self, *messages: Message) -> None:
        assert not self.intake.submit(messages)
        self.publisher._pump()

    @property
    def sent(self) -> list[str]:
        return [message_id for message_id, _ in self.link.sent]


def test_confirms_of_several_at_once_reach_the_callback_in_order() -> None:
    played = Played()
    played.submit(*(event(number) for number in range(5)))
    played.publisher.confirmed(3, True, True)
    assert played.confirmed == ["0", "1", "2"]
    played.publisher.confirmed(5, False, True)
    assert played.confirmed == ["0", "1", "2", "4"]
    assert played.intake.queued() == 1


def test_the_window_bounds_what_is_in_flight() -> None:
    played = Played(window=2)
    played.submit(*(event(number) for number in range(5)))
    assert played.sent == ["0", "1"]
    played.publisher.confirmed(1, False, True)
    played.loop.turn()
    assert played.sent == ["0", "1", "2"]


def test_a_lost_connection_sends_the_unconfirmed_first_and_in_order() -> None:
    played = Played()
    played.submit(event(0), event(1), event(2))
    played.publisher.confirmed(2, False, True)
    played.publisher.lost("cut")
    assert not played.intake.submit([event(3)])
    played.connect()
    assert played.sent == ["0", "2", "3"]


def test_refused_messages_wait_for_what_is_in_flight_and_go_out_one_by_one() -> None:
    played = Played()
    played.submit(*(event(number) for number in range(4)))
    played.publisher.confirmed(1, False, True)
    played.publisher.confirmed(3, False, False)
    played.submit(event(4))
    assert played.sent == ["0", "1", "2", "3"]
    played.publisher.confirmed(2, False, False)
    played.publisher.confirmed(4, False, True)
    played.loop.turn()
    assert played.sent[4:] == ["1"]
    played.publisher.confirmed(5, False, True)
    played.loop.turn()
    assert played.sent[4:] == ["1", "2"]
    played.publisher.confirmed(6, False, True)
    played.loop.turn()
    assert played.sent[4:] == ["1", "2", "4"]


def test_a_connection_lost_while_refused_messages_wait_keeps_their_order() -> None:
    played = Played()
    played.submit(*(event(number) for number in range(4)))
    played.publisher.confirmed(1, False, True)
    played.publisher.confirmed(3, False, False)
    played.publisher.lost("cut")
    played.connect()
    assert played.sent == ["1", "2", "3"]


def test_a_blocked_broker_gets_nothing_until_the_alarm_is_over() -> None:
    played = Played()
    played.link.usable = False
    played.publisher.blocked(True)
    played.submit(event(0))
    assert played.sent == []
    assert not played.intake.usable
    played.link.usable = True
    played.publisher.blocked(False)
    assert played.sent == ["0"]


def test_a_broker_that_stops_confirming_is_left() -> None:
    played = Played()
    played.submit(event(0))
    played.clock.now += 59
    played.publisher._tick()
    assert played.link.dropped == ""
    played.clock.now += 2
    played.publisher._tick()
    assert played.link.dropped == "no confirms"


def test_a_message_over_the_broker_s_limit_is_given_up_and_the_next_goes_out() -> None:
    played = Played()
    huge = AccountMessage(
        stream_id="u",
        exchange="okx",
        event_type="x",
        event_id="huge",
        event_time_ms=1,
        body=bytes(_amqp_publisher.MAX_BODY + 1),
        received_mono=0.0,
    )
    played.submit(huge, event(1))
    assert played.sent == ["1"]
    assert played.intake.lane.lost == 1


def test_account_messages_are_not_held_up_by_tickers() -> None:
    played = Played()
    rows = _amqp_publisher.TICKERS_PER_MESSAGE * 100
    names = [f"S{number}" for number in range(rows)]
    played.intake.tickers = type(played.intake.tickers)(rows * 2)
    played.submit(TickerMessage(exchange="okx", symbols=names, bodies=[b"1"] * rows, received_mono=0.0))
    assert len(played.sent) == _amqp_publisher.TICKER_MESSAGES_PER_TURN
    played.submit(event(0))
    assert played.sent[_amqp_publisher.TICKER_MESSAGES_PER_TURN] == "0"


def test_unconfirmed_tickers_go_out_again_after_a_loss_but_only_the_newest() -> None:
    played = Played()
    played.intake.flushing = 1
    for value in (b"1", b"2"):
        played.submit(TickerMessage(exchange="okx", symbols=["A"], bodies=[value], received_mono=0.0))
    assert [body for _, body in played.link.sent] == [b"[1]", b"[2]"]
    played.publisher.lost("cut")
    played.connect()
    assert [body for _, body in played.link.sent] == [b"[2]"]
