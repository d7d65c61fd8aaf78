"""Two engines over one state and a scripted exchange: what is published, by whom, and how often, when one of them goes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

import exchanges
from connector.core.messages import AccountMessage, InfoMessage, Message, ServiceMessage, StreamClosed
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.accounts import Accounts
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.lifecycle import StreamState
from connector.streams.options import EngineOptions
from exchanges.credentials import credentials
from tests.integration.streams.exchange import EXCHANGE, Exchange, ScriptedVenue, delta, order
from tests.integration.streams.rig import WAIT_S, fds, until

pytestmark = pytest.mark.integration

TTL_S = 1.2


class Journal:
    """What all engines submitted, in one order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: list[tuple[str, Message]] = []

    def of(self, stream: str, engine: str | None = None) -> list[str]:
        """Names of the account events."""
        with self.lock:
            return [
                message.event_id.removeprefix(f"{EXCHANGE}:").removeprefix("BTCUSDT:")
                for name, message in self.entries
                if isinstance(message, AccountMessage) and message.stream_id == stream and engine in (None, name)
            ]

    def infos(self, stream: str) -> int:
        with self.lock:
            return sum(isinstance(m, InfoMessage) and m.stream_id == stream for _, m in self.entries)

    def closed(self) -> list[str]:
        with self.lock:
            return [message.stream_id for _, message in self.entries if isinstance(message, StreamClosed)]

    def services(self, kind: str) -> int:
        with self.lock:
            return sum(isinstance(m, ServiceMessage) and m.kind == kind for _, m in self.entries)


class JournalSink(MemorySink):
    def __init__(self, name: str, journal: Journal) -> None:
        super().__init__(name=name)
        self._journal = journal

    def submit(self, messages: Sequence[Message]) -> bool:
        with self._journal.lock:
            self._journal.entries.extend((self.name, message) for message in messages)
        return super().submit(messages)


class Town:
    """Engines, the state that they share, the exchange, and a crowd of events."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.state = MemoryState()
        self.journal = Journal()
        self.engines: dict[str, Engine] = {}
        self.sinks: dict[str, JournalSink] = {}
        self._crowd: list[threading.Thread] = []
        self._enough = threading.Event()

    def engine(self, name: str) -> Engine:
        sink = self.sinks[name] = JournalSink(name, self.journal)
        # Nobody announces here, and no account had a stream before.
        options = EngineOptions(
            role="user", lease_ttl_s=TTL_S, connect_threads=4, drain_timeout_s=10.0, announced=False
        )
        engine = self.engines[name] = Engine(options, self.state, sink, Edges())
        sink.on_confirmed = engine.pipeline.confirmed
        sink.start()
        engine.start()
        until(lambda: len(engine.leases.workers) == len(self.engines), "everybody knows everybody")
        for other in self.engines.values():
            until(lambda other=other: len(other.leases.workers) == len(self.engines))  # type: ignore[misc]
        return engine

    def accounts(self, name: str) -> Accounts:
        units = self.engines[name].units
        assert isinstance(units, Accounts)
        return units

    def open(self, *streams: str, key: str = "1") -> None:
        for stream in streams:
            applied = self.state.open(
                stream, EXCHANGE, "owner", credentials(f"key-{key}-12345678", "secret-12345678"), 1
            )
            assert applied.wanted is not None
            self.state.notify("*", '{"t":"reconcile","id":"%s"}' % stream)  # noqa: UP031

    def close(self, stream: str) -> None:
        self.state.close(stream)
        self.state.notify("*", '{"t":"reconcile","id":"%s"}' % stream)  # noqa: UP031

    def live(self, name: str) -> set[str]:
        states = self.engines[name].supervisor.states()
        return {stream for stream, state in states.items() if state is StreamState.LIVE}

    def wait_live(self, name: str, *streams: str) -> None:
        until(lambda: set(streams) <= self.live(name), f"{streams} live on {name}")

    def crowd(self, *streams: str) -> None:
        """Start publishing: orders that fill in three steps, and balance deltas, some fifty a second and account."""

        def publish() -> None:
            number = 0
            while not self._enough.wait(0.02):
                for stream in streams:
                    name = f"o{number}"
                    for event in (
                        order(name, "NEW", 0),
                        order(name, "PARTIALLY_FILLED", 4),
                        delta(number),
                        order(name, "FILLED", 9),
                    ):
                        self.exchange.publish(stream, event)
                number += 1

        thread = threading.Thread(target=publish, name="ws-crowd", daemon=True)
        self._crowd.append(thread)
        thread.start()

    def quiet(self) -> None:
        """Stop publishing, and let everything arrive."""
        self._enough.set()
        for thread in self._crowd:
            thread.join(WAIT_S)

    def kill(self, name: str) -> None:
        """A power cut: threads end, sockets close, nothing is told or released."""
        engine = self.engines.pop(name)
        if engine._stop_listening is not None:
            engine._stop_listening()
        engine.jobs.stop()
        engine.units.stop(WAIT_S)
        engine.supervisor.loop._inbox.put(None)
        for io in engine.io:
            assert io.stop(WAIT_S)
        engine.dialler.stop(WAIT_S)
        engine.rest.stop()
        self.sinks[name].stop(WAIT_S)

    def leave(self, name: str) -> bool:
        """An orderly stop."""
        engine = self.engines.pop(name)
        clean = engine.stop()
        self.sinks[name].stop(WAIT_S)
        return clean

    def stop(self) -> None:
        self.quiet()
        for name in list(self.engines):
            assert self.leave(name)
        self.exchange.stop()
        self.state.close_connections()


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    town = Town()
    venue = ScriptedVenue(town.exchange.server.url)
    monkeypatch.setattr(exchanges, "_by_exchange", lambda: {EXCHANGE: venue})
    yield town
    town.stop()


def repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def test_an_orderly_stop_loses_nothing_doubles_nothing_and_keeps_the_order(town: Town) -> None:
    streams = ("u1", "u2", "u3", "u4")
    town.engine("a")
    town.open(*streams)
    town.wait_live("a", *streams)
    infos = {stream: town.journal.infos(stream) for stream in streams}
    town.crowd(*streams)
    until(lambda: len(town.journal.of("u4")) > 40)
    town.engine("b")
    assert town.leave("a")
    town.wait_live("b", *streams)
    until(lambda: all(len(town.journal.of(stream, "b")) > 40 for stream in streams))
    town.quiet()
    for stream in streams:
        until(lambda stream=stream: len(town.journal.of(stream)) >= len(town.exchange.told[stream]))  # type: ignore[misc]
        assert town.journal.of(stream) == town.exchange.told[stream]
        assert town.journal.infos(stream) == infos[stream], "nothing was missed, so no bot has to look"
    assert town.journal.closed() == []
    assert town.journal.services("streamGap") == 0


def test_streams_go_back_and_forth_under_fire(town: Town) -> None:
    streams = ("u1", "u2", "u3")
    town.engine("a")
    town.open(*streams)
    town.wait_live("a", *streams)
    town.crowd(*streams)
    town.engine("b")
    for giver, taker in (("a", "b"), ("b", "a"), ("a", "b")):
        accounts = town.accounts(giver)
        for stream in streams:
            accounts.loop.post(lambda stream=stream, accounts=accounts: accounts.handover.give(stream))  # type: ignore[misc]
        town.wait_live(taker, *streams)
        until(
            lambda giver=giver, taker=taker: (
                not town.accounts(giver).handover.busy and not town.accounts(taker).handover.busy
            )
        )  # type: ignore[misc]
    town.quiet()
    for stream in streams:
        until(lambda stream=stream: len(town.journal.of(stream)) >= len(town.exchange.told[stream]))  # type: ignore[misc]
        assert town.journal.of(stream) == town.exchange.told[stream]


def test_a_process_that_dies_is_replaced_and_no_order_is_lost(town: Town) -> None:
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.engine("b")
    owner, other = ("a", "b") if "u1" in town.live("a") else ("b", "a")
    town.crowd("u1")
    until(lambda: len(town.journal.of("u1")) > 40)
    town.kill(owner)
    town.wait_live(other, "u1")
    before = len(town.journal.of("u1", other))
    until(lambda: len(town.journal.of("u1", other)) > before + 20)
    town.quiet()
    until(lambda: {name for name in town.exchange.told["u1"] if "FILLED:9" in name} <= set(town.journal.of("u1")))
    names = town.journal.of("u1")
    assert [name for name in repeated(names) if name.startswith("delta")] == [], "a delta is never published twice"
    assert town.journal.infos("u1") >= 2, "the bots are told to look"
    assert town.journal.services("streamGap") >= 1


def test_a_giver_that_dies_in_the_middle_doubles_no_delta_and_loses_no_order(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.engine("b")
    town.crowd("u1")
    until(lambda: len(town.journal.of("u1")) > 40)
    real = town.state.notify
    monkeypatch.setattr(town.state, "notify", lambda owner, text: None if '"ready"' in text else real(owner, text))
    accounts = town.accounts("a")
    accounts.loop.post(lambda: accounts.handover.give("u1"))
    town.wait_live("b", "u1")
    held = len(town.journal.of("u1", "a"))
    until(lambda: len(town.journal.of("u1", "a")) > held + 10, "the giver goes on until it is told")
    assert town.journal.of("u1", "b") == []
    town.kill("a")
    until(lambda: len(town.journal.of("u1", "b")) > 40)
    town.quiet()
    until(lambda: {name for name in town.exchange.told["u1"] if "FILLED:9" in name} <= set(town.journal.of("u1")))
    assert [name for name in repeated(town.journal.of("u1")) if name.startswith("delta")] == []


def test_a_taker_that_never_gets_ready_has_the_stream_after_the_limit_and_repairs_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.streams.handover.READY_TIMEOUT_S", 2.0)
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.engine("b")
    town.crowd("u1")
    town.exchange.mute.set()
    accounts = town.accounts("a")
    accounts.loop.post(lambda: accounts.handover.give("u1"))
    until(lambda: "u1" in town.engines["b"].supervisor.states())
    before = len(town.journal.of("u1", "a"))
    until(lambda: len(town.journal.of("u1", "a")) > before + 20, "the giver goes on meanwhile")
    until(lambda: not town.engines["a"].supervisor.states(), "the giver lets go at the limit")
    town.exchange.mute.clear()
    town.wait_live("b", "u1")
    until(lambda: len(town.journal.of("u1", "b")) > 20)
    town.quiet()
    until(lambda: {name for name in town.exchange.told["u1"] if "FILLED:9" in name} <= set(town.journal.of("u1")))
    assert repeated(town.journal.of("u1")) == []
    assert town.journal.infos("u1") == 2


def test_a_taker_that_dies_gives_the_stream_back_without_a_gap(town: Town) -> None:
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.engine("b")
    town.crowd("u1")
    town.exchange.mute.set()
    accounts = town.accounts("a")
    accounts.loop.post(lambda: accounts.handover.give("u1"))
    until(lambda: "u1" in town.engines["b"].supervisor.states())
    town.kill("b")
    town.exchange.mute.clear()
    town.wait_live("a", "u1")
    until(lambda: town.state.owners(["u1"]) == {"u1": town.engines["a"].owner})
    town.quiet()
    until(lambda: len(town.journal.of("u1")) >= len(town.exchange.told["u1"]))
    assert town.journal.of("u1") == town.exchange.told["u1"]
    assert town.journal.infos("u1") == 1


def test_rotations_under_fire_lose_nothing_and_tell_nobody(town: Town) -> None:
    engine = town.engine("a")
    town.open("u1", "u2")
    town.wait_live("a", "u1", "u2")
    town.crowd("u1", "u2")
    for turn in range(4):
        logins = len(town.exchange.logins)
        for session in engine.placement.sessions():
            engine.supervisor.rotate(session, f"drill {turn}")
        until(lambda logins=logins: len(town.exchange.logins) == logins + 2)  # type: ignore[misc]
        town.wait_live("a", "u1", "u2")
        until(lambda: town.exchange.server.alive() == 2, "the replaced connections are closed")
    town.quiet()
    for stream in ("u1", "u2"):
        until(lambda stream=stream: len(town.journal.of(stream)) >= len(town.exchange.told[stream]))  # type: ignore[misc]
        assert town.journal.of(stream) == town.exchange.told[stream]
        assert town.journal.infos(stream) == 1


def test_a_lost_connection_is_repaired_and_told_once(town: Town) -> None:
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.exchange.publish("u1", order("o1", "NEW", 0))
    until(lambda: town.journal.of("u1") == ["o1:NEW:0"])
    town.exchange.mute.set()
    town.exchange.drop("u1")
    until(lambda: "u1" not in town.live("a"))
    town.exchange.publish("u1", order("o1", "FILLED", 9))
    town.exchange.publish("u1", delta(1))
    town.exchange.mute.clear()
    until(lambda: town.journal.of("u1") == ["o1:NEW:0", "o1:FILLED:9"])
    until(lambda: town.journal.infos("u1") == 2)
    assert town.journal.services("streamGap") == 1


def test_commands_from_open_to_close(town: Town) -> None:
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.open("u1")
    town.state.restart("u1")
    town.state.notify("*", '{"t":"reconcile","id":"u1"}')
    until(lambda: town.journal.infos("u1") == 2)
    town.open("u1", key="2")
    until(lambda: town.journal.infos("u1") == 3)
    town.close("u1")
    town.close("u1")
    assert town.journal.closed() == []
    town.close("u1")
    until(lambda: town.journal.closed() == ["u1"])
    until(lambda: town.exchange.server.alive() == 0)
    assert len(town.exchange.logins) == 3


def test_a_refused_key_is_tried_once_and_told_once(town: Town) -> None:
    town.exchange.rejects.add("u1")
    town.engine("a")
    for _ in range(20):
        town.open("u1")
    until(lambda: town.journal.services("userStreamAuthReject") == 1)
    for _ in range(20):
        town.close("u1")
    for _ in range(5):
        town.open("u1")
    town.open("u2")
    town.wait_live("a", "u2")
    until(lambda: town.engines["a"].supervisor.states().get("u1") is StreamState.COOLING)
    assert town.exchange.logins.count("u1") == 1
    assert town.journal.services("userStreamAuthReject") == 1


def test_a_state_that_forgets_everything_is_healed_within_a_beat(town: Town) -> None:
    town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    town.state.flush()
    until(lambda: town.state.wanted_ids() == {"u1"})
    until(lambda: town.state.owners(["u1"]) == {"u1": town.engines["a"].owner})
    assert town.live("a") == {"u1"}
    assert town.journal.infos("u1") == 1
    assert len(town.exchange.logins) == 1


def test_fifty_restarts_leave_one_socket(town: Town) -> None:
    """Bug B20: sockets opened past the register were never closed."""
    engine = town.engine("a")
    town.open("u1")
    town.wait_live("a", "u1")
    before = fds()
    for number in range(50):
        engine.supervisor.restart_stream("u1", f"drill {number}")
        until(lambda number=number: len(town.exchange.logins) == number + 2)  # type: ignore[misc]
        town.wait_live("a", "u1")
    until(lambda: town.exchange.server.alive() == 1, f"{town.exchange.server.alive()} sockets are open")
    until(lambda: fds() <= before + 2, f"{fds()} file descriptors, {before} before")
    assert len(engine.placement.sessions()) == 1


def test_a_stop_leaves_no_thread_no_socket_and_no_timer(town: Town) -> None:
    before = {thread.name for thread in threading.enumerate()}
    town.engine("a")
    town.open("u1", "u2")
    town.wait_live("a", "u1", "u2")
    assert town.leave("a")
    until(lambda: town.exchange.server.alive() == 0)

    def left() -> set[str]:
        names = {thread.name for thread in threading.enumerate()} - before
        return {name for name in names if not name.startswith(("ws-", "connect"))}

    until(lambda: left() == set(), f"{left()}")
    assert town.state.owners(["u1", "u2"]) == {}
    assert town.state.workers() == []
    assert set(town.state.positions(["u1", "u2"])) == {"u1", "u2"}
