"""Account frames of all four markets and the events that they become.

Sources: "User Data Stream" of the spot docs, "User Data Streams" of the
derivatives docs. Unlisted types (`listStatus`, `externalLockUpdate`, `TRADE_LITE`, `ALGO_UPDATE`, `STRATEGY_UPDATE`, …)
publish nothing; `TRADE_LITE` is a second copy of a fill and must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from exchanges._numbers import order_id
from exchanges.binance import _rows
from exchanges.binance._odd import without_odd_fields
from exchanges.events import (
    AccountConfigUpdate,
    AccountEvent,
    AccountPosition,
    AccountUpdate,
    Balance,
    BalanceUpdate,
    ExecutionReport,
    FuturesBalance,
    FuturesPosition,
    MarginCall,
    MarginPosition,
    OrderTradeUpdate,
    UserDataStreamExpired,
)

STATUS: Final = {
    "NEW": "NEW",
    "PENDING_NEW": "NEW",
    "NEW_INSURANCE": "NEW",
    "NEW_ADL": "NEW",
    "PARTIALLY_FILLED": "PARTIALLY_FILLED",
    "FILLED": "FILLED",
    "PENDING_CANCEL": "PENDING_CANCEL",
    "CANCELED": "CANCELED",
    "REJECTED": "CANCELED",
    "EXPIRED": "EXPIRED",
    "EXPIRED_IN_MATCH": "EXPIRED",
}
"""Every status that the docs list, under the platform's name. The backend leaves a REJECTED order as it was, so it would
count as live for ever: it is told as ended. Any other status is asked for over REST, never guessed."""

REJECTED: Final = "REJECTED"

LIQUIDATION_PREFIX: Final = "autoclose-"
"""Client ids of liquidations. ADL, settlement and delivery closes (`adl_autoclose`, …) are not flagged."""


def _spot_ids(raw: _rows.SpotOrder) -> tuple[str, str | None]:
    """New and original client id. The backend looks for an ended order by the new one first, so that has to be the order's
    own: in the frame of a cancel `c` is the id of the request, and `C` is empty in that of a rejection."""
    if raw.X == "CANCELED" and raw.C:
        return raw.C, raw.C
    return raw.c, raw.c if raw.X == REJECTED else raw.C


def _spot_order(raw: _rows.SpotOrder) -> ExecutionReport | None:
    status = STATUS.get(raw.X)
    if status is None:
        return None
    client_id, original_id = _spot_ids(raw)
    return ExecutionReport(
        symbol=raw.s,
        new_client_order_id=client_id,
        original_client_order_id=original_id,
        order_id=order_id(raw.i),
        order_status=status,
        order_type=raw.o,
        side=raw.S,
        price=raw.p,
        quantity=raw.q,
        total_trade_quantity=raw.z,
        total_quote_trade_quantity=raw.Z,
        creation_time=raw.T if raw.O is None else raw.O,
        event_time=raw.E,
        order_time=raw.T,
        # `I` is the execution id, unique per report.
        unique_message_id=f"executionReport:{raw.s}:{raw.i}:{raw.X}:{raw.z}:{raw.q}:{raw.p}:{raw.c}:{raw.C}:{raw.E}:{raw.I}",
        time_in_force=raw.f,
        execution_type=raw.x,
        stop_price=raw.P,
        iceberg_quantity=raw.F,
        order_reject_reason=raw.r,
        last_trade_quantity=raw.l,
        price_last_trade=raw.L,
        commission=raw.n,
        commission_asset=raw.N,
        trade_id=raw.t,
        is_order_working=raw.w,
        is_buyer_maker=raw.m,
        order_list_id=raw.g,
        quote_order_quantity=raw.Q,
        last_quote_transacted=raw.Y,
    )


def _spot_position(raw: _rows.SpotPosition) -> AccountPosition | None:
    if not raw.B:  # an empty list is not published (contract 2.2)
        return None
    balances = [Balance(asset=row.a, free=row.f, locked=row.l) for row in raw.B]
    figures = ",".join(f"{row.a}={row.f}+{row.l}" for row in raw.B)
    return AccountPosition(
        event_time=raw.E,
        last_account_update=raw.u,
        balances=balances,
        unique_message_id=f"outboundAccountPosition:{raw.E}:{raw.u}:{figures}",
    )


def _spot_delta(raw: _rows.SpotDelta) -> BalanceUpdate:
    return BalanceUpdate(
        asset=raw.a,
        balance_delta=raw.d,
        clear_time=raw.T,
        event_time=raw.E,
        unique_message_id=f"balanceUpdate:{raw.E}:{raw.T}:{raw.a}:{raw.d}",
    )


def _futures_order(raw: _rows.FuturesOrderFrame) -> OrderTradeUpdate | None:
    order = raw.o
    status = STATUS.get(order.X)
    if status is None:
        return None
    return OrderTradeUpdate(
        event_time=raw.E,
        transaction_time=raw.T,
        symbol=order.s,
        client_order_id=order.c,
        side=order.S,
        order_type=order.o,
        time_in_force=order.f,
        quantity=order.q,
        price=order.p,
        average_price=order.ap,
        order_status=status,
        order_id=order_id(order.i),
        total_trade_quantity=order.z,
        order_time=order.T,
        liquidation=order.c.startswith(LIQUIDATION_PREFIX),
        unique_message_id=(
            f"ORDER_TRADE_UPDATE:{order.s}:{order.i}:{order.X}:{order.z}:{order.q}:{order.p}:{order.x}:{order.t}:{order.T}:{raw.E}"
        ),
        stop_price=order.sp,
        execution_type=order.x,
        last_trade_quantity=order.l,
        price_last_trade=order.L,
        commission_asset=order.N,
        commission=order.n,
        trade_id=order.t,
        bids_notional=order.b,
        asks_notional=order.a,
        is_maker=order.m,
        is_reduce_only=order.R,
        working_type=order.wt,
        original_order_type=order.ot,
        position_side=order.ps,
        close_position=order.cp,
        activation_price=order.AP,
        callback_rate=order.cr,
        realized_profit=order.rp,
    )


def _futures_account(raw: _rows.FuturesAccountFrame) -> AccountUpdate:
    balances, positions = raw.a.B or [], raw.a.P or []
    figures = ",".join(
        [
            *(f"{row.a}={row.wb}+{row.cw}+{row.bc}" for row in balances),
            *(f"{row.s}={row.pa}@{row.ps}" for row in positions),
        ]
    )
    return AccountUpdate(
        event_time=raw.E,
        transaction_time=raw.T,
        event_reason_type=raw.a.m,
        balances=[
            FuturesBalance(asset=row.a, wallet_balance=row.wb, cross_wallet_balance=row.cw, balance_change=row.bc)
            for row in balances
        ],
        positions=[
            FuturesPosition(
                symbol=row.s,
                position_amount=row.pa,
                entry_price=row.ep,
                accumulated_realized=row.cr,
                unrealized_pnl=row.up,
                margin_type=row.mt,
                isolated_wallet=row.iw,
                position_side=row.ps,
            )
            for row in positions
        ],
        unique_message_id=f"ACCOUNT_UPDATE:{raw.E}:{raw.T}:{raw.a.m}:{figures}",
    )


def _config(raw: _rows.ConfigFrame) -> AccountConfigUpdate | None:
    head = f"ACCOUNT_CONFIG_UPDATE:{raw.E}:{raw.T}"
    if raw.ac is not None:
        return AccountConfigUpdate(
            event_time=raw.E,
            transaction_time=raw.T,
            type="ACCOUNT_CONFIG",
            symbol=raw.ac.s,
            leverage=raw.ac.l,
            unique_message_id=f"{head}:{raw.ac.s}:{raw.ac.l}",
        )
    if raw.ai is not None:
        return AccountConfigUpdate(
            event_time=raw.E,
            transaction_time=raw.T,
            type="MULTI_ASSETS",
            multi_assets=raw.ai.j,
            unique_message_id=f"{head}:{raw.ai.j}",
        )
    return None


def _margin_call(raw: _rows.MarginFrame) -> MarginCall:
    return MarginCall(
        event_time=raw.E,
        cross_wallet_balance=raw.cw,
        positions=[
            MarginPosition(
                symbol=row.s,
                position_side=row.ps,
                position_amount=row.pa,
                margin_type=row.mt,
                isolated_wallet=row.iw,
                mark_price=row.mp,
                unrealized_pnl=row.up,
                maintenance_margin_required=row.mm,
            )
            for row in raw.p
        ],
        unique_message_id=f"MARGIN_CALL:{raw.E}:" + ",".join(f"{row.s}={row.pa}@{row.ps}" for row in raw.p),
    )


def _expired(raw: _rows.ExpiredFrame) -> UserDataStreamExpired:
    return expired(raw.E)


def expired(event_time_ms: int) -> UserDataStreamExpired:
    """The marker for the backend that the listen key is gone."""
    return UserDataStreamExpired(
        event_time=event_time_ms, unique_message_id=f"USER_DATA_STREAM_EXPIRED:{event_time_ms}"
    )


class _Kind(msgspec.Struct):
    e: str = ""
    E: int = 0


_MAKERS: Final[dict[str, tuple[type[msgspec.Struct], Callable[[Any], AccountEvent | None]]]] = {
    "executionReport": (_rows.SpotOrder, _spot_order),
    "outboundAccountPosition": (_rows.SpotPosition, _spot_position),
    "balanceUpdate": (_rows.SpotDelta, _spot_delta),
    "ORDER_TRADE_UPDATE": (_rows.FuturesOrderFrame, _futures_order),
    "ACCOUNT_UPDATE": (_rows.FuturesAccountFrame, _futures_account),
    "ACCOUNT_CONFIG_UPDATE": (_rows.ConfigFrame, _config),
    "MARGIN_CALL": (_rows.MarginFrame, _margin_call),
    "listenKeyExpired": (_rows.ExpiredFrame, _expired),
}
_SILENT: Final = frozenset(
    {
        "TRADE_LITE", "ALGO_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT", "STRATEGY_UPDATE", "GRID_UPDATE", "listStatus",
        "externalLockUpdate", "eventStreamTerminated", "serverShutdown", "",
    }
)  # fmt: skip
"""Documented kinds that publish nothing; `TRADE_LITE` is a second copy of a fill."""
_DECODERS: Final = {kind: msgspec.json.Decoder(raw).decode for kind, (raw, _) in _MAKERS.items()}
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_any = msgspec.json.Decoder().decode


class OrderRef(NamedTuple):
    """An order whose frame tells nothing that can be published: it has to be asked for over REST."""

    symbol: str
    order_id: str
    why: str


class Read(NamedTuple):
    """What a frame tells: its event (None = it publishes nothing), and the fields that could not be read."""

    event: AccountEvent | None
    odd: tuple[str, ...] = ()
    lost: OrderRef | None = None
    """The order of the frame, if there is no event although there should be one."""


class _SpotRef(msgspec.Struct):
    s: str
    i: int
    X: Any = None


class _FuturesRef(msgspec.Struct):
    o: _SpotRef


_decode_spot_ref = msgspec.json.Decoder(_SpotRef).decode
_decode_futures_ref = msgspec.json.Decoder(_FuturesRef).decode


def kind_of(raw: bytes) -> str:
    """The `e` of an account frame; empty if there is none. Raises `msgspec.DecodeError` for anything but an object."""
    return _decode_kind(raw).e


def unknown(kind: str) -> str:
    """What to note about a kind of frame that no page describes; empty for the others (bug B7: silence hid it there)."""
    return "" if kind in _MAKERS or kind in _SILENT else f"unknown kind of account event: {kind[:40]}"


def read(kind: str, raw: bytes) -> Read:
    """Read a frame of this kind.

    Raises `msgspec.DecodeError` when a field that an event needs is missing or of another type than documented. Fields that
    only describe are left out then, and rows of lists that can't be read: a fill is not lost for the sake of its time in
    force, nor a balance for the one beside it. An order that can't be told is named, so that it can be asked for.
    """
    found = _MAKERS.get(kind)
    if found is None:
        return Read(None)
    shape, make = found
    odd: tuple[str, ...] = ()
    try:
        value = _DECODERS[kind](raw)
    except msgspec.ValidationError:
        try:
            value, odd = without_odd_fields(shape, _decode_any(raw))
        except msgspec.ValidationError:
            lost = _order_of(kind, raw)
            if lost is None:
                raise
            return Read(None, lost=lost)
    event = make(value)
    return Read(event, odd, _order_of(kind, raw) if event is None else None)


def _order_of(kind: str, raw: bytes) -> OrderRef | None:
    """The order that a frame is about; None for frames that are about none, or don't say which."""
    try:
        if kind == "executionReport":
            ref = _decode_spot_ref(raw)
        elif kind == "ORDER_TRADE_UPDATE":
            ref = _decode_futures_ref(raw).o
        else:
            return None
    except msgspec.DecodeError:
        return None
    listed = isinstance(ref.X, str) and ref.X in STATUS
    why = "a frame that can't be read" if listed else f"status {str(ref.X)[:40]}, which no page lists"
    return OrderRef(ref.s, str(ref.i), why)
