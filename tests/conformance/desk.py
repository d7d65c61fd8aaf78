"""One simulated market with an account, seen from the venue's side: moves prices, fills orders, knows what is right."""

from __future__ import annotations

import asyncio
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges.ids import family_of
from simulator._values import Candle, Order, Symbol, bucket_start
from simulator.simulator import Simulator

WAIT_S = 20.0
CLIENT_ID = "cid-conformance-1"

WIRES = {
    "binance": "BTCUSDT",
    "binanceUsdm": "BTCUSDT",
    "binanceCoinm": "BTCUSD_PERP",
    "binanceUS": "BTCUSDT",
    "kucoin": "BTC-USDT",
    "kucoinLinear": "XBTUSDTM",
    "kucoinInverse": "XBTUSDM",
    "bybit": "BTCUSDT",
    "bybitLinear": "BTCUSDT",
    "bybitInverse": "BTCUSD",
    "okx": "BTC-USDT",
    "okxLinear": "BTC-USDT-SWAP",
    "okxInverse": "BTC-USD-SWAP",
    "bitget": "BTCUSDT",
    "bitgetUsdm": "BTCUSDT",
    "bitgetCoinm": "BTCUSDZ26",
    "coinbase": "BTC-USD",
    "hyperliquid": "@107",
    "hyperliquidLinear": "BTC",
    "kraken": "BTC/USD",
    "krakenUsdm": "PF_XBTUSD",
    "whitebit": "BTC_USDT",
    "whitebitUsdm": "BTC_PERP",
}
"""Exchange id → the venue's code of the bitcoin market."""


LISTEN_KEYS = frozenset({"binanceUsdm", "binanceCoinm", "binanceUS"})


class Keys(NamedTuple):
    """What a person pastes into a client."""

    key: str
    secret: str
    phrase: str


class Step(NamedTuple):
    """An order update, as every SDK's own words are translated for comparison. `average` is None without a fill."""

    client_id: str
    status: str
    executed: Decimal
    average: Decimal | None


class Desk:
    """Everything about one exchange id. Any thread."""

    def __init__(self, sim: Simulator, exchange: str, *, unified: bool = False) -> None:
        self.sim = sim
        self.exchange = exchange
        self.venue = family_of(exchange)
        self.wire = WIRES[exchange]
        self.keys = new_keys(self.venue)
        if unified:  # the simulated KuCoin and Bitget tell unified accounts by their keys
            self.keys = self.keys._replace(key=f"unified-{self.keys.key}")
        if exchange == "krakenUsdm":  # the SDKs speak the classic API, which has keys of its own
            self.keys = self.keys._replace(key=f"derivatives-{self.keys.key}")
        self.account = sim.account(self.venue, *self.keys)
        self._moves = 0

    @property
    def symbol(self) -> Symbol:
        found = self.sim.hub.world.markets.symbol(self.exchange, self.wire)
        assert found is not None
        return found

    # --- prices ---

    def move(self) -> Decimal:
        """One trade at a price that was not there before; returns it."""
        self._moves += 1
        price = self.symbol.price + Decimal("1.5") * self._moves
        self.sim.set_price(self.exchange, self.wire, price)
        return price

    def candle(self, interval: str, start_ms: int) -> Candle:
        """The simulator's own candle."""
        exchange, wire = self.exchange, self.wire
        found = self.sim.call(
            lambda hub, now: hub.world.markets.candles(exchange, wire, interval, start_ms, start_ms, 1, now.wall_ms)
        )
        assert bucket_start(interval, start_ms) == found[0].start_ms
        return found[0]

    # --- orders ---

    def trade(self, seen: Callable[[int], None]) -> tuple[Order, Order, Order]:
        """Place an order, fill a part, fill the rest at a better price; `seen(n)` waits for the n-th state in between."""
        whole = self.symbol.quantity_decimals == 0
        quantity, part = (Decimal(10), Decimal(4)) if whole else (Decimal("0.01"), Decimal("0.004"))
        limit = self.symbol.price - 100
        placed = self.sim.place(
            self.account,
            self.exchange,
            symbol=self.wire,
            side="BUY",
            quantity=quantity,
            price=limit,
            client_id=CLIENT_ID,
        )
        seen(1)
        partly = self.sim.fill(placed.order_id, quantity=part)
        seen(2)
        filled = self.sim.fill(placed.order_id, price=limit - 10)
        seen(3)
        return placed, partly, filled

    def steps(self, orders: tuple[Order, ...]) -> list[Step]:
        """What a correct client tells of these states."""
        return [Step(CLIENT_ID, o.status, o.executed, o.average if o.executed else None) for o in orders]

    # --- what the simulator saw ---

    def followed(self) -> bool:
        """Some connection has proved that it may see the account."""
        return any(self.account in row["accounts"] for row in self.sim.connections())

    def ready(self) -> bool:
        """A client logged in and subscribed to account events (on listen-key sockets those are one)."""
        return self.followed() and (self.exchange in LISTEN_KEYS or bool(self.notes("subscribe")))

    def notes(self, what: str) -> list[str]:
        return [str(row["detail"]) for row in self.sim.events("notes") if row["what"] == what]

    def refused(self) -> bool:
        """A login or a signed call was refused."""
        calls = any(400 <= row["status"] < 500 for row in self.sim.events("calls"))
        return calls or bool(self.notes("login_refused"))


def assert_same(found: list[Step], expected: list[Step]) -> None:
    """Equal, up to the rounding of averages: those of inverse contracts never end, and venues cut them differently."""
    assert [step[:3] for step in found] == [step[:3] for step in expected]
    for got, right in zip(found, expected, strict=True):
        if right.average is None or got.average is None:
            assert got.average is right.average is None
        else:
            assert abs(got.average / right.average - 1) < Decimal("1e-6"), (got, right)


def binance_step(event: dict[str, Any]) -> Step | None:
    """An account event of any Binance market in the venue's own words; None for what is no order update."""
    if event.get("e") == "executionReport":
        executed, value = Decimal(event["z"]), Decimal(event["Z"])
        return Step(event["c"], event["X"], executed, value / executed if executed else None)
    if event.get("e") == "ORDER_TRADE_UPDATE":
        order = event["o"]
        executed, average = Decimal(order["z"]), Decimal(order["ap"])
        return Step(order["c"], order["X"], executed, average if executed else None)
    return None


def new_keys(venue: str, number: int = 1) -> Keys:
    if venue == "coinbase":
        name = f"organizations/11111111-1111-1111-1111-111111111111/apiKeys/22222222-2222-2222-2222-{number:012}"
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        return Keys(name, pem, "")
    if venue == "hyperliquid":  # the account's address; nothing is signed
        return Keys(f"0x{number:040x}", "", "")
    phrase = "" if venue in {"binance", "bybit", "kraken"} else f"conformance-phrase-{number}"
    secret = f"conformance-secret-{number}"
    if venue == "kraken":
        secret = b64encode(secret.encode()).decode()
    return Keys(f"conformance-key-{number}", secret, phrase)


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition that no event announces. Not for the thread of an event loop."""
    pause, deadline = threading.Event(), time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"did not happen in time: {what}"
        pause.wait(0.01)


async def soon(condition: Callable[[], Any], what: str) -> None:
    """`until` for coroutines."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"did not happen in time: {what}"
        await asyncio.sleep(0.01)


class Box:
    """Frames that an SDK's callback delivers, from whatever thread."""

    def __init__(self) -> None:
        self._when = threading.Condition()
        self._items: list[Any] = []

    def put(self, item: Any) -> None:
        with self._when:
            self._items.append(item)
            self._when.notify_all()

    def items(self) -> list[Any]:
        with self._when:
            return list(self._items)

    def wait(self, match: Callable[[Any], bool], what: str) -> Any:
        """The first item that matches, now or later."""
        with self._when:
            arrived = self._when.wait_for(lambda: any(match(item) for item in self._items), WAIT_S)
            assert arrived, f"{what} did not come; got {self._items[-5:]}"
            return next(item for item in self._items if match(item))

    def wait_count(self, count: int, match: Callable[[Any], bool], what: str) -> list[Any]:
        """The items that match, once there are `count`."""
        with self._when:
            arrived = self._when.wait_for(lambda: sum(map(match, self._items)) >= count, WAIT_S)
            assert arrived, f"{what}: fewer than {count}; got {self._items[-5:]}"
            return [item for item in self._items if match(item)]
