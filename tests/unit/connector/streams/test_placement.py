"""Which session carries which stream: shared sessions, their limits, their age, their end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import msgspec
import pytest

import exchanges
from connector.core.clock import Chance
from connector.core.proxies import Ways
from connector.streams.dial import Dialler
from connector.streams.egress import Egresses
from connector.streams.io import IoThread
from connector.streams.placement import JOINABLE_FOR, Placement, UnknownExchange
from connector.streams.session import Session
from connector.streams.spec import StreamSpec
from exchanges._adapter import Instant, UserSubscription
from exchanges._venue import Limits, Rate, Setup
from exchanges.credentials import credentials
from exchanges.instruments import EMPTY, SymbolTable
from tests.unit.connector.streams.fakes import Clock, FakeSink, keys, user


class FakeIo:
    """Takes work and does nothing."""

    def __init__(self) -> None:
        self.posts: list[Callable[[], None]] = []

    def post(self, work: Callable[[], None]) -> None:
        self.posts.append(work)

    def now(self) -> Instant:
        return Instant(0.0, 0)

    def done(self) -> list[tuple[str, str]]:
        """Names of the session methods that were posted, with the session."""
        found = []
        for post in self.posts:
            assert isinstance(post, partial)
            found.append((post.func.__name__, post.func.__self__.name))
        return found


class FakeVenue:
    name = "fake"

    def __init__(self, **limits: Any) -> None:
        self.limit = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), **limits)
        self.setups: list[Setup] = []

    def limits(self, exchange: str, feed: str) -> Limits:
        return self.limit

    def user(self, setup: Setup) -> object:
        self.setups.append(setup)
        return object()

    ticker = candle = user

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return interval


class Shop:
    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        ips: tuple[str, ...] = (),
        threads: int = 1,
        options: Mapping[str, str] | None = None,
        **limits: Any,
    ) -> None:
        self.clock = Clock()
        self.venue = FakeVenue(**limits)
        registry: Mapping[str, Any] = dict.fromkeys(("bybit", "okx"), self.venue)
        monkeypatch.setattr(exchanges, "_by_exchange", lambda: registry)
        self.io = [FakeIo() for _ in range(threads)]
        self.egresses = Egresses(Ways(ips), self.clock)
        self.placement = Placement(
            cast("list[IoThread]", self.io), cast(Dialler, None), cast(Any, FakeSink()), self.clock, Chance(1),
            lambda exchange: EMPTY, options or {}, self.egresses,
        )  # fmt: skip
        self.placement.listener = cast(Any, None)

    def join(self, spec: StreamSpec, beside: Session | None = None) -> Session:
        subscription = UserSubscription(stream_id=spec.stream_id, exchange=spec.exchange, credentials=keys())
        return self.placement.join(spec, subscription, beside)


def candle(symbol: str, interval: str, exchange: str = "bybit") -> StreamSpec:
    return StreamSpec(
        stream_id=f"candle:{symbol}@{exchange}@{interval}", exchange=exchange, feed="candle", symbol=symbol,
        interval=interval,
    )  # fmt: skip


def test_a_session_is_filled_to_the_venues_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, subscriptions_per_connection=3)
    sessions = [shop.join(user(f"u{number}")) for number in range(7)]
    assert [len(session.streams) for session in dict.fromkeys(sessions)] == [3, 3, 1]
    assert [name for name, _ in shop.io[0].done()] == ["start", "add", "add", "start", "add", "add", "start"]


def test_exchanges_feeds_and_groups_never_share(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, subscriptions_per_connection=100)
    specs = [user("u1"), user("u2", exchange="okx"), candle("A", "1"), candle("B", "1"), candle("A", "5")]
    sessions = [shop.join(spec) for spec in specs]
    assert len(set(sessions)) == 4
    assert sessions[2] is sessions[3], "one group, one connection (bug C5)"


def test_accounts_of_the_sandbox_and_live_ones_never_share(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, subscriptions_per_connection=100)
    live = user("u1")
    sandbox = msgspec.structs.replace(user("u2"), credentials=credentials("K", "S", environment="sandbox"))
    assert shop.join(live) is not shop.join(sandbox)
    assert shop.join(user("u3")) is shop.join(user("u4"))


def test_a_room_that_becomes_free_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, subscriptions_per_connection=2)
    first = [shop.join(user(f"u{number}")) for number in range(4)]
    shop.placement.leave(first[0], "u0", polite=True)
    assert shop.join(user("u9")) is first[0]
    assert shop.io[0].done()[-2:] == [("remove", first[0].name), ("add", first[0].name)]


def test_the_last_stream_closes_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, subscriptions_per_connection=2)
    session = shop.join(user("u1"))
    shop.join(user("u2"))
    shop.placement.leave(session, "u1", polite=True)
    shop.placement.leave(session, "u2", polite=True, last_holder=True)
    assert shop.io[0].done()[-1] == ("close", session.name)
    assert shop.io[0].posts[-1].keywords == {"polite": True, "last_holder": True}  # type: ignore[attr-defined]
    assert shop.placement.sessions() == []
    assert shop.placement.session(session.name) is None
    assert shop.join(user("u3")) is not session


def test_a_replacement_is_another_session_on_the_same_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, threads=4, subscriptions_per_connection=10)
    olds = [shop.join(user(f"u{number}", exchange=("bybit", "okx")[number % 2])) for number in range(2)]
    for number, old in enumerate(olds):
        shop.placement.seal(old)
        new = shop.join(user(f"u{number}", exchange=("bybit", "okx")[number % 2]), beside=old)
        assert new is not old
        threads = [io for io in shop.io if any(name == new.name for _, name in io.done())]
        assert any(name == old.name for _, name in threads[0].done()), "so that one thread sees the order of its events"


def test_nobody_joins_a_retired_or_closed_or_old_session(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, subscriptions_per_connection=10, lifetime_s=1_000.0)
    retired = shop.join(user("u1"))
    shop.placement.seal(retired)
    closed = shop.join(user("u2"))
    assert closed is not retired
    closed.closed = True
    old = shop.join(user("u3"))
    assert old is not closed
    old.opened_mono = shop.clock.seconds
    assert shop.join(user("u4")) is old
    shop.clock.seconds += 1_000.0 * JOINABLE_FOR + 1
    assert shop.join(user("u5")) is not old


def test_sessions_are_due_for_rotation_a_little_before_their_time_and_not_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(monkeypatch, lifetime_s=1_000.0)
    sessions = [shop.join(user(f"u{number}")) for number in range(100)]
    for session in sessions:
        session.opened_mono = shop.clock.seconds
    start = shop.clock.seconds
    due = []
    for second in (949, 960, 970, 980, 990, 1_000):
        shop.clock.seconds = start + second
        due.append(len(shop.placement.aged()))
    assert due[0] == 0
    assert due[-1] == 100
    assert 0 < due[1] < due[2] < due[3] < 100
    shop.placement.seal(sessions[0])
    assert len(shop.placement.aged()) == 99, "a retired one is on its way already"


def test_sessions_without_a_lifetime_never_age(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch)
    shop.join(user("u1")).opened_mono = 1.0
    shop.clock.seconds += 10**7
    assert shop.placement.aged() == []


def test_a_session_that_ended_is_forgotten_entirely(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch)
    for number in range(50):
        session = shop.join(user(f"u{number}"))
        shop.placement.seal(session)
        shop.placement.cut(session)
        shop.placement.ended(session)
        shop.placement.leave(session, f"u{number}", polite=True)
        shop.placement.seal(session)
    assert shop.placement.sessions() == []
    assert shop.placement._pools == {}
    assert shop.placement._sealed == set()


def test_connections_are_spread_over_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, ips=("10.0.0.1", "10.0.0.2"))
    assert [shop.join(user(f"u{number}")).egress for number in range(4)] == ["10.0.0.1", "10.0.0.2"] * 2


def test_the_accounts_of_a_proxy_that_does_not_work_go_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, ips=("10.0.0.1", "10.0.0.2"))
    shop.egresses.failed("10.0.0.1", "dead")
    assert [shop.join(user(f"u{number}")).egress for number in range(4)] == ["10.0.0.2"] * 4
    shop.egresses.worked("10.0.0.1")
    assert {shop.join(user(f"v{number}")).egress for number in range(4)} == {"10.0.0.1", "10.0.0.2"}


def test_request_ids_are_short_and_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch)
    shop.join(user("u1"))
    ids = {shop.venue.setups[0].new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(name.isalnum() and len(name) <= 32 for name in ids)


def test_an_exchange_that_nobody_serves_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch)
    with pytest.raises(UnknownExchange):
        shop.join(msgspec.structs.replace(user("u1"), exchange="nowhere"))


def test_a_venue_that_counts_open_connections_gets_the_next_one_from_the_address_with_the_fewest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(monkeypatch, ips=("10.0.0.1", "10.0.0.2"), open_connections=10)
    first, second, third, _ = (shop.join(user(f"u{number}")) for number in range(4))
    assert (first.egress, second.egress) == ("10.0.0.1", "10.0.0.2")
    for session in (first, third):
        shop.placement.ended(session)
    assert [shop.join(user(f"v{number}")).egress for number in range(2)] == ["10.0.0.1", "10.0.0.1"]


def test_addresses_with_equally_few_connections_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a budget of its own for connects and REST weight, too."""
    shop = Shop(monkeypatch, ips=("10.0.0.1", "10.0.0.2", "10.0.0.3"), open_connections=10)
    shop.join(user("u0"))
    found = []
    for number in range(4):
        session = shop.join(user(f"v{number}"))
        found.append(session.egress)
        shop.placement.ended(session)
    assert found == ["10.0.0.2", "10.0.0.3", "10.0.0.2", "10.0.0.2"]


@pytest.mark.parametrize(("text", "most"), [("", 2), ("0", 0), ("3", 3), ("many", 2)])
def test_candle_topics_beyond_the_connections_of_their_own_share_some(
    monkeypatch: pytest.MonkeyPatch, text: str, most: int
) -> None:
    shop = Shop(
        monkeypatch, options={"MAX": text}, candle_connections=2, candle_connections_option="MAX", shared_topics=2
    )
    sessions = [shop.join(candle("A", str(number))) for number in range(7)]
    other = shop.join(candle("A", "1", exchange="okx"))
    counts = [len(session.streams) for session in dict.fromkeys(sessions)]
    shared, alone = 7 - most, [1] * most
    assert counts == [*alone, *[2] * (shared // 2), *[1] * (shared % 2)]
    assert other not in sessions


def test_a_candle_topic_has_a_connection_of_its_own_again_when_one_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, candle_connections=1, shared_topics=10)
    first, _ = shop.join(candle("A", "1")), shop.join(candle("A", "2"))
    shop.placement.ended(first)
    assert len({shop.join(candle("A", "3")), shop.join(candle("A", "4"))}) == 2
    assert len({session.name for session in shop.placement.sessions()}) == 2


@pytest.mark.parametrize(("text", "limit"), [("25", 25), (" 3 ", 3), ("", 10), ("0", 10), ("many", 10)])
def test_a_deployment_may_know_better_how_many_connections_a_venue_allows(
    monkeypatch: pytest.MonkeyPatch, text: str, limit: int
) -> None:
    shop = Shop(monkeypatch, options={"MAX": text}, open_connections=10, open_connections_option="MAX")
    assert shop.join(user("u1")).limits.open_connections == limit


class Unseen(dict[Any, Any]):
    """May be asked for one member, and is not gone through."""

    def __iter__(self) -> Any:
        raise AssertionError("it was gone through")

    values = items = keys = cast(Any, __iter__)


def test_of_thousands_of_accounts_none_is_looked_at_to_place_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(monkeypatch, ("10.0.0.1", "10.0.0.2"), open_connections=100, subscriptions_per_connection=1)
    made = [shop.join(user(f"u{number}")) for number in range(10)]
    place = shop.placement
    place._by_name, place._pools = Unseen(place._by_name), {key: Unseen(pool) for key, pool in place._pools.items()}
    made.append(shop.join(user("u10")))
    assert len({session.name for session in made}) == 11
    place.ended(made[3])
    assert place.session(made[3].name) is None


def test_the_way_out_with_the_fewest_connections_is_taken_also_after_some_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(monkeypatch, ("10.0.0.1", "10.0.0.2"), open_connections=100, subscriptions_per_connection=1)
    made = [shop.join(user(f"u{number}")) for number in range(6)]
    assert Counter(session.egress for session in made) == {"10.0.0.1": 3, "10.0.0.2": 3}
    for session in [session for session in made if session.egress == "10.0.0.2"][:2]:
        shop.placement.ended(session)
    assert [shop.join(user(f"u{number}")).egress for number in (10, 11)] == ["10.0.0.2", "10.0.0.2"]
