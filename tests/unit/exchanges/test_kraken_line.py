"""The line in which signed calls of a key wait for each other, and the first of them for the symbol list."""

from __future__ import annotations

import msgspec
import pytest

from exchanges._adapter import Call, Instant, Seen
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.kraken._line import LIST_LOOK_S, LIST_WAIT_S, RestLine
from tests.unit.exchanges.driver import setup

LISTED = SymbolTable([Instrument(wire="BTC/USD", pair="BTC-USD", base="BTC", quote="USD", settle="USD", kind="spot")])
START = Instant(100.0, 1_795_300_000_000)


def call(tag: str) -> Call:
    return Call(tag=tag, method="POST", url=f"https://kraken.test/{tag}")


class Line:
    """A line whose list comes when the test says so; what it signs is told with the time of the signature."""

    def __init__(self, table: SymbolTable = LISTED) -> None:
        self.table = table
        self.line = RestLine(msgspec.structs.replace(setup("kraken"), table=lambda: self.table), self.sign)

    def sign(self, meant: Call, now: Instant) -> Call:
        return Call(tag=meant.tag, method="POST", url=meant.url, body=f"nonce={now.mono}")

    def send(self, *outputs: Call | Seen, at: float = 0.0) -> list[object]:
        return list(self.line.send(outputs, moment(at)))

    def due(self, at: float) -> list[object]:
        return list(self.line.due(moment(at)))


def moment(seconds: float) -> Instant:
    return Instant(START.mono + seconds, START.wall_ms + round(seconds * 1000))


def went(outputs: list[object]) -> list[tuple[str, str | None]]:
    return [(one.tag, one.body) for one in outputs if isinstance(one, Call)]


def test_one_call_goes_out_at_a_time_signed_when_it_leaves_and_nothing_else_waits() -> None:
    line = Line()
    first, second = call("a"), call("b")
    seen, out = line.send(first, Seen("u1"), second)
    assert seen == Seen("u1")
    assert went([out]) == [("a", "nonce=100.0")]
    assert line.send(call("c"), at=1) == []
    assert isinstance(out, Call)
    assert line.line.answered(out) is first
    (out,) = line.send(at=2)
    assert went([out]) == [("b", "nonce=102.0")]
    assert isinstance(out, Call)
    assert line.line.answered(out) is second
    assert went(line.send(at=3)) == [("c", "nonce=103.0")]


def test_an_answer_to_a_call_that_the_line_did_not_send_is_not_its_own() -> None:
    line = Line()
    assert line.line.answered(call("a")) is None
    meant = call("a")
    (out,) = line.send(meant)
    assert isinstance(out, Call)
    assert line.line.answered(call("a")) is line.line.answered(meant) is None
    assert line.send(call("b")) == [], "the first one is still out"
    assert line.line.answered(out) is meant
    assert line.line.answered(out) is None, "it was answered"


def test_without_a_call_nothing_is_due() -> None:
    line = Line()
    assert line.line.deadline() is None
    assert line.due(0) == []
    assert line.send() == []
    assert line.line.deadline() is None
    line.send(call("a"))
    assert line.line.deadline() is None


def test_the_first_call_goes_out_when_the_list_is_seen_to_be_there() -> None:
    line = Line(EMPTY)
    assert line.send(call("a")) == []
    assert line.line.deadline() == START.mono + LIST_LOOK_S
    line.table = LISTED
    assert line.due(LIST_LOOK_S / 2) == []
    assert went(line.due(LIST_LOOK_S)) == [("a", f"nonce={START.mono + LIST_LOOK_S}")]
    assert line.line.deadline() is None


@pytest.mark.parametrize(("at", "out"), [(LIST_WAIT_S - 0.5, []), (LIST_WAIT_S, [("a", "nonce=105.0")])])
def test_the_first_call_does_not_wait_for_the_list_for_ever(at: float, out: list[tuple[str, str | None]]) -> None:
    line = Line(EMPTY)
    line.send(call("a"))
    assert line.due(LIST_LOOK_S) == []
    assert line.line.deadline() == START.mono + 2 * LIST_LOOK_S
    assert went(line.due(at)) == out


def test_the_list_is_waited_for_once() -> None:
    line = Line(EMPTY)
    line.send(call("a"))
    (out,) = line.due(LIST_WAIT_S)
    assert isinstance(out, Call)
    line.line.answered(out)
    assert went(line.send(call("b"), at=LIST_WAIT_S)) == [("b", "nonce=105.0")]
