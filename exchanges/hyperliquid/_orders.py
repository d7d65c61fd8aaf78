"""Orders and fills as Hyperliquid tells them, and the event of an order state (docs/venues/hyperliquid.md 5 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from exchanges._numbers import decimal, divide, multiply, order_id, plain
from exchanges.events import ExecutionReport

FILLED: Final = "filled"
ALIVE: Final = frozenset({"open", "triggered"})
"""A triggered order goes on to be open or filled."""
CANCELED: Final = frozenset(
    {
        "canceled",
        "internalCancel",
        "marginCanceled",
        "outcomeSettledCanceled",
        "vaultWithdrawalCanceled",
        "openInterestCapCanceled",
        "selfTradeCanceled",
        "reduceOnlyCanceled",
        "siblingFilledCanceled",
        "delistedCanceled",
        "liquidatedCanceled",
        "scheduledCancel",
    }
)
REJECTED: Final = frozenset(
    {
        "rejected",
        "tickRejected",
        "tooManyOpenOrdersRejected",
        "minTradeNtlRejected",
        "perpMarginRejected",
        "reduceOnlyRejected",
        "badAloPxRejected",
        "iocCancelRejected",
        "badTriggerPxRejected",
        "marketOrderNoLiquidityRejected",
        "positionIncreaseAtOpenInterestCapRejected",
        "positionFlipAtOpenInterestCapRejected",
        "tooAggressiveAtOpenInterestCapRejected",
        "openInterestIncreaseRejected",
        "insufficientSpotBalanceRejected",
        "oracleRejected",
        "perpMaxPositionRejected",
    }
)
KNOWN_STATUSES: Final = ALIVE | CANCELED | REJECTED | {FILLED}
_ENDINGS: Final = ("Canceled", "Rejected")
"""The venue adds reasons for an end; their words end like this."""
MODIFIABLE_END: Final = "canceled"
"""The state of an order that was cancelled by its owner, or modified: then its client id goes on under a new order id."""
TOLERANCE: Final = Decimal("1e-9")
_SIDES: Final = {"B": "BUY", "A": "SELL"}
"""B is the bid side, A the ask side (bug D15)."""
_EXACT: Final = Context(prec=60)
_WIDE: Final = Context(prec=250)
_MAX_DECIMALS: Final = 40


class Order(msgspec.Struct, frozen=True, rename="camel"):
    """The order inside an update, and a row of the open orders. Figures are decimal text, times ms."""

    coin: str
    oid: int
    side: str | None = None
    limit_px: str | None = None
    sz: str | None = None
    timestamp: int | None = None
    orig_sz: str | None = None
    cloid: str | None = None

    @property
    def placed_ms(self) -> int:
        """0 = not told."""
        return self.timestamp or 0


class Update(msgspec.Struct, frozen=True, rename="camel"):
    """An element of `orderUpdates`, of `historicalOrders`, and the answer about one order."""

    order: Order
    status: str
    status_timestamp: int | None = None

    @property
    def moment_ms(self) -> int:
        """When this state began; else when the order was placed, 0 = neither is told."""
        return self.status_timestamp or self.order.placed_ms

    @property
    def size(self) -> Decimal:
        return decimal(self.order.orig_sz or self.order.sz)

    @property
    def executed(self) -> Decimal:
        """What the order's own figures say: all of it once it is filled."""
        if self.status == FILLED:
            return self.size
        return max(Decimal(0), self.size - decimal(self.order.sz))


class Fill(msgspec.Struct, frozen=True, rename="camel"):
    """An element of `userFills`, on the stream and over REST alike. Unique by `tid`."""

    coin: str
    px: str
    sz: str
    time: int
    oid: int
    tid: int
    cloid: str | None = None
    fee: str | None = None
    fee_token: str | None = None


class Sums(NamedTuple):
    """What fills of one order add up to."""

    size: Decimal
    value: Decimal


def sums(fills: Collection[Fill]) -> Sums:
    size = value = Decimal(0)
    for fill in fills:
        amount = decimal(fill.sz)
        size = _EXACT.add(size, amount)
        value = _EXACT.add(value, _EXACT.multiply(amount, decimal(fill.px)))
    return Sums(size, value)


class Names(NamedTuple):
    """How a market's names are told: wire code → pair id, and fee token → asset."""

    pair: Callable[[str], str]
    asset: Callable[[str], str]


class Totals(NamedTuple):
    """Cumulative quantity and value of an order, and its price."""

    quantity: Decimal
    value: Decimal
    price: str


NOTHING: Final = Sums(Decimal(0), Decimal(0))


class Told(NamedTuple):
    """What was published of a client order before this connection: cumulative, up to a moment of one order id."""

    sums: Sums = NOTHING
    order_id: int = 0
    time_ms: int = 0

    def and_then(self, fills: Collection[Fill]) -> Sums:
        """What was published, and the fills that came after it."""
        new = sums([f for f in fills if f.oid > self.order_id or (f.oid == self.order_id and f.time > self.time_ms)])
        return Sums(_EXACT.add(self.sums.size, new.size), _EXACT.add(self.sums.value, new.value))


class Past(NamedTuple):
    """What is known of an order beside its newest state."""

    fills: Collection[Fill] = ()
    """Of its client order, under whatever order id."""
    before: Sums = NOTHING
    """What earlier order ids of its client order executed."""
    told: Told = Told()
    trusted: bool = True
    """Every fill comes over this connection, so those that are known are all so far."""


def totals(update: Update, past: Past) -> Totals:
    """The cumulative figures of a client order in a state of its newest order id (docs/venues/hyperliquid.md 6).

    What its fills don't explain counts as it was published before this connection, and the rest at the limit prices.
    """
    order, known, told = update.order, sums(past.fills), past.told
    executed = _EXACT.add(past.before.size, update.executed)
    limit_px = order.limit_px or "0"
    if not executed:
        return Totals(executed, executed, limit_px)
    exact = abs(known.size - executed) <= TOLERANCE
    if past.fills and update.status == FILLED and (exact or not told.sums.size):
        average = divide(known.value, known.size)
        return Totals(executed, known.value if exact else multiply(average, executed), _price(average, order))
    complete = (past.trusted and update.status in ALIVE) or exact or known.size > executed
    if past.fills and update.status != FILLED and complete:
        return Totals(known.size, known.value, _price(divide(known.value, known.size), order))
    since = told.and_then(past.fills)
    if told.sums.size and abs(since.size - executed) <= TOLERANCE:
        return Totals(executed, since.value, _price(divide(since.value, executed), order))
    missing = max(executed - known.size, Decimal(0))
    published = min(missing, told.sums.size)
    at_limits = _EXACT.add(past.before.value, multiply(update.executed, decimal(limit_px)))
    value = known.value + multiply(published, divide(told.sums.value, told.sums.size))
    value += multiply(missing - published, divide(at_limits, executed))
    if not past.fills and not published and not past.before.size:
        return Totals(executed, value, limit_px)
    return Totals(executed, value, _price(divide(value, executed), order))


def _price(average: Decimal, order: Order) -> str:
    """An average with as many decimals as the limit price is written with."""
    decimals = min(len((order.limit_px or "").partition(".")[2]), _MAX_DECIMALS)
    return format(average.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _WIDE), "f")


def report(update: Update, past: Past, names: Names) -> ExecutionReport:
    """The event of an order state, priced with the fills that are known. The order must have a client id and a known side."""
    order = update.order
    quantity, value, price = totals(update, past)
    client_id = order.cloid or ""
    executed = _EXACT.add(past.before.size, update.executed)
    if update.status == FILLED:
        status = "FILLED"
    elif update.status in ALIVE:
        status = "PARTIALLY_FILLED" if executed else "NEW"
    else:
        status = "CANCELED"
    whole = abs(sums(past.fills).size - executed) <= TOLERANCE
    fee, fee_asset = _fee(past.fills, names) if whole else (UNSET, UNSET)
    size = order.orig_sz or order.sz or "0"
    if past.before.size:
        size = plain(_EXACT.add(past.before.size, update.size))
    identity = (order.oid, update.status, update.moment_ms, order.sz, plain(quantity), plain(value))
    return ExecutionReport(
        symbol=names.pair(order.coin),
        new_client_order_id=client_id,
        original_client_order_id=client_id,
        order_id=order_id(order.oid),
        order_status=status,
        # There are no market orders: those are IOC limits with an aggressive price.
        order_type="LIMIT",
        side=_SIDES.get(order.side or "", ""),
        price=plain(price),
        quantity=plain(size),
        total_trade_quantity=plain(quantity),
        total_quote_trade_quantity=plain(value),
        creation_time=update.moment_ms,
        event_time=update.moment_ms,
        order_time=update.moment_ms,
        unique_message_id=":".join(map(str, identity)),
        liquidation=False,
        fee_paid=fee,
        fee_asset=fee_asset,
    )


def _fee(fills: Collection[Fill], names: Names) -> tuple[str | msgspec.UnsetType, str | msgspec.UnsetType]:
    """The whole fee, where it was paid in one asset; a rebate is no fee."""
    tokens = {fill.fee_token or "" for fill in fills}
    paid = sum((decimal(fill.fee) for fill in fills), Decimal(0))
    if len(tokens) != 1 or paid <= 0 or "" in tokens:
        return UNSET, UNSET
    return plain(paid), names.asset(tokens.pop())


def listed(status: str) -> bool:
    """Whether the meaning of a status is known."""
    return status in KNOWN_STATUSES or status.endswith(_ENDINGS)


def refused(status: str) -> bool:
    """Whether the venue never took the order."""
    return status in REJECTED or status.endswith("Rejected")


def odd(update: Update) -> str:
    """Why nothing can be told of an order state; empty if it can."""
    if not listed(update.status):
        return f"its state {update.status[:40]!r} is none that is known"
    if update.order.side not in _SIDES:
        return "the venue does not tell its side"
    if update.status != FILLED and bool(update.order.orig_sz) != bool(update.order.sz):
        return "the venue tells only one of its sizes"  # what is filled is their difference
    if not update.size and update.status in ALIVE | {FILLED}:
        return "the venue does not tell its size"
    return ""
