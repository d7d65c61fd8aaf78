"""Orders and fills as Hyperliquid tells them, and the event of an order state (venue file, sections 5 and 6)."""

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
        "marginCanceled",
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
"""The venue adds statuses; one that is not listed ends the order, too."""
TOLERANCE: Final = Decimal("1e-9")
_SIDES: Final = {"B": "BUY", "A": "SELL"}
"""B is the bid side, A the ask side (bug D15)."""
_EXACT: Final = Context(prec=60)
_WIDE: Final = Context(prec=250)
_MAX_DECIMALS: Final = 40


class Order(msgspec.Struct, frozen=True, rename="camel"):
    """The order inside an update, and a row of the open orders. Figures are decimal text, times ms."""

    coin: str
    side: str
    limit_px: str
    sz: str
    oid: int
    timestamp: int = 0
    orig_sz: str = ""
    cloid: str | None = None


class Update(msgspec.Struct, frozen=True, rename="camel"):
    """An element of `orderUpdates`, of `historicalOrders`, and the answer about one order."""

    order: Order
    status: str
    status_timestamp: int

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
    fee: str = "0"
    fee_token: str = ""


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


def totals(update: Update, fills: Collection[Fill], *, trusted: bool, told: Sums) -> Totals:
    """The figures of an order state (table of section 6).

    `trusted`: every fill of the order comes over this connection, so those that are known are all so far. Else what they
    don't explain counts as it was `told` before this connection, and as for the rest at the limit price.
    """
    limit, executed, known = decimal(update.order.limit_px), update.executed, sums(fills)
    if not executed:
        return Totals(executed, executed, update.order.limit_px)
    exact = abs(known.size - executed) <= TOLERANCE
    if fills and update.status == FILLED and (exact or not told.size):
        average = divide(known.value, known.size)
        return Totals(executed, known.value if exact else multiply(average, executed), _price(average, update))
    if fills and update.status != FILLED and ((trusted and update.status in ALIVE) or exact or known.size > executed):
        return Totals(known.size, known.value, _price(divide(known.value, known.size), update))
    missing = max(executed - known.size, Decimal(0))
    before = min(missing, told.size)
    value = known.value + multiply(before, divide(told.value, told.size)) + multiply(missing - before, limit)
    if not fills and not before:
        return Totals(executed, value, update.order.limit_px)
    return Totals(executed, value, _price(divide(value, executed), update))


def _price(average: Decimal, update: Update) -> str:
    """An average with as many decimals as the limit price is written with."""
    decimals = min(len(update.order.limit_px.partition(".")[2]), _MAX_DECIMALS)
    return format(average.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _WIDE), "f")


def report(
    update: Update, fills: Collection[Fill], names: Names, *, trusted: bool = True, told: Sums = NOTHING
) -> ExecutionReport:
    """The event of an order state, priced with the fills that are known. The order must have a client id."""
    order = update.order
    quantity, value, price = totals(update, fills, trusted=trusted, told=told)
    client_id = order.cloid or ""
    if update.status == FILLED:
        status = "FILLED"
    elif update.status in ALIVE:
        status = "PARTIALLY_FILLED" if update.executed else "NEW"
    else:
        status = "CANCELED"
    fee, fee_asset = _fee(fills, names) if abs(sums(fills).size - update.executed) <= TOLERANCE else (UNSET, UNSET)
    identity = (order.oid, update.status, update.status_timestamp, order.sz, plain(quantity), plain(value))
    return ExecutionReport(
        symbol=names.pair(order.coin),
        new_client_order_id=client_id,
        original_client_order_id=client_id,
        order_id=order_id(order.oid),
        order_status=status,
        # There are no market orders: those are IOC limits with an aggressive price.
        order_type="LIMIT",
        side=_SIDES.get(order.side, "BUY"),
        price=plain(price),
        quantity=plain(order.orig_sz or order.sz),
        total_trade_quantity=plain(quantity),
        total_quote_trade_quantity=plain(value),
        creation_time=update.status_timestamp,
        event_time=update.status_timestamp,
        order_time=update.status_timestamp,
        unique_message_id=":".join(map(str, identity)),
        liquidation=False,
        fee_paid=fee,
        fee_asset=fee_asset,
    )


def _fee(fills: Collection[Fill], names: Names) -> tuple[str | msgspec.UnsetType, str | msgspec.UnsetType]:
    """The whole fee, where it was paid in one asset; a rebate is no fee."""
    tokens = {fill.fee_token for fill in fills}
    paid = sum((decimal(fill.fee) for fill in fills), Decimal(0))
    if len(tokens) != 1 or paid <= 0 or "" in tokens:
        return UNSET, UNSET
    return plain(paid), names.asset(tokens.pop())


def known_side(order: Order) -> bool:
    return order.side in _SIDES
