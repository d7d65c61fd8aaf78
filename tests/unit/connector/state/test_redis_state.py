"""`RedisState` over an in-process Redis: the common promises, and what happens to errors and secrets."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import fakeredis
import msgspec
import pytest
import redis
from cryptography.fernet import Fernet
from redis import exceptions

from connector.core.errors import ConnectorError, StateUnavailable
from connector.core.ports import CandleKey, Gate, State
from connector.core.stamps import NOT_NOW
from connector.state._listener import BACKOFF_S
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from exchanges.credentials import credentials
from tests.unit.connector.state.backing import KEY, NOW, Heard, eventually, opened, want, worker
from tests.unit.connector.state.promises import Promises

CANARY = "canary-5f1e"
SECRETS = credentials(f"{CANARY}-key", f"{CANARY}-secret", f"{CANARY}-pass", bybit_host="eu")


class FakeBacking:
    """One in-process server; every state is another process to it."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.keys = Fernet.generate_key().decode()
        self._built: list[RedisState] = []

    def client(self) -> redis.Redis:
        return fakeredis.FakeRedis(server=self.server)

    def state(self, keys: str | None = "the shared ones", **options: Any) -> RedisState:
        vault = Vault.from_setting(self.keys if keys == "the shared ones" else keys)
        state = RedisState(self.client, prefix="t:", vault=vault, **options)
        self._built.append(state)
        return state

    def flush(self) -> None:
        self.client().flushall()

    def evict(self, key: str) -> None:
        assert self.client().delete(f"t:{key}")

    def enable_exchanges(self, text: str | None) -> None:
        client = self.client()
        if text is None:
            client.delete("gainium:admin:enabled_exchanges")
        else:
            client.set("gainium:admin:enabled_exchanges", text)
        client.publish("gainium:admin:config", "changed")

    def dump(self) -> str:
        """Everything that the server stores, as text."""
        client: Any = self.client()
        readers = {b"string": client.get, b"hash": client.hgetall, b"set": client.smembers}
        return repr([(key, readers[client.type(key)](key)) for key in client.keys("*")])

    def end(self) -> None:
        self.server.connected = True
        for state in self._built:
            state.close_connections()


@pytest.fixture
def backing() -> Iterator[FakeBacking]:
    backing = FakeBacking()
    yield backing
    backing.end()


class TestRedisState(Promises):
    """Over fakeredis."""


# --- credentials ---


def test_credentials_are_sealed_at_rest_and_opened_by_another_process(backing: FakeBacking) -> None:
    opening, other = backing.state(), backing.state()

    opening.open("s1", "kraken", "u", SECRETS, NOW)

    assert want(other).credentials == SECRETS
    assert CANARY not in backing.dump()
    assert "bybit_host" in backing.dump()


def test_without_keys_credentials_stay_in_the_process_that_got_them(backing: FakeBacking) -> None:
    opening, other = backing.state(keys=None), backing.state(keys=None)

    opening.open("s1", "kraken", "u", SECRETS, NOW)

    assert want(opening).credentials == SECRETS
    assert want(other).credentials is None
    assert want(other).digest == SECRETS.digest
    assert CANARY not in backing.dump()


def test_without_keys_replaced_credentials_of_another_process_are_not_mixed_up(backing: FakeBacking) -> None:
    first, second = backing.state(keys=None), backing.state(keys=None)
    first.open("s1", "kraken", "u", SECRETS, NOW)

    second.open("s1", "kraken", "u", KEY, NOW)

    assert want(first).credentials is None
    assert want(second).credentials == KEY


def test_without_keys_a_failed_open_does_not_lose_the_old_credentials(backing: FakeBacking) -> None:
    state = backing.state(keys=None)
    state.open("s1", "kraken", "u", SECRETS, NOW)

    backing.server.connected = False
    with pytest.raises(StateUnavailable):
        state.open("s1", "kraken", "u", KEY, NOW)
    backing.server.connected = True

    assert want(state).credentials == SECRETS


def test_without_keys_a_flush_heals_with_credentials(backing: FakeBacking) -> None:
    state = backing.state(keys=None)
    state.open("s1", "kraken", "u", SECRETS, NOW)
    before = want(state)

    backing.flush()
    state.remember(before)

    assert want(state) == before
    state.close("s1")
    assert CANARY not in repr(vars(state._keyring))


def test_a_flush_heals_sealed(backing: FakeBacking) -> None:
    state = backing.state()
    state.open("s1", "kraken", "u", SECRETS, NOW)
    before = want(state)

    backing.flush()
    state.remember(before)

    assert CANARY not in backing.dump()
    assert want(backing.state()).credentials == SECRETS


def test_keys_rotate_by_adding_one_in_front(backing: FakeBacking) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    backing.state(keys=old).open("s1", "kraken", "u", SECRETS, NOW)
    rotated = backing.state(keys=f"{new},{old}")

    assert want(rotated).credentials == SECRETS
    rotated.open("s1", "kraken", "u", SECRETS, NOW)
    assert want(backing.state(keys=new)).credentials == SECRETS, "an open seals with the first key"


def test_a_key_that_was_removed_too_early_is_told_once(backing: FakeBacking, caplog: pytest.LogCaptureFixture) -> None:
    backing.state().open("s1", "kraken", "u", SECRETS, NOW)
    stranger = backing.state(keys=Fernet.generate_key().decode())

    with caplog.at_level(logging.ERROR):
        assert [want(stranger).credentials for _ in range(3)] == [None] * 3

    assert len([record for record in caplog.records if "CREDENTIALS_KEYS" in record.message]) == 1


def test_a_changed_password_is_one_line_and_the_next_opens_are_kept(
    backing: FakeBacking, caplog: pytest.LogCaptureFixture
) -> None:
    before = RedisState(backing.client, prefix="t:", vault=Vault.from_setting("", "the password of last year"))
    names = [f"s{number}" for number in range(20)]
    for name in names:
        before.open(name, "kraken", "u", SECRETS, NOW)
    after = RedisState(backing.client, prefix="t:", vault=Vault.from_setting("", "the password of this year"))
    with caplog.at_level(logging.ERROR):
        assert {entry.credentials for entry in after.wanted(names).values()} == {None}
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "keys at rest can't be read and are asked for again"
    ]
    after.open("s1", "kraken", "u", SECRETS, NOW)
    assert after.wanted(["s1"])["s1"].credentials == SECRETS


def test_nothing_printable_shows_secrets(backing: FakeBacking, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        state = backing.state()
        applied = state.open("s1", "kraken", "u", SECRETS, NOW)

    texts = [repr(applied), repr(state), repr(state._keyring), repr(vars(state)), caplog.text]
    assert not any(CANARY in text for text in texts)


# --- redis forgets some keys only ---


def test_an_evicted_set_of_ids_is_repaired_by_reading(backing: FakeBacking) -> None:
    state = backing.state()
    opened(state)
    backing.client().delete("t:streams")

    want(state)

    assert state.wanted_ids() == {"s1"}


def test_an_evicted_entry_leaves_no_ghost_id(backing: FakeBacking) -> None:
    state = backing.state()
    opened(state)
    backing.client().delete("t:stream:s1")

    assert state.wanted(["s1"]) == {}
    assert state.wanted_ids() == set()


def test_an_evicted_epoch_does_not_make_new_streams_stale(backing: FakeBacking) -> None:
    state = backing.state()
    epoch = state.begin_epoch(NOW)
    backing.client().delete("t:epoch")

    opened(state)

    assert state.close_stale(epoch) == []


def test_an_evicted_epoch_does_not_restart_counts(backing: FakeBacking) -> None:
    state = backing.state()
    state.begin_epoch(NOW)
    opened(state)
    backing.client().delete("t:epoch")

    applied = opened(backing.state())

    assert applied.wanted is not None
    assert applied.wanted.count == 2


def test_an_evicted_worker_index_is_repaired_by_the_next_heartbeat(backing: FakeBacking) -> None:
    state = backing.state()
    state.heartbeat(worker("w1"), 60)
    backing.client().delete("t:workers")
    assert state.workers() == []

    state.heartbeat(worker("w1"), 60)

    assert [info.owner for info in state.workers()] == ["w1"]


def test_the_dead_leave_the_index_of_workers_when_they_are_buried(backing: FakeBacking) -> None:
    state = backing.state()
    for i in range(20):
        state.heartbeat(worker(f"w{i}"), 0.02)
    eventually(lambda: state.workers() == [])
    assert len(state.roll()) == 20

    for i in range(20):
        assert state.bury(f"w{i}") == []

    assert backing.client().exists("t:workers") == 0


def test_everything_but_wanted_streams_and_candles_expires(backing: FakeBacking) -> None:
    state = backing.state()
    opened(state)
    state.close("s1")
    state.heartbeat(worker("w1"), 60)
    state.set_gate("s1", Gate(digest="d", strikes=1, until_ms=1, last_reject_ms=1, cooldown_ms=1, reason=""), 1000)
    state.save_positions({"s1": b"x"}, 60)
    state.claim(["s1"], "w1", 60)
    state.take("b", 1, 10, 1.0, NOW)
    state.block("banned", NOW + 10**9)
    state.once("job", "w1", 60)

    client: Any = backing.client()
    lasting = {key for key in client.keys("*") if client.ttl(key) < 0}

    assert lasting == {b"t:workers", b"t:fence"}


# --- what others may have written ---


@pytest.mark.parametrize("text", [b"", b"not json", b"{}", b'"binance"', b"null", b"12", b"\xff\xfe"])
def test_an_unreadable_admin_config_enables_everything(backing: FakeBacking, text: bytes) -> None:
    backing.client().set("gainium:admin:enabled_exchanges", text)

    assert backing.state().enabled_exchanges() is None


def test_items_of_the_admin_config_that_are_no_text_are_ignored(backing: FakeBacking) -> None:
    backing.client().set("gainium:admin:enabled_exchanges", b'["binance", 1, null, ["kraken"], {}]')

    assert backing.state().enabled_exchanges() == frozenset(["binance"])


def test_when_an_account_s_last_event_went_out_is_what_the_backend_reads(backing: FakeBacking) -> None:
    backing.client().zadd("stream:lastEventTime", {"s1": 1_790_000_000_123, "s2": 0})

    assert [backing.state().last_event_ms(name) for name in ("s1", "s2", "s3")] == [1_790_000_000_123, 0, 0]


def test_values_of_another_version_are_skipped(backing: FakeBacking) -> None:
    state, client = backing.state(), backing.client()
    client.set("t:gate:s1", b"{}")
    client.sadd("t:candles", b"old spelling", msgspec.json.encode(["okx", "BTC-USDT", "candle1H"]))
    client.set("t:worker:w1", b"[1]")
    client.sadd("t:workers", "w1")

    assert state.gate("s1") is None
    assert state.candles() == {CandleKey("okx", "BTC-USDT", "candle1H")}
    assert state.workers() == []


# --- errors ---

CALLS: list[tuple[str, Callable[[State], object]]] = [
    ("open", opened),
    ("close", lambda state: state.close("s1")),
    ("restart", lambda state: state.restart("s1")),
    ("wanted", lambda state: state.wanted(["s1"])),
    ("wanted of many", lambda state: state.wanted([str(i) for i in range(2000)])),
    ("wanted_ids", lambda state: state.wanted_ids()),
    ("begin_epoch", lambda state: state.begin_epoch(NOW)),
    ("close_stale", lambda state: state.close_stale(1)),
    ("add_candle", lambda state: state.add_candle(CandleKey("okx", "BTC-USDT", "candle1H"))),
    ("candles", lambda state: state.candles()),
    ("claim", lambda state: state.claim(["a"], "w1", 1)),
    ("renew", lambda state: state.renew({"a": 1}, "w1", 1)),
    ("renew of many", lambda state: state.renew({str(i): i for i in range(2000)}, "w1", 1)),
    ("release", lambda state: state.release({"a": 1}, "w1")),
    ("hand_over", lambda state: state.hand_over("a", 1, "w1", "w2", 1)),
    ("owners", lambda state: state.owners(["a"])),
    ("heartbeat", lambda state: state.heartbeat(worker(), 1)),
    ("workers", lambda state: state.workers()),
    ("retire", lambda state: state.retire("w1")),
    ("gate", lambda state: state.gate("s1")),
    (
        "set_gate",
        lambda state: state.set_gate(
            "s1", Gate(digest="d", strikes=1, until_ms=1, last_reject_ms=1, cooldown_ms=1, reason=""), 1
        ),
    ),
    ("clear_gate", lambda state: state.clear_gate("s1", "d")),
    ("save_positions", lambda state: state.save_positions({"a": b"x", "b": b"y"}, 1)),
    ("positions", lambda state: state.positions(["a"])),
    ("drop_position", lambda state: state.drop_position("a")),
    ("take", lambda state: state.take("b", 1, 1, 1.0, NOW)),
    ("block", lambda state: state.block("b", NOW)),
    ("once", lambda state: state.once("job", "w1", 1)),
    ("get", lambda state: state.get("x")),
    ("put", lambda state: state.put("x", "y")),
    ("swap", lambda state: state.swap("x", "y", "z")),
    ("enabled_exchanges", lambda state: state.enabled_exchanges()),
]


@pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])
def test_an_absent_server_is_state_unavailable(backing: FakeBacking, call: Callable[[State], object]) -> None:
    state = backing.state()
    backing.server.connected = False

    with pytest.raises(StateUnavailable):
        call(state)


class _Refusing(fakeredis.FakeRedis):
    """A server that answers everything with one error."""

    error: Exception

    def execute_command(self, *args: Any, **options: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("Connection refused"),
        exceptions.TimeoutError("Timeout reading from socket"),
        exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        exceptions.ReadOnlyError("You can't write against a read only replica."),
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        exceptions.AuthenticationError("invalid username-password pair"),
        exceptions.MasterDownError("Link with MASTER is down"),
        exceptions.MaxConnectionsError("Too many connections"),
        exceptions.ResponseError("unknown command"),
        ConnectionResetError("reset by peer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_redis_error_is_state_unavailable(error: Exception) -> None:
    client = _Refusing(server=fakeredis.FakeServer())
    client.error = error
    state = RedisState(lambda: client, prefix="t:")

    with pytest.raises(StateUnavailable, match=type(error).__name__) as caught:
        opened(state)

    assert isinstance(caught.value, ConnectorError)
    assert caught.value.__cause__ is error


def test_ping_and_notify_do_not_raise_without_a_server(backing: FakeBacking, caplog: pytest.LogCaptureFixture) -> None:
    state = backing.state()
    backing.server.connected = False

    assert state.ping() is False
    with caplog.at_level(logging.WARNING):
        state.notify("w1", "hello")

    assert "notification lost" in caplog.text


def test_remember_raises_too_and_keeps_what_it_knew(backing: FakeBacking) -> None:
    state = backing.state()
    opened(state)
    known = want(state)
    backing.flush()

    backing.server.connected = False
    with pytest.raises(StateUnavailable):
        state.remember(known)
    backing.server.connected = True
    state.remember(known)

    assert want(state) == known


# --- round trips ---


class _Counting(fakeredis.FakeRedis):
    """Counts commands and pipelines sent."""

    trips = 0

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self.trips += 1
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, *args: Any, **options: Any) -> Any:
        self.trips += 1
        return super().pipeline(*args, **options)


@pytest.mark.parametrize("size", [1, 3, 1500])
def test_whole_process_calls_cost_one_round_trip(size: int) -> None:
    client = _Counting(server=fakeredis.FakeServer())
    state = RedisState(lambda: client, prefix="t:")
    units = [f"u{i}" for i in range(size)]
    calls = count(1)

    leases = state.claim(units, "w1", 60)
    assert client.trips == next(calls)
    state.renew(leases, "w1", 60)
    assert client.trips == next(calls)
    state.owners(units)
    assert client.trips == next(calls)
    state.wanted(units)
    assert client.trips == next(calls)
    state.save_positions(dict.fromkeys(units, b"x"), 60)
    assert client.trips == next(calls)
    state.positions(units)
    assert client.trips == next(calls)
    state.release(leases, "w1")
    assert client.trips == next(calls)
    state.heartbeat(worker("w1"), 60)
    assert client.trips == next(calls)


# --- subscriptions ---


def test_a_listener_comes_back_by_itself_and_asks_to_resync(
    backing: FakeBacking, caplog: pytest.LogCaptureFixture
) -> None:
    state, heard = backing.state(), Heard()
    stop = state.listen("w1", heard)
    state.notify("w1", "before")
    heard.wait_for("before")

    backing.server.connected = False
    eventually(lambda: "notifications interrupted" in caplog.text)
    backing.server.connected = True

    heard.wait_for("resync")
    state.notify("w1", "after")
    heard.wait_for("after")
    assert heard.texts == ["before", "resync", "after"]
    stop()


def test_a_listener_without_a_server_starts_later_with_a_resync(backing: FakeBacking) -> None:
    state, heard = backing.state(), Heard()
    backing.server.connected = False

    stop = state.listen("w1", heard)
    backing.server.connected = True

    heard.wait_for("resync")
    stop()


def test_listeners_pause_longer_the_longer_it_lasts() -> None:
    assert list(BACKOFF_S) == sorted(BACKOFF_S)
    assert max(BACKOFF_S) <= 3


def test_prefixes_keep_deployments_apart(backing: FakeBacking) -> None:
    one = RedisState(backing.client, prefix=f"{uuid.uuid4()}:")
    two = RedisState(backing.client, prefix=f"{uuid.uuid4()}:")
    opened(one)

    assert two.wanted_ids() == set()


def test_a_listener_stamps_that_it_lives_until_it_is_stopped(backing: FakeBacking) -> None:
    state = backing.state()
    stop = state.listen("w1", Heard())
    (one,) = state.threads()
    assert one.name == "state-listener:w1"
    first = one.stamp()
    eventually(lambda: first < one.stamp() < NOT_NOW or (first == NOT_NOW and one.stamp() < NOT_NOW))
    stop()
    assert list(state.threads()) == []
