"""What must hold of price feeds: they are announced, they flow, and no price or candle goes back (contract 2.6, 2.7, 3.1)."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from connector.core.channels import candle_channel
from exchanges import closed_candles
from harness.worlds.failure import Failure
from harness.worlds.world import World

SILENT_S: Final = 75.0
"""No price of a market, or no candle of a topic, for so long at the end: it does not flow."""


def prices(world: World) -> Iterator[Failure]:
    roles = {process.environ.get("PRICEROLE", "") for process in world.living()}
    candles = bool(roles & {"all", "candle"})
    told = [row for row in world.record.services if row.body.get("restart") == "priceConnector"]
    if candles and not told:
        yield Failure("prices not announced", "a candle service runs and nobody was told a boot id")
    rows: dict[str, list[tuple[float, bytes]]] = defaultdict(list)
    for at, channel, body in world.record.prices:
        rows[channel].append((at, body))
    if roles & {"all", "ticker"}:
        yield from _tickers(world, rows)
    if candles:
        yield from _candles(world, rows)


def _tickers(world: World, rows: dict[str, list[tuple[float, bytes]]]) -> Iterator[Failure]:
    flowing = set()
    for channel, found in rows.items():
        if not channel.startswith("trade@"):
            continue
        exchange = channel.rpartition("@")[2]
        if world.kernel.now - found[-1][0] < SILENT_S:
            flowing.add(exchange)
        times = [int(json.loads(body)["time"]) for _, body in found]
        if any(later < earlier for earlier, later in itertools.pairwise(times)):
            yield Failure("price went back", f"{channel}: an older price after a newer one")
    for exchange in sorted(set(world.exchanges) - flowing):
        yield Failure("no prices", f"{exchange}: no ticker in the last {SILENT_S:.0f} s")


def _candles(world: World, rows: dict[str, list[tuple[float, bytes]]]) -> Iterator[Failure]:
    for symbol, exchange, interval in world.backend.topics:
        channel = candle_channel(symbol, exchange, interval)
        found = rows.get(channel, [])
        if not found or world.kernel.now - found[-1][0] > SILENT_S:
            yield Failure("no candles", f"{channel}: none in the last {SILENT_S:.0f} s")
        starts = [int(json.loads(body)["start"]) for _, body in found]
        closed = closed_candles(exchange)
        if any(later < earlier or (closed and later == earlier) for earlier, later in itertools.pairwise(starts)):
            yield Failure("candle went back", f"{channel}: an older candle after a newer one, or one twice")
