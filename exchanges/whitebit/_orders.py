"""Orders, deals and wallets of WhiteBIT as events (docs.whitebit.com: private WebSocket channels)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import UNSET

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, plain
from exchanges._rows import tolerant
from exchanges.events import AccountPosition, Balance, ExecutionReport
from exchanges.instruments import SymbolTable
from exchanges.whitebit._symbols import FUTURES, PERPETUAL, SETTLE, name_of

Number = str | int | float | None
NEW, CHANGED, ENDED = 1, 2, 3
"""Kinds of a push about a resting order."""
SPOT_TYPES: Final = frozenset({1, 2, 3, 4, 202})
"""The other types trade the collateral wallet, also on a spot pair."""
LIMIT_TYPES: Final = frozenset({1, 3, 7, 9})
MARKET_TYPES: Final = frozenset({2, 8, 14, 202})
MONEY_TYPES: Final = frozenset({2, 4})
"""Their buys are sized in quote currency."""
REST_TYPES: Final[Mapping[str, int]] = {
    "limit": 1,
    "market": 2,
    "stock market": 202,
    "market stock": 202,
    "stop limit": 3,
    "stop market": 4,
    "margin limit": 7,
    "collateral limit": 7,
    "margin market": 8,
    "collateral market": 8,
    "margin stop limit": 9,
    "collateral stop limit": 9,
    "margin stop market": 10,
    "collateral trigger-stop-market": 10,
    "margin normalization": 14,
}
_SIDES: Final = {"1": "SELL", "2": "BUY", "sell": "SELL", "buy": "BUY"}
_OPEN: Final = frozenset({"OPEN", "NEW", "PARTIALLY_FILLED"})
_LISTED: Final = _OPEN | {"", "FILLED"}
KEEP_MS: Final = 3_600_000
"""So long an order that has ended is remembered; the other channel tells its end at once."""
MAX_ENDED: Final = 20_000
MAX_DEALS: Final = 20_000
LIQUIDATION: Final = "liquidation"


class Row(msgspec.Struct):
    """An order as both channels tell it. Times in seconds with a fraction, totals cumulative."""

    id: int | str
    market: str
    side: int | str
    type: int = 0
    ctime: Number = None
    mtime: Number = None
    ftime: Number = None
    price: Number = None
    activation_price: Number = None
    amount: Number = None
    left: Number = None
    deal_stock: Number = None
    deal_money: Number = None
    deal_fee: Number = None
    client_order_id: str = ""
    status: str = ""
    source: str = ""
    fee_asset: str = ""


class RestRow(msgspec.Struct, rename="camel"):
    """An order as REST lists it; the history names the market outside."""

    side: int | str
    type: str = ""
    order_id: int | str | None = None
    id: int | str | None = None
    market: str = ""
    client_order_id: str = ""
    timestamp: Number = None
    ctime: Number = None
    mtime: Number = None
    ftime: Number = None
    price: Number = None
    activation_price: Number = msgspec.field(default=None, name="activation_price")
    amount: Number = None
    left: Number = None
    deal_stock: Number = None
    deal_money: Number = None
    deal_fee: Number = None
    fee_asset: str = ""
    status: str = ""


decode_row: Final = tolerant(Row)
_decode_rest: Final = tolerant(RestRow)


def rest_row(raw: bytes | msgspec.Raw, market: str = "") -> Row:
    """A REST row in the words of the socket. Raises one of `UNREADABLE`, or `ValueError` without an id or market."""
    row = _decode_rest(raw)
    order_id = row.order_id if row.order_id is not None else row.id
    if order_id is None or not (row.market or market):
        raise ValueError("an order without an id or market")
    told = {name: getattr(row, name) for name in _SHARED}
    kind = REST_TYPES.get(row.type.lower(), 0)
    ctime = row.ctime if row.ctime is not None else row.timestamp
    return Row(id=order_id, market=row.market or market, type=kind, ctime=ctime, **told)


_SHARED: Final = (
    "side", "mtime", "ftime", "price", "activation_price", "amount", "left", "deal_stock", "deal_money", "deal_fee",
    "client_order_id", "status", "fee_asset",
)  # fmt: skip


class Deal(msgspec.Struct, array_like=True):
    """One execution, by position."""

    id: int | str
    time: Number
    market: str
    order_id: int | str
    price: Number = None
    amount: Number = None
    fee: Number = None
    client_order_id: str | None = ""
    side: int | str | None = None
    role: int | str | None = None
    fee_asset: str | None = ""


decode_deal: Final = msgspec.json.Decoder(Deal).decode


def time_ms(*seconds: Number) -> int:
    """The first of these times that is told, cut to whole ms."""
    return next((int(decimal(one) * 1000) for one in seconds if decimal(one) > 0), 0)


def final_status(row: Row) -> str:
    """The status of an order that has ended; anything but `FILLED` and `CANCELED` says why it can't be told."""
    if "CANCEL" in row.status:
        return "CANCELED"
    if row.status not in _LISTED:
        return f"status {row.status[:40]}, which no page lists"
    executed = decimal(row.deal_stock) > 0
    if row.status == "FILLED":
        return "FILLED" if executed else "status FILLED without an executed quantity"
    if row.status == "PARTIALLY_FILLED":
        return "CANCELED"  # a liquidation on a thin book: told as filled it would be short
    nothing_left = row.left is not None and decimal(row.left) == 0
    if executed and (nothing_left or (not row.status and _sized_in_money(row))):
        return "FILLED"
    return "CANCELED"


def open_status(row: Row) -> str:
    """The status of an order that goes on, whatever the row says."""
    return "PARTIALLY_FILLED" if decimal(row.deal_stock) > 0 else "NEW"


def may_go_on(row: Row) -> bool:
    """Whether an end may be half of a modify: the venue's own cancels have texts of their own, and only limit and stop
    orders can be modified."""
    plain_end = row.status in ("CANCELED", "PARTIALLY_FILLED", "")
    return plain_end and row.type not in MARKET_TYPES and not row.client_order_id.startswith(f"{LIQUIDATION}_")


def _sized_in_money(row: Row) -> bool:
    return row.type in MONEY_TYPES and _SIDES.get(str(row.side)) == "BUY"


class _Fees:
    """What the deals of one order cost, per asset."""

    __slots__ = ("amount", "assets", "deals")

    def __init__(self) -> None:
        self.amount = Decimal(0)
        self.assets: dict[str, Decimal] = {}
        self.deals: set[str] = set()


class Orders:
    """The orders of one account on one connection: which have ended, and what their deals cost. I/O thread only."""

    def __init__(self, exchange: str, table: Callable[[], SymbolTable]) -> None:
        self._futures = exchange == FUTURES
        self._table = table
        self._ended: dict[str, int] = {}
        self._told: dict[str, None] = {}
        self._fees: dict[str, _Fees] = {}

    def resume(self, orders: Sequence[KnownOrder], now_ms: int) -> None:
        for order in orders:
            self._told[order.order_id] = None
            if order.terminal:
                self._ended[order.order_id] = now_ms

    def ours(self, row: Row) -> bool:
        """One socket carries spot, margin and futures; an id tells only what trades its own wallet."""
        futures = row.market.endswith(PERPETUAL)
        return futures if self._futures else not futures and (row.type in SPOT_TYPES or row.type == 0)

    def ours_market(self, market: str) -> bool:
        return market.endswith(PERPETUAL) == self._futures

    def knows(self, order_id: str) -> bool:
        """Whether an order frame told of this order."""
        return order_id in self._told or order_id in self._ended

    def deal(self, deal: Deal) -> None:
        """An execution: only what it cost."""
        fees = self._fees.setdefault(str(deal.order_id), _Fees())
        while len(self._fees) > MAX_DEALS:
            self._fees.pop(next(iter(self._fees)))
        if str(deal.id) in fees.deals:
            return
        fees.deals.add(str(deal.id))
        fees.amount += decimal(deal.amount)
        asset = deal.fee_asset or ""
        fees.assets[asset] = fees.assets.get(asset, Decimal(0)) + decimal(deal.fee)

    def report(self, row: Row, now_ms: int, *, ended: bool) -> ExecutionReport | str | None:
        """The event of a row; None if it tells nothing, a text if it can't be told."""
        order_id = str(row.id)
        if order_id in self._ended:
            return None  # the first end is the only one, whichever channel brought it
        side = _SIDES.get(str(row.side))
        if side is None:
            return f"side {str(row.side)[:20]}, which no page lists"
        status = final_status(row) if ended else open_status(row)
        if status not in ("NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED"):
            return status
        if ended:
            self._end(order_id, now_ms)
        self._told[order_id] = None
        while len(self._told) > MAX_ENDED:
            self._told.pop(next(iter(self._told)))
        return self._event(row, status, side, now_ms)

    def _end(self, order_id: str, now_ms: int) -> None:
        self._ended[order_id] = now_ms
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] > now_ms - KEEP_MS and len(self._ended) <= MAX_ENDED:
                return
            del self._ended[oldest]

    def _event(self, row: Row, status: str, side: str, now_ms: int) -> ExecutionReport:
        order_id = str(row.id)
        executed, money = decimal(row.deal_stock), decimal(row.deal_money)
        asked = next((one for one in (row.price, row.activation_price) if decimal(one) > 0), "0")
        price = divide(money, executed) if executed and money else asked or "0"
        moment = time_ms(row.ftime, row.mtime, row.ctime) or now_ms
        client_id = row.client_order_id or order_id
        fee, fee_asset = self._fee(row, status)
        figures = (row.market, order_id, status, row.amount, row.price, row.deal_stock, row.deal_money, moment)
        return ExecutionReport(
            symbol=name_of(row.market, self._table()),
            new_client_order_id=client_id,
            original_client_order_id=client_id,
            order_id=order_id,
            order_status=status,
            order_type=_order_type(row),
            side=side,
            price=plain(price),
            quantity=plain((row.deal_stock if _sized_in_money(row) else row.amount) or "0"),
            total_trade_quantity=plain(row.deal_stock or "0"),
            total_quote_trade_quantity=plain(row.deal_money or "0"),
            creation_time=time_ms(row.ctime),
            event_time=moment,
            order_time=moment,
            unique_message_id=":".join(str(one) for one in figures),
            liquidation=row.source == LIQUIDATION or row.client_order_id.startswith(f"{LIQUIDATION}_"),
            fee_paid=fee if fee else UNSET,
            fee_asset=fee_asset if fee else UNSET,
        )

    def _fee(self, row: Row, status: str) -> tuple[str, str]:
        """The order's whole cost and its asset, empty where that is not certain. Rebates are left out."""
        paid, asset = decimal(row.deal_fee), row.fee_asset
        if not asset and row.market.endswith(PERPETUAL):
            asset = SETTLE
        if not asset:
            fees = self._fees.get(str(row.id))
            whole = fees is not None and fees.amount == decimal(row.deal_stock) and len(fees.assets) == 1
            if fees is None or not whole:
                return "", ""
            asset, paid = next(iter(fees.assets.items()))
        return (plain(paid), asset) if paid > 0 and asset else ("", "")


def _order_type(row: Row) -> str:
    if row.type:
        return "LIMIT" if row.type in LIMIT_TYPES else "MARKET"
    return "LIMIT" if decimal(row.price) > 0 else "MARKET"


def of_known(order: KnownOrder, executed: Decimal, money: Decimal, now_ms: int) -> ExecutionReport:
    """The end of an order that was open, is not any more, and of which the venue keeps only the deals, if any."""
    filled = executed > 0 and executed >= decimal(order.quantity)
    return ExecutionReport(
        symbol=order.symbol,
        new_client_order_id=order.client_order_id,
        original_client_order_id=order.client_order_id,
        order_id=order.order_id,
        order_status="FILLED" if filled else "CANCELED",
        order_type=order.order_type or "LIMIT",
        side=order.side,
        price=plain(divide(money, executed)) if executed else plain(order.price),
        quantity=plain(order.quantity),
        total_trade_quantity=plain(executed),
        total_quote_trade_quantity=plain(money),
        creation_time=order.creation_time_ms,
        event_time=now_ms,
        order_time=now_ms,
        unique_message_id=f"{order.symbol}:{order.order_id}:gone:{executed}:{money}",
        liquidation=False,
    )


# --- wallets ---


class _Spot(msgspec.Struct):
    available: Number = None
    freeze: Number = None


class _Margin(msgspec.Struct):
    """A push (`a`, `B`) or a row of the summary (`asset`, `balance`): the wallet's total."""

    a: str = ""
    B: Number = None
    asset: str = ""
    balance: Number = None


decode_spot: Final = tolerant(_Spot)
decode_margin: Final = tolerant(_Margin)
decode_assets: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def spot_balance(asset: str, raw: msgspec.Raw) -> Balance | None:
    """Raises one of `UNREADABLE`."""
    row = decode_spot(raw)
    if row.available is None:
        return None
    return Balance(asset=asset, free=plain(row.available), locked=plain(row.freeze or "0"))


def margin_balance(raw: bytes | msgspec.Raw) -> Balance | None:
    """The wallet's total is free: positions and resting orders reduce figures of the portfolio only."""
    row = decode_margin(raw)
    asset, total = row.a or row.asset, row.B if row.B is not None else row.balance
    return Balance(asset=asset, free=plain(total), locked="0") if asset and total is not None else None


def position(balances: Sequence[Balance], now_ms: int) -> AccountPosition:
    """The event of these balances; frames carry no time."""
    content = "|".join(f"{one.asset}={one.free}+{one.locked}" for one in balances)
    return AccountPosition(
        event_time=now_ms,
        last_account_update=0,
        balances=list(balances),
        unique_message_id=f"balances:{now_ms}:{sha256(content.encode()).hexdigest()[:16]}",
    )
