"""Tickers and candles of every live id: what the venue sent is what both sinks say (contract 1.6, 2.6, 2.7, 3.1)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cli.normalise import normalise
from connector.core.channels import candle_channel, ticker_channel
from connector.core.clock import SystemClock
from exchanges._adapter import Instant
from exchanges.ids import Feed, family_of
from harness.backend import CANDLE_QUEUE
from harness.servers import wait_for
from harness.stack import Stack
from harness.taps import Sent, replayable
from simulator._values import Symbol
from tests.system.support import CLOSED_CANDLES, LIVE_IDS, WAIT_S, context_of

pytestmark = pytest.mark.system

CANDLE_IDS = [exchange for exchange in LIVE_IDS if exchange != "coinbase"]
HOUR = {
    "binance": "1h", "bybit": "60", "okx": "candle1H", "kucoin": "1hour", "bitget": "candle1H", "hyperliquid": "1h",
    "kraken": "60", "whitebit": "1h",
}  # fmt: skip
"""How the backend names one hour, by family (contract 1.6)."""
UNTIMED = ("hyperliquid", "whitebit")
"""Families whose price frames have no time."""
TICKER_FIELDS = {
    "symbol", "time", "price", "volume", "bestAsk", "bestBid", "bestAskQnt", "bestBidQnt", "uniqueMessageId", "eventTime",
    "exchange",
}  # fmt: skip
BEHIND = 40
"""Candles that can be closed one after the other: a candle that begins later than the clock allows is refused."""
_steps = itertools.count(1)


def symbol_of(stack: Stack, exchange: str) -> Symbol:
    return stack.simulator.call(lambda hub, _: hub.world.markets.symbols(exchange)[0])


def new_price(stack: Stack, exchange: str) -> Decimal:
    """One trade at a price that was never seen before."""
    price = Decimal("61000.5") + next(_steps)
    stack.simulator.set_price(exchange, symbol_of(stack, exchange).wire, price)
    return price


def until(condition: Callable[[], Any], nudge: Callable[[], object], what: str) -> Any:
    """Do `nudge` now and then until the condition holds: a feed may be connecting at the moment."""
    turns = itertools.count()

    def turn() -> Any:
        found = condition()
        if not found and next(turns) % 12 == 0:
            nudge()
        return found

    return wait_for(turn, WAIT_S, what, 0.05)


@pytest.mark.parametrize("exchange", LIVE_IDS)
def test_a_price_arrives_whole_on_both_sinks(stack: Stack, exchange: str) -> None:
    pair = symbol_of(stack, exchange).pair_id
    channel = ticker_channel(pair, exchange)
    prices: set[float] = set()

    def arrived() -> dict[str, Any] | None:
        return next((event for event in reversed(stack.backend.events(channel)) if event["price"] in prices), None)

    event = until(arrived, lambda: prices.add(float(new_price(stack, exchange))), channel)
    assert set(event) == TICKER_FIELDS
    assert (event["symbol"], event["exchange"]) == (pair, exchange)
    # All figures are numbers, and both sides of the book carry the last price (contract 2.6).
    assert all(
        isinstance(event[name], int | float) for name in TICKER_FIELDS - {"symbol", "exchange", "uniqueMessageId"}
    )
    assert event["bestAsk"] == event["bestBid"] == event["price"]
    assert isinstance(event["time"], int)
    assert isinstance(event["eventTime"], int)
    assert abs(event["eventTime"] - event["time"]) < 60_000
    assert masked(event) in [masked(row) for row in mapped_tickers(stack, exchange, channel, event["price"])]

    def batches() -> list[dict[str, Any]]:
        messages = [message for message in list(stack.events.messages) if message.key == f"tickers.{exchange}"]
        assert all(len(message.json()) <= 100 for message in messages)
        assert all(message.delivery_mode == 1 for message in messages)
        return [row for message in messages for row in message.json()]

    # The newest price of a symbol wins under pressure, so this one may be missing there if another one follows at once.
    until(
        lambda: next((row for row in batches() if row["symbol"] == pair and row["price"] in prices), None),
        lambda: prices.add(float(new_price(stack, exchange))),
        f"tickers.{exchange}",
    )


def masked(event: dict[str, Any]) -> dict[str, Any]:
    """Without our own clock, which is all that some venues' prices have."""
    ours = {"eventTime", "time", "uniqueMessageId"} if family_of(event["exchange"]) in UNTIMED else {"eventTime"}
    return {name: value for name, value in event.items() if name not in ours}


def mapped_tickers(stack: Stack, exchange: str, channel: str, price: float) -> list[dict[str, Any]]:
    """What the frames with this price become, by `connector normalise`, after all earlier ones of their connection."""
    wire = symbol_of(stack, exchange).wire
    frames = stack.frames.market(
        lambda frame: frame.venue == family_of(exchange) and f'"{wire}"' in frame.text and _of(stack, exchange, frame)
    )
    rows: list[dict[str, Any]] = []
    for number, frame in enumerate(frames):
        if f"{price:.1f}" in frame.text:
            prior = [one.text for one in frames[:number] if one.link_id == frame.link_id]
            rows += replay(exchange, "ticker", frame.text, prior, context_of(stack, exchange))
    return [
        {name: value for name, value in row.items() if name != "channel"} for row in rows if row["channel"] == channel
    ]


def _of(stack: Stack, exchange: str, frame: Sent) -> bool:
    """Whether a frame belongs to this market: some venues use the same symbol names in several."""
    watches = stack.simulator.call(lambda hub, _: link.watches if (link := hub.links.get(frame.link_id)) else ())
    return any(watch.exchange == exchange for watch in watches)


def replay(
    exchange: str, feed: Feed, frame: str, prior: Sequence[str], context: dict[str, object]
) -> list[dict[str, Any]]:
    """The events of one frame after others, by `connector normalise`."""
    frames = [replayable(exchange, feed, text) for text in prior]
    raw = replayable(exchange, feed, frame)
    line = {"exchange": exchange, "feed": feed, "frame": raw, "context": {**context, "prior_frames": frames}}
    result = normalise(msgspec.json.encode(line), Instant(0.0, SystemClock().wall_ms()))
    assert "error" not in result, result
    rows: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(result["events"]))
    return rows


# --- candles ---


def ask(stack: Stack, exchange: str) -> str:
    """Ask for one hour of the first symbol; returns the channel."""
    interval = HOUR[family_of(exchange)]
    symbol = symbol_of(stack, exchange)
    pair = symbol.pair_id
    stack.simulator.begin_candles(exchange, symbol.wire, "1h", BEHIND)
    stack.backend.candle(pair, exchange, interval)
    return candle_channel(pair, exchange, interval)


@pytest.mark.parametrize("exchange", CANDLE_IDS)
def test_candles_arrive_as_the_family_does_it(stack: Stack, exchange: str) -> None:
    channel = ask(stack, exchange)
    wire = symbol_of(stack, exchange).wire
    starts: list[int] = []

    def close() -> None:
        new_price(stack, exchange)
        starts.append(stack.simulator.close_candle(exchange, wire, "1h"))

    if exchange.startswith(CLOSED_CANDLES):
        until(lambda: [e for e in stack.backend.events(channel) if e["start"] in starts], close, channel)
        close()
        wait_for(lambda: stack.backend.events(channel)[-1]["start"] == starts[-1], WAIT_S, "the next candle")
        published = [event["start"] for event in stack.backend.events(channel)]
        # Only closed candles, each once; the ones before the subscription was there are nobody's.
        assert published == sorted(set(published))
        assert set(published) <= set(starts)
    else:
        prices: list[Decimal] = []
        nudge = lambda: prices.append(new_price(stack, exchange))  # noqa: E731
        until(lambda: len(stack.backend.events(channel)) >= 2, nudge, channel)
        running = stack.backend.events(channel)[-1]["start"]
        close()
        until(lambda: stack.backend.events(channel)[-1]["start"] > running, nudge, "the next candle")
        published = [event["start"] for event in stack.backend.events(channel)]
        assert published == sorted(published)
        assert published.count(running) >= 1
    event = stack.backend.events(channel)[-1]
    assert set(event) == {"start", "open", "high", "low", "close", "volume", "uniqueMessageId"}
    assert isinstance(event["start"], int)
    assert event["start"] % 3_600_000 == 0
    assert all(isinstance(event[name], str) for name in ("open", "high", "low", "close", "volume"))
    check_candle_bodies(stack, exchange, channel)


def check_candle_bodies(stack: Stack, exchange: str, channel: str) -> None:
    """Both sinks carry the same bodies, and each of them is a frame of the venue (or its REST history)."""
    interval = HOUR[family_of(exchange)]
    pair = symbol_of(stack, exchange).pair_id
    key = f"candle.{exchange}.{interval}.{pair}"

    def bodies() -> list[str]:
        return [message.body.decode() for message in list(stack.events.messages) if message.key == key]

    closed = exchange.startswith(CLOSED_CANDLES)
    redis = stack.backend.on(channel)
    if closed:
        wait_for(lambda: bodies() == stack.backend.on(channel), WAIT_S, "equal candles on both sinks")
    else:
        # Running candles may be conflated to the newest on either sink.
        wait_for(lambda: bodies()[-1:] == stack.backend.on(channel)[-1:], WAIT_S, "the same newest candle")
    messages = [message for message in stack.events.messages if message.key == key]
    assert all((one.kind, one.delivery_mode) == ("candle", 2) for one in messages if closed)
    assert all(one.headers == {"exchange": exchange, "schema": 1} for one in messages)
    frames = stack.frames.market(
        lambda frame: frame.venue == family_of(exchange) and _of_candle(stack, exchange, frame)
    )
    context = {**context_of(stack, exchange), "requested_interval": interval}
    rows: list[dict[str, Any]] = []
    for number, frame in enumerate(frames):
        if number >= len(frames) - 60:
            prior = [one.text for one in frames[max(0, number - 20) : number] if one.link_id == frame.link_id]
            rows += replay(exchange, "candle", frame.text, prior, context)
    mapped = [{name: value for name, value in row.items() if name != "channel"} for row in rows]
    assert json.loads(redis[-1]) in mapped


def _of_candle(stack: Stack, exchange: str, frame: Sent) -> bool:
    watches = stack.simulator.call(lambda hub, _: link.watches if (link := hub.links.get(frame.link_id)) else ())
    return any(watch.exchange == exchange and watch.interval for watch in watches)


def test_asking_twice_is_asking_once(stack: Stack) -> None:
    channel = ask(stack, "okx")
    until(lambda: stack.backend.on(channel), lambda: _close(stack, "okx"), channel)
    sockets = stack.open_sockets("okx", "market")
    for _ in range(3):
        ask(stack, "okx")
    last = _close(stack, "okx")
    wait_for(lambda: stack.backend.events(channel)[-1]["start"] == last, WAIT_S, "a candle")
    assert [event["start"] for event in stack.backend.events(channel)].count(last) == 1
    assert stack.open_sockets("okx", "market") == sockets


def _close(stack: Stack, exchange: str, interval: str = "1h") -> int:
    new_price(stack, exchange)
    return stack.simulator.close_candle(exchange, symbol_of(stack, exchange).wire, interval)


def test_paper_ids_and_generic_codes_are_mapped(stack: Stack) -> None:
    stack.simulator.begin_candles("bybitLinear", "BTCUSDT", "15m", BEHIND)
    stack.backend.candle("BTCUSDT", "paperBybitLinear", "15")
    bybit = candle_channel("BTCUSDT", "bybitLinear", "15")
    until(lambda: stack.backend.on(bybit), lambda: _close(stack, "bybitLinear", "15m"), bybit)
    stack.backend.candle("BTC-USDT", "paperKucoin", "30m")
    kucoin = candle_channel("BTC-USDT", "kucoin", "30min")
    until(lambda: stack.backend.on(kucoin), lambda: new_price(stack, "kucoin"), kucoin)
    channels = {channel for channel, _ in stack.backend.messages}
    assert not [channel for channel in channels if "paper" in channel and "Candle" in channel]


@pytest.mark.parametrize(
    "request_",
    [
        {"symbol": "BTC-USD", "exchange": "coinbase", "interval": "5m"},
        {"symbol": "BTCUSDT", "exchange": "mexc", "interval": "1m"},
        {"symbol": "BTCUSDT", "exchange": "bitget", "interval": "3min"},
        {"symbol": "BTCUSDT", "exchange": "bybit", "interval": "8hour"},
        {"symbol": "NOSUCH", "exchange": "okx", "interval": "candle1m"},
    ],
)
def test_requests_that_no_venue_serves_harm_nobody(stack: Stack, request_: dict[str, str]) -> None:
    stack.backend.publish(CANDLE_QUEUE, request_)
    channel = candle_channel(request_["symbol"], request_["exchange"], request_["interval"])
    until(lambda: stack.backend.on(ask(stack, "okxLinear")), lambda: _close(stack, "okxLinear"), "another candle")
    last = _close(stack, "okxLinear")
    good = candle_channel(symbol_of(stack, "okxLinear").pair_id, "okxLinear", "candle1H")
    wait_for(lambda: stack.backend.events(good)[-1]["start"] == last, WAIT_S, "a candle after it")
    assert stack.backend.on(channel) == []


def test_coinbase_prices_have_a_twin_in_usdc(stack: Stack) -> None:
    twin = ticker_channel("BTC-USDC", "coinbase")
    prices: set[float] = set()
    until(
        lambda: any(event["price"] in prices for event in stack.backend.events(twin)),
        lambda: prices.add(float(new_price(stack, "coinbase"))),
        twin,
    )


def test_european_perpetuals_have_their_own_names(stack: Stack) -> None:
    wait_for(lambda: stack.backend.on(ticker_channel("BTC-USD_UM_XPERP", "okxLinear")), WAIT_S, "an X-Perp ticker")


def test_times_of_a_symbol_never_go_back(stack: Stack) -> None:
    newest: dict[str, int] = {}
    for channel, text in list(stack.backend.messages):
        if channel.startswith("trade@"):
            moment = json.loads(text)["time"]
            assert moment >= newest.get(channel, 0), channel
            newest[channel] = moment
    assert len(newest) > 40
