"""What follows a `Fail` is the session's business, so that no venue has to guard against it."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from connector.streams.io import IoThread
from connector.streams.session import Session
from connector.streams.transport import Transport
from exchanges import venues
from exchanges._adapter import Adapter, Answer, Call, Fail, FailKind, UserSubscription
from exchanges._venue import Limits, Rate
from exchanges.credentials import credentials
from tests.unit.connector.streams.fakes import Clock
from tests.unit.connector.streams.test_stalls_of_a_thread import Deaf, Epoll, Wire
from tests.unit.exchanges.driver import setup
from tests.unit.exchanges.every_venue import TABLE

LOST = Fail(kind=FailKind.TRANSIENT, reason="gone")
REFUSED = Fail(kind=FailKind.CREDENTIAL, reason="no such key", stream_id="u1")
CALL = Call(tag="more", method="GET", url="https://venue/more")


class Venue(Deaf):
    """An adapter that says what it is told to, and counts its inputs; dialler, REST and listener of the session as well."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[str] = []
        self.says: list[object] = []
        self.calls: list[Call] = []
        self.refusals: list[str] = []
        self.due: float | None = None

    def _input(self, name: str) -> list[object]:
        self.inputs.append(name)
        said, self.says = self.says, []
        return said

    def add(self, *_: object) -> list[object]:
        return self._input("add")

    def received(self, *_: object) -> list[object]:
        return self._input("received")

    def woken(self, *_: object) -> list[object]:
        return self._input("woken")

    def answered(self, to: object, *_: object) -> list[object]:
        """Of the adapter; the listener's has a session."""
        return self._input("answered") if isinstance(to, Call) else []

    def remove(self, *_: object) -> list[object]:
        return self._input("remove")

    def closing(self, *_: object) -> list[object]:
        return self._input("closing")

    def deadline(self) -> float | None:
        return self.due

    def refused(self, _session: object, stream_id: str, _fail: object) -> None:
        self.refusals.append(stream_id)

    def submit(self, call: Call, *_: object) -> None:
        self.calls.append(call)


def subscription(stream_id: str = "u1") -> UserSubscription:
    return UserSubscription(stream_id=stream_id, exchange="bybit", credentials=credentials("k", "c2VjcmV0"))


class Line(Wire):
    def send(self, text: str) -> None:
        pass


class Connection:
    """A session on a thread that the test turns."""

    def __init__(self, adapter: Adapter | None = None, *, carries: int = 1) -> None:
        self.clock, self.venue = Clock(), Venue()
        limits = Limits(
            connects=Rate(1, 1.0), messages=Rate(99, 1.0), rest={}, subscriptions_per_connection=carries,
            ping_interval_s=None, silence_s=3_600.0, data_silence_s=None, join_timeout_s=3_600.0,
        )  # fmt: skip
        parts = cast(Any, self.venue)
        self.io = IoThread("io", self.clock, parts, parts, cast(Any, Epoll()), threaded=False)
        self.session = Session(
            "s", "bybit", "bybit", "user", adapter or cast(Any, self.venue), limits, self.io, parts, parts
        )
        self.session.start([subscription()])
        self.session.dialled(cast(Transport, Line()))
        self.venue.inputs.clear()

    def hears(self, *said: object) -> None:
        """The adapter is given a frame, and says this."""
        self.venue.says = list(said)
        self.session._received(b"frame", self.io.now())

    def everything_happens(self) -> list[str]:
        """Every kind of input that may come; what of it reached the adapter."""
        self.venue.inputs.clear()
        self.venue.due = self.clock.seconds
        self.session._received(b"frame", self.io.now())
        self.session.answered(CALL, Answer(200, {}, b"{}"))
        self.session.timer()
        return self.venue.inputs


def test_after_the_failure_of_a_connection_the_adapter_is_not_called_again() -> None:
    on = Connection()
    on.hears(LOST, CALL, REFUSED)
    assert on.venue.lost_with == [LOST]
    assert on.session.closed
    assert (on.venue.calls, on.venue.refusals) == ([], [])
    on.session.answered(CALL, Answer(200, {}, b"{}"))
    on.session.remove("u1")
    assert on.venue.inputs == ["received"]


def test_after_the_refusal_of_its_account_a_connection_tells_the_adapter_only_that_it_leaves() -> None:
    on = Connection()
    on.hears(REFUSED, CALL, REFUSED)
    assert (on.venue.calls, on.venue.refusals) == ([], ["u1"])
    assert not on.session.closed
    assert on.everything_happens() == []
    assert on.session.next_wake() > on.clock.seconds, "what the adapter waits for keeps the thread awake"
    on.session.remove("u1")
    on.session.close(last_holder=True)
    assert on.venue.inputs == ["remove", "closing"]


@pytest.mark.parametrize("refusal", [REFUSED, msgspec.structs.replace(REFUSED, stream_id="another")])
def test_the_refusal_of_one_of_several_ends_nothing(refusal: Fail) -> None:
    on = Connection(carries=3) if refusal is REFUSED else Connection()
    on.hears(refusal, CALL)
    assert (on.venue.calls, on.venue.refusals) == ([CALL], [refusal.stream_id])
    assert on.everything_happens() == ["received", "answered", "woken"]


def test_a_burst_of_refused_channels_is_one_failure() -> None:
    """Bug A11: each of them would be a strike of the key."""
    on = Connection(venues()["kraken"].user(setup("kraken", TABLE)))
    token = Answer(200, {}, b'{"error":[],"result":{"token":"t","expires":900}}')
    on.session.answered(on.venue.calls.pop(), token)
    for number in (1, 2):
        nak = f'{{"method":"subscribe","success":false,"error":"EGeneral:Permission denied","req_id":{number}}}'
        on.session._received(nak.encode(), on.io.now())
    assert on.venue.refusals == ["u1"]
