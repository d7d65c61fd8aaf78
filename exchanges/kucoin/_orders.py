"""KuCoin classic account frames and REST rows → events (docs/venues/kucoin.md, sections 5, 6 and 8).

Sample frames stand in `tests/golden/kucoin.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from msgspec import UNSET, UnsetType

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, multiply, plain
from exchanges.events import AccountPosition, Balance, ExecutionReport
from exchanges.instruments import SymbolTable
from exchanges.kucoin import _symbols
from exchanges.kucoin._alter import ClientOrders
from exchanges.kucoin._ledger import Ledger
from exchanges.kucoin._rows import (
    BalanceFrame,
    FillRow,
    OrderFrame,
    PositionFrame,
    RestOrder,
    WalletFrame,
    milliseconds,
    positive_number,
    rounded_milliseconds,
    text,
)

_REST_OPEN: Final = frozenset({"open", "active"})
_REST_STATES: Final = _REST_OPEN | {"done"}


def _live(filled: Decimal, order: OrderFrame) -> str:  # noqa: ARG001 - one signature for the table
    return "PARTIALLY_FILLED" if filled > 0 else "NEW"


def _partial(filled: Decimal, order: OrderFrame) -> str:  # noqa: ARG001
    return "PARTIALLY_FILLED"


def _filled(filled: Decimal, order: OrderFrame) -> str:  # noqa: ARG001
    return "FILLED"


def _taker_match(filled: Decimal, order: OrderFrame) -> str:  # noqa: ARG001
    """An order by funds reports remainSize 0 on every match: it is through when its funds are used up."""
    if order.remain_size in (None, "") or decimal(order.remain_size):
        return "PARTIALLY_FILLED"
    if order.remain_funds in (None, ""):
        # By funds and not told how much of them is left: the `done` frame that always follows decides.
        return "PARTIALLY_FILLED" if positive_number(order.origin_funds) else "FILLED"
    return "PARTIALLY_FILLED" if decimal(order.remain_funds) else "FILLED"


def _ended(filled: Decimal, order: OrderFrame) -> str:
    """KuCoin ends market orders with `canceled`, whatever was filled. One by funds is through then; one by size only if
    nothing of the size is left (ccxt#14273: a short FILLED makes a bot buy or sell the rest again)."""
    if filled <= 0 or order_type(order) != "MARKET":
        return "CANCELED"
    if positive_number(order.origin_funds) or positive_number(order.canceled_funds):
        return "FILLED"
    size = next((decimal(size) for size in (order.size, order.origin_size) if decimal(size)), filled)
    left = positive_number(order.canceled_size) or positive_number(order.remain_size)
    return "CANCELED" if left or filled < size else "FILLED"


STATUSES: Final[dict[tuple[str, str], Callable[[Decimal, OrderFrame], str]]] = {
    ("received", "new"): _live,
    ("open", "open"): _live,
    ("match", "open"): _partial,
    ("match", "match"): _taker_match,
    ("match", "done"): _filled,
    ("filled", "done"): _filled,
    ("update", "open"): _live,
    ("update", "match"): _live,
    ("canceled", "done"): _ended,
    ("update", "done"): _ended,
}
"""type, status → orderStatus; a pair that is not listed publishes nothing."""


def order_type(order: OrderFrame) -> str:
    """LIMIT or MARKET; futures frames may leave the type out, then the price tells."""
    if order.order_type == "market":
        return "MARKET"
    return "LIMIT" if order.order_type == "limit" or decimal(order.price) > 0 else "MARKET"


class Account:
    """What one classic account session remembers between frames, and the mapping that needs it."""

    def __init__(self, exchange: str, table: Callable[[], SymbolTable], known: Iterable[KnownOrder] = ()) -> None:
        self.exchange = exchange
        self.clients = ClientOrders(known)
        self.ledger = Ledger()
        self.table = table
        self._wallet: dict[str, tuple[str, str]] = {}
        self._full_wallet: set[str] = set()
        self._quantities: dict[str, Decimal] = {}

    def pair(self, wire: str) -> str | None:
        return _symbols.pair_in(self.exchange, self.table(), wire)

    def wire(self, pair: str) -> str | None:
        return _symbols.wire_of(self.exchange, self.table(), pair)

    def order(self, frame: OrderFrame) -> ExecutionReport | None:
        """The event of an order push; None for another family's symbol or a state that is not known."""
        symbol, rule = self.pair(frame.symbol), STATUSES.get((frame.type, frame.status))
        if symbol is None or rule is None or frame.side not in ("buy", "sell"):
            return None
        told = frame.filled_size not in (None, "")
        filled = decimal(frame.filled_size)
        price, size = decimal(frame.match_price), decimal(frame.match_size)
        if frame.type == "match" and frame.trade_id is not None and price > 0:  # a fill at no price is no fill at 0
            self.ledger.fill(frame.order_id, str(frame.trade_id), price, size, filled if told else None)
        if not told:
            filled = self.ledger.totals(frame.order_id)[0]
        quote = self._quote(frame, filled)
        time_ms = rounded_milliseconds(frame.ts) or milliseconds(frame.order_time)
        status = rule(filled, frame)
        kind = order_type(frame)
        limit = kind == "LIMIT" and decimal(frame.price) > 0
        return order_report(
            symbol=symbol,
            client_id=frame.client_oid,
            order_id=frame.order_id,
            status=status,
            kind=kind,
            side=frame.side.upper(),
            price=text(frame.price) if limit else plain(divide(quote, filled)),
            quantity=next((text(size) for size in (frame.size, frame.origin_size) if decimal(size)), plain(filled)),
            filled=filled,
            quote=quote,
            created_ms=milliseconds(frame.order_time) or time_ms,
            time_ms=time_ms,
        )

    def _quote(self, frame: OrderFrame, filled: Decimal) -> Decimal:
        """Cumulative executed value; 0 when the frames seen so far can't tell (then REST is asked)."""
        if not filled:
            return Decimal(0)
        seen, quote = self.ledger.totals(frame.order_id)
        if seen == filled:
            return quote
        price = decimal(frame.price)
        if order_type(frame) == "LIMIT" and price > 0:
            return multiply(filled, price)
        spent = decimal(frame.origin_funds) - decimal(frame.remain_funds) - decimal(frame.canceled_funds)
        if positive_number(frame.origin_funds) and spent > 0:
            return spent
        return multiply(divide(quote, seen), filled)

    def balance(self, frame: BalanceFrame) -> AccountPosition | None:
        """Spot: only the trading account counts, not the funding or margin accounts."""
        if frame.relation_event.split(".")[0] not in ("trade", "trade_hf"):
            return None
        return position(frame.currency, text(frame.available), text(frame.hold), milliseconds(frame.time))

    def wallet(self, frame: WalletFrame, subject: str) -> AccountPosition | None:
        """Futures wallet; pushed at every move of the mark price, published when free or locked changed."""
        full = subject == "walletBalance.change"
        if full:
            self._full_wallet.add(frame.currency)
        elif frame.currency in self._full_wallet:
            return None
        asset = _symbols.asset_name(frame.currency)
        assets = _symbols.own_assets(self.exchange, self.table())
        if assets is None or (asset not in assets and not self._inverse_unknown(asset, assets)):
            return None
        margins = (
            frame.isolated_pos_margin,
            frame.isolated_order_margin,
            frame.cross_pos_margin,
            frame.cross_order_margin,
        )
        locked = sum((decimal(margin) for margin in margins if full), decimal(frame.hold_balance))
        state = (text(frame.available_balance), plain(locked))
        if self._wallet.get(asset) == state:
            return None
        self._wallet[asset] = state
        return position(asset, *state, milliseconds(frame.timestamp))

    def owns_asset(self, currency: str) -> bool:
        assets = _symbols.own_assets(self.exchange, self.table())
        asset = _symbols.asset_name(currency)
        return assets is None or asset in assets or self._inverse_unknown(asset, assets)

    def _inverse_unknown(self, asset: str, assets: frozenset[str]) -> bool:
        """While the table of the inverse market loads, everything that is not a linear margin coin counts."""
        return not assets and asset not in ("USDT", "USDC")

    def position(self, frame: PositionFrame) -> ExecutionReport | None:
        """A synthetic report when the venue liquidates a position; every other change publishes nothing."""
        quantity = decimal(frame.current_qty)
        last = self._quantities.get(frame.symbol, Decimal(0))
        if quantity:
            self._quantities[frame.symbol] = quantity
        else:
            # Whether the venue already reports 0 in its liquidation frame is not documented.
            self._quantities.pop(frame.symbol, None)
        symbol = self.pair(frame.symbol)
        if frame.change_reason != "liquidation" or symbol is None:
            return None
        direction = quantity or last or self._by_cost(decimal(frame.current_cost))
        size = abs(quantity or last)
        time_ms = milliseconds(frame.current_timestamp)
        client_id = f"liq-{frame.symbol}-{frame.opening_timestamp or frame.current_timestamp}"
        mark = decimal(frame.mark_price)
        return _liquidation(symbol, client_id, "SELL" if direction > 0 else "BUY", size, mark, time_ms)

    def liquidated(self, fills: Sequence[FillRow]) -> ExecutionReport | None:
        """A liquidation by the fills of its order; None for another family's contract."""
        first = fills[0]
        symbol = self.pair(first.symbol)
        size = sum((decimal(fill.size) for fill in fills), Decimal(0))
        if symbol is None or size <= 0 or first.side not in ("buy", "sell"):
            return None
        quote = sum((multiply(decimal(fill.price), decimal(fill.size)) for fill in fills), Decimal(0))
        time_ms = max(milliseconds(fill.trade_time) or milliseconds(fill.created_at) for fill in fills)
        client_id = f"liq-{first.symbol}-{first.order_id}"
        return _liquidation(symbol, client_id, first.side.upper(), size, divide(quote, size), time_ms)

    def _by_cost(self, cost: Decimal) -> Decimal:
        """The position's direction by its cost, whose sign is reversed on inverse contracts."""
        return -cost if _symbols.MARKET_OF[self.exchange] == "inverse" else cost

    def rest_order(self, row: RestOrder) -> ExecutionReport | None:
        """The state that REST tells; it also corrects the ledger for the frames that follow."""
        symbol = self.pair(row.symbol)
        if symbol is None or row.side not in ("buy", "sell"):
            return None
        filled = decimal(row.deal_size)
        quote = (
            decimal(row.deal_funds)
            if _symbols.is_spot(self.exchange)
            else multiply(decimal(row.avg_deal_price), filled)
        )
        if filled > 0 and quote > 0:
            self.ledger.seed(row.id, filled, quote)
        kind = "MARKET" if row.type == "market" or not positive_number(row.price) else "LIMIT"
        times = (row.last_updated_at, row.updated_at, row.end_at, row.created_at)
        time_ms = next((milliseconds(time) for time in times if milliseconds(time)), 0)
        fee = decimal(row.fee)
        return order_report(
            symbol=symbol,
            client_id=row.client_oid,
            order_id=row.id,
            status=_rest_status(row, filled),
            kind=kind,
            side=row.side.upper(),
            price=text(row.price) if kind == "LIMIT" else plain(divide(quote, filled)),
            quantity=text(row.size) if positive_number(row.size) else plain(filled),
            filled=filled,
            quote=quote,
            created_ms=milliseconds(row.created_at) or time_ms,
            time_ms=time_ms,
            fee=(plain(abs(fee)), row.fee_currency) if fee and row.fee_currency else None,
        )


def unlisted(row: RestOrder) -> bool:
    """Whether nothing that a page lists says if the order is open."""
    return row.active is None and row.is_active is None and row.status not in _REST_STATES


def _rest_status(row: RestOrder, filled: Decimal) -> str:
    active = row.active if row.active is not None else row.is_active
    if active is None:
        active = row.status in _REST_OPEN
    if active:
        return "PARTIALLY_FILLED" if filled > 0 else "NEW"
    if not row.cancel_exist:
        return "FILLED"
    by_funds = row.type == "market" and positive_number(row.funds) and not positive_number(row.size)
    through = by_funds or (positive_number(row.size) and filled >= decimal(row.size))
    return "FILLED" if through and filled > 0 else "CANCELED"


def _liquidation(
    symbol: str, client_id: str, side: str, size: Decimal, price: Decimal, time_ms: int
) -> ExecutionReport:
    """The synthetic report of a liquidation: the venue's own order has no client id that the backend could store."""
    return ExecutionReport(
        symbol=symbol,
        new_client_order_id=client_id,
        original_client_order_id=client_id,
        order_id="-1",
        order_status="FILLED",
        order_type="MARKET",
        side=side,
        price=plain(price),
        quantity=plain(size),
        total_trade_quantity=plain(size),
        total_quote_trade_quantity=plain(multiply(size, price)),
        creation_time=time_ms,
        event_time=time_ms,
        order_time=time_ms,
        unique_message_id=f"kucoin:{client_id}:{plain(size)}",
        liquidation=True,
    )


def position(asset: str, free: str, locked: str, time_ms: int) -> AccountPosition:
    return AccountPosition(
        event_time=time_ms,
        last_account_update=0,
        balances=[Balance(asset=asset, free=plain(free), locked=plain(locked))],
        unique_message_id=f"kucoin:{asset}:{free}:{locked}:{time_ms}",
    )


def order_report(
    *,
    symbol: str,
    client_id: str | None,
    order_id: str,
    status: str,
    kind: str,
    side: str,
    price: str,
    quantity: str,
    filled: Decimal,
    quote: Decimal,
    created_ms: int,
    time_ms: int,
    fee: tuple[str, str] | None = None,
) -> ExecutionReport:
    client: str | UnsetType = client_id or UNSET
    total = plain(filled)
    return ExecutionReport(
        symbol=symbol,
        new_client_order_id=client_id or "",
        original_client_order_id=client_id or None,
        order_id=order_id,
        order_status=status,
        order_type=kind,
        side=side,
        price=price,
        quantity=quantity,
        total_trade_quantity=total,
        total_quote_trade_quantity=plain(quote),
        creation_time=created_ms,
        event_time=time_ms,
        order_time=time_ms,
        unique_message_id=f"kucoin:{order_id}:{status}:{total}:{plain(quote)}:{quantity}:{time_ms}",
        client_order_id=client,
        fee_paid=fee[0] if fee else UNSET,
        fee_asset=fee[1] if fee else UNSET,
    )
