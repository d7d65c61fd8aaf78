"""Values of the simulated world: coins, symbols, candles, orders, wallets, and the changes that the engine emits.

All immutable. Quantities and prices are `Decimal`; times are ms since the epoch on the venue's clock.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec

ZERO: Final = Decimal(0)

Side = Literal["BUY", "SELL"]
Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "REJECTED"]
OrderKind = Literal["NEW", "TRADE", "CANCELED", "EXPIRED", "REJECTED", "AMENDED"]
KeyKind = Literal["hmac", "rsa", "ed25519", "ecdsa"]

TERMINAL: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "REJECTED"})

INTERVALS: Final[dict[str, int]] = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "1w": 604_800_000,
}
"""Canonical interval names (every half translates its venue's codes to these) and their length in ms."""

_MONDAY_MS: Final = 4 * 86_400_000
"""1970-01-05 was a Monday; weekly candles open on Mondays 00:00 UTC on every venue that is played."""


def bucket_start(interval: str, time_ms: int) -> int:
    """Opening time of the candle of a canonical interval that contains `time_ms` (UTC grid)."""
    length = INTERVALS[interval]
    shift = _MONDAY_MS if interval == "1w" else 0
    return (time_ms - shift) // length * length + shift


# --- markets ---


class Coin(msgspec.Struct, frozen=True):
    """A base currency that exists on all simulated venues, with its price in US dollars."""

    name: str
    price: Decimal
    decimals: int
    """Digits of a dollar price after the point."""


class Symbol(msgspec.Struct, frozen=True, kw_only=True):
    """One tradable instrument of one exchange id, as the venue half defines it."""

    wire: str
    """The venue's own code: key of this symbol everywhere in the simulator."""
    base: str
    quote: str
    price: Decimal
    """Price at the start of the walk."""
    settle: str = ""
    """Margin currency of a contract; empty = spot."""
    contract_size: Decimal = Decimal(1)
    """Units of `base` (or of `quote` when `inverse`) in one contract; 1 for spot and for base-sized futures."""
    inverse: bool = False
    price_decimals: int = 2
    quantity_decimals: int = 5
    kind: str = ""
    """Product type in the venue's words, for the half's own use."""
    pair: str = ""
    """The platform's pair id (contract 1.6), which paper trading uses; empty = the same as `wire`."""

    @property
    def pair_id(self) -> str:
        return self.pair or self.wire

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Worth of a quantity: in `quote`, for inverse contracts in the coin."""
        units = quantity * self.contract_size
        if not self.inverse:
            return units * price
        return units / price if price else ZERO


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """All symbols of one exchange id. Markets with the same `wallet` share balances (unified accounts)."""

    exchange: str
    wallet: str
    symbols: tuple[Symbol, ...]


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Ticker state of one symbol: last price and 24 h figures."""

    symbol: Symbol
    time_ms: int
    price: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    """24 h volume in base units (contracts for contract-sized symbols)."""
    quote_volume: Decimal
    bid: Decimal
    ask: Decimal
    size: Decimal
    """Size of the last trade; also stands at the best bid and ask."""
    trades: int


class Tick(msgspec.Struct, frozen=True):
    """One step of a market: the quotes that changed. `number` rises by 1 per exchange: a key for caches of frames."""

    exchange: str
    number: int
    time_ms: int
    """Send time; stands in frames wherever the venue writes its event time."""
    quotes: tuple[Quote, ...]
    walk: bool = True
    """A regular step of the whole market; False = one price that was set."""
    variant: int = 0
    """Above 0 in firehose mode: ticks with the same variant carry the same quotes, so that a half may keep a template."""


class Candle(msgspec.Struct, frozen=True, kw_only=True):
    """One candle; `start_ms` … `start_ms + length - 1`."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int


class CandleUpdate(msgspec.Struct, frozen=True):
    """State of a running candle, or, exactly once per candle, its final state (`closed`)."""

    exchange: str
    symbol: Symbol
    interval: str
    """Canonical name."""
    candle: Candle
    closed: bool
    time_ms: int


# --- accounts ---


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials that an account may log in with."""

    key: str
    secret: str
    """HMAC secret, or the PEM text of a private or public key."""
    passphrase: str = ""
    kind: KeyKind = "hmac"
    rejected: str = ""
    """The venue's own error code with which every use is refused; empty = accepted. Set by the `reject_key` fault."""

    def __repr__(self) -> str:
        return f"ApiKey({self.key[:4]}…, {self.kind})"


class Holding(msgspec.Struct, frozen=True):
    """Balance of one asset in one wallet; `delta` = change of free + locked by the step that is reported."""

    asset: str
    free: Decimal
    locked: Decimal
    delta: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Net position of a futures symbol (signed, in the symbol's quantity unit)."""

    symbol: str
    amount: Decimal
    entry: Decimal
    realised: Decimal
    side: str = "BOTH"
    updated_ms: int = 0


LEVERAGE: Final = Decimal(20)
"""Of every account and symbol; all margin is cross."""


def unrealised(position: Position, quote: Quote) -> Decimal:
    """Profit of a position at the last price, in the settle asset."""
    symbol, units = quote.symbol, position.amount * quote.symbol.contract_size
    if not position.entry:
        return ZERO
    if symbol.inverse:
        return units / position.entry - units / quote.price
    return units * (quote.price - position.entry)


def liquidation_price(position: Position, symbol: Symbol) -> Decimal:
    """Where the margin of the position alone would be lost; 0 without one."""
    part = 1 / LEVERAGE if position.amount < 0 else -1 / LEVERAGE
    price = position.entry * (1 + part) if position.amount else ZERO
    return price.quantize(Decimal(1).scaleb(-symbol.price_decimals))


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One execution."""

    exchange: str
    trade_id: int
    """Rises by 1 per exchange id."""
    order_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    value: Decimal
    """`Symbol.value` of quantity and price."""
    fee: Decimal
    """Positive = paid by the account."""
    fee_asset: str
    maker: bool
    time_ms: int
    realised: Decimal = ZERO


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """State of an order after its newest change; totals are cumulative."""

    account: str
    exchange: str
    symbol: str
    order_id: int
    """Rises by 1 per exchange id; a half may write it in the venue's style."""
    client_id: str
    side: Side
    order_type: str
    """`LIMIT`, `MARKET`, or the venue's own further types in Binance spelling (`STOP_LOSS_LIMIT`, `LIMIT_MAKER` …)."""
    time_in_force: str
    price: Decimal
    """0 for market orders."""
    quantity: Decimal
    status: Status
    created_ms: int
    updated_ms: int
    stop_price: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    """Size in quote of a market order that was placed by funds; 0 = placed by quantity."""
    executed: Decimal = ZERO
    value: Decimal = ZERO
    """Cumulative executed value (`Symbol.value`)."""
    average: Decimal = ZERO
    """Average fill price; 0 before a fill."""
    fee: Decimal = ZERO
    fee_asset: str = ""
    reduce_only: bool = False
    position_side: str = "BOTH"
    liquidation: bool = False
    reject_reason: str = ""
    working: bool = True
    replaces: int = 0
    """Id of the order that a modify made this one of; 0 = it was placed."""
    replaced_by: int = 0
    """Id of the order that goes on under the same client id; 0 = none."""

    @property
    def open(self) -> bool:
        return self.status not in TERMINAL

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed


# --- changes ---


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """An order went one step further. `seq` rises by 1 over the whole engine, `time_ms` strictly per account."""

    seq: int
    time_ms: int
    account: str
    exchange: str
    kind: OrderKind
    order: Order
    trade: Trade | None = None
    request_id: str = ""
    """Client id of the cancel or amend request, where the venue reports it separately (Binance spot)."""


class WalletChange(msgspec.Struct, frozen=True, kw_only=True):
    """Balances or positions changed; only the changed ones are listed, with absolute values."""

    seq: int
    time_ms: int
    account: str
    exchange: str
    """Exchange id whose activity caused it (for a deposit: any id of the wallet)."""
    wallet: str
    reason: str
    """`ORDER`, `DEPOSIT`, `WITHDRAW`, `FUNDING_FEE` …, Binance's words."""
    holdings: tuple[Holding, ...] = ()
    positions: tuple[Position, ...] = ()
    order_seq: int = 0
    """`seq` of the order change that it belongs to; 0 = none."""


Change = OrderChange | WalletChange


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal: what really happened to an order, the oracle of tests."""

    seq: int
    time_ms: int
    account: str
    exchange: str
    symbol: str
    order_id: int
    client_id: str
    status: Status
    kind: OrderKind
    executed: Decimal
    value: Decimal
    trade_id: int
    """-1 when this step is not a trade."""
