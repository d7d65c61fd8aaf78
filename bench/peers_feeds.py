"""The frames that `bench.peers` has read, and who reads them: this service, ccxt.pro, cryptofeed."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

from exchanges import venue_of
from exchanges._adapter import EmitTickers, Instant, TickerSubscription
from exchanges._venue import Setup
from exchanges.events import encode
from exchanges.ids import family_of
from exchanges.instruments import SymbolTable
from harness.servers import ROOT

NOW: Final = Instant(1.0, 1_796_000_000_000)
EVENTS, BYTES, CCXT, CRYPTOFEED = "service, events", "service, published bytes", "ccxt.pro", "cryptofeed"
PEERS: Final = (EVENTS, BYTES, CCXT, CRYPTOFEED)
FEEDS: Final = {
    "binance": "spot all-market mini ticker array, combined socket",
    "bybitLinear": "linear ticker snapshot",
    "okx": "spot ticker",
}
"""Exchange id → the golden case whose first row is the pattern of all."""
Reader = Callable[[Sequence[bytes]], int]
"""Reads frames one after the other; how many tickers they gave."""


class Missing(Exception):
    """A peer that is not installed; the text says what to do."""


def bases(rows: int) -> list[str]:
    return [f"COIN{number}" for number in range(rows)]


def wire(exchange: str, base: str) -> str:
    return f"{base}-USDT" if exchange == "okx" else f"{base}USDT"


def frames(exchange: str, rows: int) -> list[bytes]:
    """One frame with all symbols where the venue sends arrays, else one for each symbol."""
    return spread(exchange, _golden(exchange), [wire(exchange, base) for base in bases(rows)])


def _golden(exchange: str) -> Any:
    path = ROOT / "tests" / "golden" / f"{family_of(exchange)}.jsonl"
    for line in path.read_text().splitlines():
        case = json.loads(line)
        if case["case"] == FEEDS[exchange]:
            return case["frame"]
    raise LookupError(f"no golden case {FEEDS[exchange]!r}")


def spread(exchange: str, frame: Any, wires: Sequence[str]) -> list[bytes]:
    """The frame of one symbol as frames of many."""
    if exchange == "binance":
        # As on a socket of one stream, which is how ccxt connects; the service reads both forms.
        found: list[Any] = [[{**frame["data"][0], "s": one} for one in wires]]
    elif exchange == "okx":
        found = [
            {"arg": {**frame["arg"], "instId": one}, "data": [{**frame["data"][0], "instId": one}]} for one in wires
        ]
    else:
        found = [{**frame, "topic": f"tickers.{one}", "data": {**frame["data"], "symbol": one}} for one in wires]
    return [json.dumps(one, separators=(",", ":")).encode() for one in found]


def reader(peer: str, exchange: str, rows: int) -> Reader | None:
    """None: the peer has no reader for this market's frames. Raises `Missing`."""
    if peer == CCXT:
        return _ccxt(exchange, rows)
    if peer == CRYPTOFEED:
        return _cryptofeed(exchange, rows)
    return _service(exchange, rows, publish=peer == BYTES)


def _service(exchange: str, rows: int, *, publish: bool) -> Reader:
    venue = venue_of(exchange)
    if venue is None:
        raise LookupError(f"no venue has {exchange}")
    adapter = venue.ticker(Setup(exchange=exchange, new_id=lambda: "1", table=SymbolTable))
    wires = () if exchange == "binance" else tuple(wire(exchange, base) for base in bases(rows))
    adapter.add(TickerSubscription(stream_id="bench", exchange=exchange, symbols=wires), NOW)

    def read(raw: Sequence[bytes]) -> int:
        count = 0
        for frame in raw:
            for output in adapter.received(frame, NOW):
                if isinstance(output, EmitTickers):
                    count += len(output.tickers)
                    if publish:
                        for ticker in output.tickers:
                            encode(ticker)
        return count

    return read


def _imported(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"without {package} ({error.name}): pip install -e '.[peers]'") from None


def _ccxt(exchange: str, rows: int) -> Reader:
    """Its `handle_message` on decoded JSON, as its socket client calls it."""
    pro = _imported("ccxt.pro", "ccxt")
    loads = _imported("ccxt.async_support.base.ws.client", "ccxt").json_parser.loads
    venue = getattr(pro, family_of(exchange))()
    linear = exchange == "bybitLinear"
    venue.set_markets(
        [
            {
                "id": wire(exchange, base), "symbol": f"{base}/USDT:USDT" if linear else f"{base}/USDT",
                "base": base, "quote": "USDT", "settle": "USDT" if linear else None, "baseId": base, "quoteId": "USDT",
                "type": "swap" if linear else "spot", "spot": not linear, "swap": linear, "contract": linear,
                "linear": linear or None, "inverse": False, "active": True, "precision": {}, "limits": {},
            }
            for base in bases(rows)
        ]
    )  # fmt: skip
    seen: list[str] = []
    url = {"binance": "wss://stream.binance.com:9443/ws/1", "bybitLinear": "wss://stream.bybit.com/v5/public/linear"}
    client = SimpleNamespace(
        url=url.get(exchange, ""), subscriptions={}, futures={}, lastPong=0, last_pong=0,
        resolve=lambda result, name: seen.append(name),
    )  # fmt: skip

    def read(raw: Sequence[bytes]) -> int:
        seen.clear()
        venue.tickers.clear()
        for frame in raw:
            venue.handle_message(client, loads(frame))
        return len(venue.tickers)

    return read


def _cryptofeed(exchange: str, rows: int) -> Reader | None:
    """Its `message_handler`, one ticker a callback. Of Binance it reads another channel (`bookTicker`)."""
    names = {"okx": "OKX", "bybitLinear": "Bybit"}
    if exchange not in names:
        return None
    exchanges, defines = _imported("cryptofeed.exchanges", "cryptofeed"), _imported("cryptofeed.defines", "cryptofeed")
    known = _imported("cryptofeed.symbols", "cryptofeed").Symbols
    made = getattr(exchanges, names[exchange])
    suffix = "" if exchange == "okx" else "-PERP"
    symbols = {f"{base}-USDT{suffix}": wire(exchange, base) for base in bases(rows)}
    known.set(made.id, symbols, {"instrument_type": {}, "tick_size": {}})
    count = 0

    async def heard(*_: object) -> None:
        nonlocal count
        count += 1

    feed = made(symbols=list(symbols), channels=[defines.TICKER], callbacks={defines.TICKER: heard})
    line = SimpleNamespace(
        address="wss://stream.bybit.com/v5/public/linear",
        uuid="bench",
        subscription={feed.std_channel_to_exchange(defines.TICKER): list(symbols.values())},
    )
    loop = asyncio.new_event_loop()

    async def read_all(raw: Sequence[bytes]) -> None:
        for frame in raw:
            await feed.message_handler(frame, line, 1.0)

    def read(raw: Sequence[bytes]) -> int:
        nonlocal count
        count = 0
        loop.run_until_complete(read_all(raw))
        return count

    return read
