"""A received command: carried out in turn, with patience, answered, and acknowledged when it is settled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from tasks import delivery as delivery_module
from tasks.commands import CloseStream, Command, OpenStream, parse_open
from tasks.delivery import Delivery
from tasks.envelope import ReplyAddress
from tasks.lanes import Lanes
from tasks.service import service, set_service

CANARY = "CANARY-51b0-secret"


class Desk:
    """What a broker has around its deliveries."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.stopping = threading.Event()
        self.replies: list[tuple[ReplyAddress, bytes]] = []
        self.acknowledged: list[Command] = []

    def deliver(self, command: Command, reply: ReplyAddress | None = None) -> Delivery:
        return Delivery(
            command, self.lanes, self.stopping, reply=reply, respond=lambda *answer: self.replies.append(answer)
        )

    def returned(self, delivery: Delivery) -> None:
        """What a consumer does when the actor has returned."""
        delivery.end()
        delivery.when_settled(lambda: self.acknowledged.append(delivery.command))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(delivery_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(delivery_module, "LONGEST_PAUSE_S", 0.002)
    yield
    set_service(None)


def test_a_command_that_is_tried_again_has_the_same_name(desk: Desk) -> None:
    """The registry may have carried it out although its answer did not come."""
    delivery = Delivery(CloseStream("u"), desk.lanes, desk.stopping, nonce="n1")
    named: list[str] = []

    def apply(_command: Command, nonce: str) -> object:
        named.append(nonce)
        if len(named) < 3:
            raise StateUnavailable("too late")
        return None

    delivery.carry_out(apply)
    assert named == ["n1"] * 3


def test_a_command_is_applied_answered_and_acknowledged(desk: Desk) -> None:
    delivery = desk.deliver(CloseStream("u"), ReplyAddress("q", "c"))
    applied: list[Command] = []

    def apply(command: Command, _nonce: str) -> object:
        applied.append(command)
        return {"accepted": True}

    delivery.carry_out(apply)
    desk.returned(delivery)
    assert applied == [CloseStream("u")]
    assert desk.replies == [(ReplyAddress("q", "c"), b'{"response":{"accepted":true}}')]
    assert desk.acknowledged == [CloseStream("u")]


def test_a_parked_command_is_acknowledged_only_when_it_took_effect(desk: Desk) -> None:
    first, second = desk.deliver(CloseStream("u")), desk.deliver(CloseStream("u"), ReplyAddress("q"))
    second.carry_out(lambda *_: None)
    desk.returned(second)
    assert desk.acknowledged == []
    assert desk.replies == []
    first.carry_out(lambda *_: None)
    assert desk.acknowledged == [CloseStream("u")]
    assert desk.replies == [(ReplyAddress("q"), b'{"response":null}')]


def test_a_failing_command_is_answered_and_acknowledged_all_the_same(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(command: Command, _nonce: str) -> object:
        raise LookupError("no such thing")

    delivery = desk.deliver(CloseStream("u"), ReplyAddress("q"))
    with caplog.at_level(logging.DEBUG):
        delivery.carry_out(fail)
    desk.returned(delivery)
    assert desk.replies == [(ReplyAddress("q"), b'{"response":null}')]
    assert desk.acknowledged == [CloseStream("u")]
    assert "command failed" in caplog.text


def test_a_result_that_is_no_json_is_answered_with_null(desk: Desk) -> None:
    delivery = desk.deliver(CloseStream("u"), ReplyAddress("q"))
    delivery.carry_out(lambda *_: object())
    assert desk.replies == [(ReplyAddress("q"), b'{"response":null}')]


def test_an_interrupt_ends_the_command_but_not_its_lane(desk: Desk) -> None:
    def interrupt(command: Command, _nonce: str) -> object:
        raise SystemExit

    first, second = desk.deliver(CloseStream("u")), desk.deliver(CloseStream("u"))
    second.carry_out(lambda *_: None)
    with pytest.raises(SystemExit):
        first.carry_out(interrupt)
    desk.returned(first)
    desk.returned(second)
    assert len(desk.acknowledged) == 2


def test_a_command_waits_for_redis(desk: Desk) -> None:
    answers = iter([StateUnavailable("away"), StateUnavailable("away"), None])

    def apply(command: Command, _nonce: str) -> object:
        answer = next(answers)
        if answer is not None:
            raise answer
        return 1

    delivery = desk.deliver(CloseStream("u"), ReplyAddress("q"))
    delivery.carry_out(apply)
    desk.returned(delivery)
    assert desk.replies == [(ReplyAddress("q"), b'{"response":1}')]
    assert len(desk.acknowledged) == 1


def test_a_command_that_waits_when_the_process_stops_goes_to_another_one_with_all_behind_it(desk: Desk) -> None:
    def away(command: Command, _nonce: str) -> object:
        raise StateUnavailable("away")

    first, second, third = (desk.deliver(CloseStream("u"), ReplyAddress("q")) for _ in range(3))
    second.carry_out(away)
    desk.stopping.set()
    first.carry_out(away)
    third.carry_out(lambda *_: None)
    for delivery in (first, second, third):
        desk.returned(delivery)
        assert delivery.given_up
    assert desk.acknowledged == []
    assert desk.replies == []
    assert len(desk.lanes) == 0


def test_a_message_that_never_reached_its_actor_is_answered_and_lets_others_pass(desk: Desk) -> None:
    first, second = desk.deliver(CloseStream("u"), ReplyAddress("q")), desk.deliver(CloseStream("u"))
    second.carry_out(lambda *_: None)
    desk.returned(second)
    desk.returned(first)
    assert desk.replies == [(ReplyAddress("q"), b'{"response":null}')]
    assert len(desk.acknowledged) == 2


def test_giving_up_leaves_a_command_and_its_successors_unacknowledged(desk: Desk) -> None:
    first, second = desk.deliver(CloseStream("u")), desk.deliver(CloseStream("u"))
    second.carry_out(lambda *_: None)
    desk.returned(second)
    first.give_up()
    assert first.given_up
    assert second.given_up
    assert desk.acknowledged == []


def test_its_text_shows_no_secret(desk: Desk) -> None:
    command = parse_open(
        {"uuid": "u", "data": {"userId": "n", "api": {"provider": "okx", "key": CANARY, "secret": CANARY}}}
    )
    delivery = desk.deliver(command)
    assert isinstance(delivery.command, OpenStream)
    assert CANARY not in f"{delivery!r} {delivery} {delivery.command!r}"


class Recorder:
    def __init__(self) -> None:
        self.commands: list[Command] = []

    def apply(self, command: Command, nonce: str = "", copy: Copy | None = None) -> object:
        self.commands.append(command)
        return None

    def reconcile(self, stream_id: str) -> None:
        raise AssertionError


def test_commands_that_come_before_the_service_is_up_wait_for_it(desk: Desk) -> None:
    delivery = desk.deliver(CloseStream("u"))
    recorder = Recorder()
    timer = threading.Timer(0.02, set_service, args=(recorder,))
    timer.start()
    delivery.carry_out(lambda command, nonce: service().apply(command, nonce))
    timer.join(5)
    assert recorder.commands == [CloseStream("u")]


def test_without_a_service_the_state_counts_as_unavailable() -> None:
    with pytest.raises(StateUnavailable):
        service(timeout_s=0.001)
