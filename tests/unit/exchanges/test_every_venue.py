"""The promises that every venue keeps, through the `Venue` interface alone."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.normalise import normalise
from connector.core.errors import ConnectorError
from exchanges import example_of
from exchanges._adapter import Answer, Call, Connect, Emit, EmitCandle, EmitTickers, Fail, FailKind, Note, Send
from exchanges._venue import Limits
from exchanges.events import TERMINAL
from exchanges.ids import FAMILIES, PAPER_TO_REAL, Feed
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from simulator._odd import HOW, with_odd_rows
from tests.unit.exchanges.every_venue import (
    ANSWERS,
    CANARIES,
    CANARY_ADDRESS,
    CANARY_KEY,
    CANARY_PHRASE,
    CANARY_SECRET,
    GARBAGE,
    NOW,
    TABLE,
    Drive,
    credentials,
    every_feed,
    golden_lines,
    load,
    load_family,
    made,
    raw,
    replayed,
    subscription,
    venue_names,
)
from tests.unit.exchanges.test_golden import difference

FEEDS = every_feed()
EVERY_FEED = pytest.mark.parametrize(("name", "exchange", "feed"), FEEDS, ids=[f"{e}-{f}" for _, e, f in FEEDS])
EVERY_VENUE = pytest.mark.parametrize("name", venue_names())
EVERY_ANSWER = pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer.status} {answer.body[:20]!r}")


@contextmanager
def answered_with(answer: Answer) -> Iterator[None]:
    """Says, in what fails, which answer it was: one test for all answers takes a fraction of the time of a test for each."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"answered with {answer}")
        raise


def silent(call: Call) -> Answer:
    return Answer(0, {}, b"", "timeout")


# --- the venue ---


@EVERY_VENUE
def test_a_venue_says_which_ids_it_serves(name: str) -> None:
    venue = load(name)
    assert venue.name == name
    assert set(venue.exchanges) == set(FAMILIES.get(name, PAPER_TO_REAL))
    assert "user" in venue.feeds


def every_pool(limits: Limits) -> set[str]:
    return {*limits.rest, *limits.own_rest}


@EVERY_FEED
def test_limits_are_sane(name: str, exchange: str, feed: Feed) -> None:
    limits = load(name).limits(exchange, feed)
    for rate in (limits.connects, limits.messages, *limits.rest.values(), *limits.own_rest.values()):
        assert rate.limit >= 1
        assert rate.per_s > 0
    assert limits.subscriptions_per_connection >= 1
    assert feed != "ticker" or limits.subscriptions_per_connection == 1
    assert limits.lifetime_s is None or limits.lifetime_s >= 60
    assert limits.silence_s > (limits.ping_interval_s or 0)
    assert 0 < limits.connect_timeout_s <= 60
    assert limits.join_timeout_s >= 5
    assert limits.data_silence_s is None or feed != "user"


def places(exchange: str, environment: str | None) -> set[tuple[str, str]]:
    """Where an account's adapter goes: hosts, with what a venue marks the calls of its test network by."""
    marks = {"x-simulated-trading", "paptrading"}
    found: set[tuple[str, str]] = set()
    for answer in (
        *ANSWERS,
        Answer(200, {}, b'{"listenKey":"k"}'),
        Answer(
            200, {}, b'{"retCode":0,"result":{"unifiedMarginStatus":5},"code":"0","data":{"accountMode":"unified"}}'
        ),
    ):
        drive = Drive(made(load_family(exchange), exchange, "user"), lambda call, answer=answer: answer)
        account = credentials(CANARY_KEY, CANARY_SECRET, CANARY_PHRASE, environment=environment, keys_type=None)
        if load_family(exchange) == "hyperliquid":
            account = credentials(CANARY_ADDRESS, "", environment=environment)
        drive.begin(subscription(exchange, "user", account=account, resumed=True))
        for output in drive.outputs:
            if isinstance(output, Call | Connect):
                mark = next((name for name in getattr(output, "headers", ()) if str(name).lower() in marks), "")
                found.add((urlsplit(output.url).hostname or "", mark))
    return found


@pytest.mark.parametrize(
    "exchange",
    [e for name in venue_names() if name != "paper" for e in load(name).exchanges],
)
def test_a_key_of_the_sandbox_never_goes_to_the_live_site(exchange: str) -> None:
    refusal = load(load_family(exchange)).sandbox_refusal(exchange)
    if refusal is not None:
        assert "sandbox" in refusal
        return
    live, sandbox = places(exchange, None), places(exchange, "sandbox")
    assert sandbox
    assert not live & sandbox


@EVERY_VENUE
def test_tickers_are_spread_over_connections_without_a_gap(name: str) -> None:
    venue = load(name)
    if "ticker" not in venue.feeds:
        return
    wires = [f"C{number}-USDT" for number in range(2500)]
    table = SymbolTable(Instrument(wire=wire, pair=wire, base=wire[:-5], quote="USDT", settle="USDT") for wire in wires)
    for exchange in venue.exchanges:
        shards = venue.ticker_shards(exchange, table)
        if list(shards) == [()]:
            continue
        spread = [wire for shard in shards for wire in shard]
        assert len(spread) == len(set(spread))
        assert set(spread) <= set(wires)


@EVERY_VENUE
def test_candle_requests_are_judged(name: str) -> None:
    venue = load(name)
    if "candle" not in venue.feeds:
        return
    for exchange in venue.exchanges:
        example = example_of(exchange)
        assert example is not None, "the venue names no interval of this exchange"
        for interval in example.intervals:
            assert venue.candle_refusal(exchange, "BTC-USDT", interval, EMPTY) is None, interval
            assert isinstance(venue.candle_group(exchange, "BTC-USDT", interval, EMPTY), str)
        for interval in (*example.refused, "", "7x", "candle", "1 m", "-1", "é"):
            assert venue.candle_refusal(exchange, "BTC-USDT", interval, EMPTY), interval
        for symbol in ("NOBODY-KNOWS", "", "BTC USDT", "币安"):
            assert venue.candle_refusal(exchange, symbol, example.intervals[0], TABLE), symbol


@EVERY_VENUE
@EVERY_ANSWER
def test_a_symbol_list_that_cannot_be_read_has_no_result(name: str, answer: Answer) -> None:
    venue = load(name)
    if "ticker" not in venue.feeds:
        return
    for exchange in venue.exchanges:
        loader = venue.instruments(exchange, {})
        pending = list(loader.start())
        assert pending
        pools = {pool for feed in venue.feeds for pool in every_pool(venue.limits(exchange, feed))}
        for _ in range(50):
            if not pending:
                break
            call = pending.pop()
            assert call.pool in pools or not pools
            pending += loader.answered(call, answer)
        assert not pending
        assert not loader.result()


# --- adapters ---


@EVERY_FEED
@pytest.mark.parametrize("stage", ["before start", "started", "with a gap"])
def test_garbage_frames_never_raise(name: str, exchange: str, feed: Feed, stage: str) -> None:
    drive = Drive(made(name, exchange, feed), silent)
    if stage != "before start":
        drive.begin(subscription(exchange, feed, resumed=stage == "with a gap"))
    for frame in GARBAGE:
        for output in drive.adapter.received(frame, NOW):
            assert not isinstance(output, Emit | EmitCandle | EmitTickers), frame


@EVERY_FEED
def test_no_rest_answer_raises_and_what_follows_is_bounded(name: str, exchange: str, feed: Feed) -> None:
    pools = every_pool(load(name).limits(exchange, feed))
    for answer in ANSWERS:
        with answered_with(answer):
            drive = Drive(made(name, exchange, feed), lambda call, answer=answer: answer)
            drive.begin(subscription(exchange, feed, resumed=True))
            assert drive.wait(300) < 3000
            calls = [output for output in drive.outputs if isinstance(output, Call)]
            assert len(calls) < 300
            assert all(call.pool in pools for call in calls if pools)


@EVERY_FEED
def test_silence_wakes_an_adapter_seldom_and_unanswered_pings_end_the_connection(
    name: str, exchange: str, feed: Feed
) -> None:
    drive = Drive(made(name, exchange, feed), silent)
    drive.begin(subscription(exchange, feed))
    before = len(drive.outputs)
    assert drive.wait(3600) < 2000
    said = drive.outputs[before:]
    if any(isinstance(output, Send) for output in said):
        assert any(isinstance(output, Fail) for output in said)


@EVERY_FEED
def test_subscriptions_come_and_go_in_any_state(name: str, exchange: str, feed: Feed) -> None:
    drive = Drive(made(name, exchange, feed), silent)
    one = subscription(exchange, feed)
    drive.take(list(drive.adapter.remove("nobody", NOW)))
    drive.take(list(drive.adapter.add(one, NOW)))
    drive.take(list(drive.adapter.remove(one.stream_id, NOW)))
    drive.begin(one)
    for _ in range(3):
        drive.take(list(drive.adapter.remove(one.stream_id, drive.now)))
        drive.take(list(drive.adapter.add(one, drive.now)))
    drive.wait(5)
    drive.take(list(drive.adapter.closing(drive.now)))


@pytest.mark.parametrize(("name", "exchange"), [(n, e) for n, e, f in FEEDS if f == "user"])
@pytest.mark.parametrize("missing", [("", ""), ("", "secret")], ids=["both", "key"])
def test_missing_credentials_are_refused_for_the_stream(name: str, exchange: str, missing: tuple[str, str]) -> None:
    account = credentials(*missing)
    drive = Drive(made(name, exchange, "user"), silent).begin(subscription(exchange, "user", account=account))
    fails = [output for output in drive.outputs if isinstance(output, Fail)]
    assert any(fail.kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE) for fail in fails)
    assert not any(isinstance(output, Call | Send) for output in drive.outputs)


@pytest.mark.parametrize(("name", "exchange"), [(n, e) for n, e, f in FEEDS if f == "user"])
def test_damaged_key_material_never_raises(name: str, exchange: str) -> None:
    for secret in ("-----BEGIN PRIVATE KEY----- x -----END PRIVATE KEY-----", "é\ud800", "0x", "not base64!"):
        for key in ("k", "é", "0x12", "organizations/a/apiKeys/b", "a\nb"):
            for keys_type in (None, "cloud", "legacy"):
                try:
                    account = credentials(key, secret, "p", keys_type=keys_type)
                except UnicodeEncodeError:
                    continue  # refused when the command is read
                drive = Drive(made(name, exchange, "user"), silent)
                drive.begin(subscription(exchange, "user", account=account))
                assert all(secret not in repr(output) for output in drive.outputs)


@EVERY_FEED
def test_no_secret_shows_in_any_output(name: str, exchange: str, feed: Feed) -> None:
    for answer in ANSWERS:
        with answered_with(answer):
            drive = Drive(made(name, exchange, feed), lambda call, answer=answer: answer)
            drive.begin(subscription(exchange, feed, resumed=True))
            drive.wait(60)
            for frame in GARBAGE:
                if not drive.ended:
                    drive.feed(frame)
            shown = [repr(drive.adapter), *map(repr, drive.outputs)]
            shown += [output.reason for output in drive.outputs if isinstance(output, Fail)]
            shown += [output.what for output in drive.outputs if isinstance(output, Note)]
            shown += [output.tag for output in drive.outputs if isinstance(output, Call)]
            assert not [text for text in shown if any(secret in text for secret in CANARIES)]


# --- frames that were recorded ---


@EVERY_VENUE
def test_recorded_frames_may_come_twice_and_in_any_order(name: str) -> None:
    by_feed: dict[tuple[object, object, str], list[dict[str, object]]] = {}
    for case in golden_lines(name):
        key = (case["exchange"], case["feed"], json.dumps(case.get("context")))
        by_feed.setdefault(key, []).append(case)
    shuffle = random.Random(1)
    for cases in by_feed.values():
        adapter = replayed(name, cases[0])
        frames = [raw(case["frame"]) for case in cases] * 2
        shuffle.shuffle(frames)
        for frame in frames:
            adapter.received(frame, NOW)


@EVERY_VENUE
def test_frames_of_other_venues_publish_nothing_and_never_raise(name: str) -> None:
    own = {(case["exchange"], case["feed"]): case for case in golden_lines(name)}
    foreign = [raw(case["frame"]) for other in venue_names() if other != name for case in golden_lines(other)]
    for case in own.values():
        adapter = replayed(name, case)
        for frame in foreign:
            assert adapter.received(frame, NOW) is not None


@EVERY_VENUE
def test_truncated_frames_never_raise(name: str) -> None:
    for case in golden_lines(name):
        frame = raw(case["frame"])
        for share in (0.2, 0.5, 0.9):
            adapter = replayed(name, case)
            outputs = adapter.received(frame[: int(len(frame) * share)], NOW)
            assert not any(isinstance(output, Emit | EmitCandle | EmitTickers) for output in outputs)


def in_order(wanted: list[object], found: list[object]) -> bool:
    rest = iter(found)
    return all(any(difference(one, other) is None for other in rest) for one in wanted)


RECORDED = sorted({(str(case["exchange"]), str(case["feed"])) for name in venue_names() for case in golden_lines(name)})


@pytest.mark.parametrize(("exchange", "feed"), RECORDED, ids=str)
def test_an_odd_row_costs_itself_in_every_recorded_frame(exchange: str, feed: str) -> None:
    cases = [case for name in venue_names() for case in golden_lines(name)]
    for case in (case for case in cases if (case["exchange"], case["feed"]) == (exchange, feed)):
        wanted = normalise(json.dumps(case).encode(), NOW)["events"]
        text = raw(case["frame"])
        for how, first in itertools.product(HOW, (False, True)):
            odd = with_odd_rows(text, how, first=first)
            if odd != text:
                result = normalise(json.dumps({**case, "frame": json.loads(odd)}).encode(), NOW)
                assert in_order(wanted, result.get("events", [])), (case["case"], how, first, result)  # type: ignore[arg-type]


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the plain values of a frame stand, those in objects."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if isinstance(one, dict | list):
            yield from leaves(one, (*path, key))
        elif isinstance(key, str):
            yield (*path, key)


def changed(frame: object, path: tuple[str | int, ...], *, null: bool) -> object:
    """The frame with this value null, or left out."""
    copy = json.loads(json.dumps(frame))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if null:
        place[path[-1]] = None
    else:
        del place[path[-1]]
    return copy


FORWARDED = {"N", "C"}
"""Binance's commission asset and original client id: what the venue wrote is told, a null as one (contract 2.1)."""


@pytest.mark.parametrize("name", venue_names())
def test_a_null_is_an_absent_value_in_every_recorded_frame(name: str) -> None:
    """A null in a field that nobody needs cost the whole frame: a fill beside a message id of null."""
    for case in golden_lines(name):
        frame = case["frame"]
        for path in leaves(frame):
            told = [
                normalise(json.dumps({**case, "frame": changed(frame, path, null=null)}).encode(), NOW)
                for null in (True, False)
            ]
            events = [[{**e, "uniqueMessageId": ""} for e in one["events"]] for one in told]  # type: ignore[attr-defined]
            if path[-1] not in FORWARDED:
                assert events[0] == events[1], (case["case"], path)


STATUS_FIELDS = {"X", "orderStatus", "state", "status", "order_status"}
"""Where the venues write the state of an order."""


def with_status(value: object, status: str) -> object:
    if isinstance(value, dict):
        return {
            name: status if name in STATUS_FIELDS and isinstance(inner, str) else with_status(inner, status)
            for name, inner in value.items()
        }
    return [with_status(inner, status) for inner in value] if isinstance(value, list) else value


def ended_orders() -> dict[str, list[dict[str, object]]]:
    """Recorded frames that end an order and write its status, by exchange id."""
    found: dict[str, list[dict[str, object]]] = {}
    for case in (case for name in venue_names() if name != "paper" for case in golden_lines(name)):
        told = cast("list[dict[str, object]]", case["expected"])
        orders = [event for event in told if "orderStatus" in event]
        ends = orders and all(event["orderStatus"] in TERMINAL for event in orders)
        if ends and with_status(case["frame"], "quantumHalted") != case["frame"]:
            found.setdefault(str(case["exchange"]), []).append(case)
    return found


ENDED = ended_orders()


@pytest.mark.parametrize("exchange", sorted(ENDED))
def test_a_status_that_no_page_lists_is_told_and_never_guessed(exchange: str) -> None:
    for case in ENDED[exchange]:
        adapter = replayed(load_family(exchange), case)
        outputs = adapter.received(raw(with_status(case["frame"], "quantumHalted")), NOW)
        events = [output.event for output in outputs if isinstance(output, Emit)]
        ends = [event for event in events if getattr(event, "order_status", "") in TERMINAL]
        assert not ends, case["case"]
        assert any(isinstance(output, Note | Call) for output in outputs), case["case"]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["NaN", "Infinity", "-0", "1e-9", "1e400", "", " ", "0x1F", "1_000", "９", "\ud800"]),
    st.lists(st.none(), max_size=1),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)
WHOLE = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def spots(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where a frame can be bent: every place of it."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [spot for key, inner in value.items() for spot in spots(inner, (*path, key))]
    elif isinstance(value, list):
        found += [spot for index, inner in enumerate(value) for spot in spots(inner, (*path, index))]
    return found


def bent(value: object, path: tuple[str | int, ...], leaf: object) -> object:
    if not path:
        return leaf
    copy = dict(value) if isinstance(value, dict) else list(cast("list[object]", value))
    copy[path[0]] = bent(copy[path[0]], path[1:], leaf)  # type: ignore[index]
    return copy


@EVERY_VENUE
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(data=st.data())
def test_a_bent_frame_never_raises(name: str, data: st.DataObject) -> None:
    cases = golden_lines(name)
    if not cases:
        return
    case = data.draw(st.sampled_from(cases))
    frame = case["frame"]
    places = spots(frame)
    if places:
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.sampled_from(spots(frame) or places))
            frame = bent(frame, place, data.draw(LEAVES))
    else:
        frame = data.draw(WHOLE)
    replayed(name, case).received(json.dumps(frame).encode(errors="replace"), NOW)


@EVERY_FEED
@settings(max_examples=30, deadline=None)
@given(frame=st.binary(max_size=40) | WHOLE.map(lambda value: json.dumps(value).encode(errors="replace")))
def test_no_frame_whatsoever_raises(name: str, exchange: str, feed: Feed, frame: bytes) -> None:
    drive = Drive(made(name, exchange, feed), silent).begin(subscription(exchange, feed))
    drive.adapter.received(frame, NOW)


def test_errors_of_the_project_are_told_apart_from_bugs() -> None:
    assert not issubclass(ConnectorError, (ValueError, KeyError, TypeError))


def test_every_live_and_paper_id_has_one_venue() -> None:
    served = [exchange for name in venue_names() for exchange in load(name).exchanges]
    assert len(served) == len(set(served))
    for exchange in served:
        assert load_family(exchange) in venue_names()
