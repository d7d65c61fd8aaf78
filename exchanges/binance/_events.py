"""Account frames of all four markets and the events that they become.

Sources: "User Data Stream" of the spot docs, "User Data Streams" of the
derivatives docs. Unlisted types (`listStatus`, `externalLockUpdate`, `TRADE_LITE`, `ALGO_UPDATE`, `STRATEGY_UPDATE`, …)
publish nothing; `TRADE_LITE` is a second copy of a fill and must not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from exchanges._numbers import order_id
from exchanges.binance import _raw
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
    "EXPIRED_IN_MATCH": "EXPIRED",
    "PENDING_NEW": "NEW",
    "NEW_INSURANCE": "NEW",
    "NEW_ADL": "NEW",
}
"""Statuses that the platform has no name for; every other one is passed through."""

LIQUIDATION_PREFIX: Final = "autoclose-"
"""Client ids of liquidations. ADL, settlement and delivery closes (`adl_autoclose`, …) are not flagged."""


def _spot_order(raw: _raw.SpotOrder) -> ExecutionReport:
    status = STATUS.get(raw.X, raw.X)
    return ExecutionReport(
        symbol=raw.s,
        new_client_order_id=raw.c,
        original_client_order_id=raw.C,
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


def _spot_position(raw: _raw.SpotPosition) -> AccountPosition | None:
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


def _spot_delta(raw: _raw.SpotDelta) -> BalanceUpdate:
    return BalanceUpdate(
        asset=raw.a,
        balance_delta=raw.d,
        clear_time=raw.T,
        event_time=raw.E,
        unique_message_id=f"balanceUpdate:{raw.E}:{raw.T}:{raw.a}:{raw.d}",
    )


def _futures_order(raw: _raw.FuturesOrderFrame) -> OrderTradeUpdate:
    order = raw.o
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
        order_status=STATUS.get(order.X, order.X),
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


def _futures_account(raw: _raw.FuturesAccountFrame) -> AccountUpdate:
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


def _config(raw: _raw.ConfigFrame) -> AccountConfigUpdate | None:
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


def _margin_call(raw: _raw.MarginFrame) -> MarginCall:
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


def _expired(raw: _raw.ExpiredFrame) -> UserDataStreamExpired:
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
    "executionReport": (_raw.SpotOrder, _spot_order),
    "outboundAccountPosition": (_raw.SpotPosition, _spot_position),
    "balanceUpdate": (_raw.SpotDelta, _spot_delta),
    "ORDER_TRADE_UPDATE": (_raw.FuturesOrderFrame, _futures_order),
    "ACCOUNT_UPDATE": (_raw.FuturesAccountFrame, _futures_account),
    "ACCOUNT_CONFIG_UPDATE": (_raw.ConfigFrame, _config),
    "MARGIN_CALL": (_raw.MarginFrame, _margin_call),
    "listenKeyExpired": (_raw.ExpiredFrame, _expired),
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

_PLACE: Final = re.compile(r"at `\$((?:\.\w+)+)`$")
_MAX_ODD_FIELDS: Final = 8


class Read(NamedTuple):
    """What a frame tells: its event (None = it publishes nothing), and the fields that could not be read."""

    event: AccountEvent | None
    odd: tuple[str, ...] = ()


def kind_of(raw: bytes) -> str:
    """The `e` of an account frame; empty if there is none. Raises `msgspec.DecodeError` for anything but an object."""
    return _decode_kind(raw).e


def unknown(kind: str) -> str:
    """What to note about a kind of frame that no page describes; empty for the others (bug B7: silence hid it there)."""
    return "" if kind in _MAKERS or kind in _SILENT else f"unknown kind of account event: {kind[:40]}"


def read(kind: str, raw: bytes) -> Read:
    """Read a frame of this kind.

    Raises `msgspec.DecodeError` when a field that an event needs is missing or of another type than documented. Fields that
    only describe are left out then: a fill is not lost for the sake of its time in force.
    """
    found = _MAKERS.get(kind)
    if found is None:
        return Read(None)
    shape, make = found
    try:
        return Read(make(_DECODERS[kind](raw)))
    except msgspec.ValidationError:
        value, odd = _without_odd_fields(shape, _decode_any(raw))
        return Read(make(value), odd)


def _without_odd_fields(shape: type[msgspec.Struct], value: Any) -> tuple[msgspec.Struct, tuple[str, ...]]:
    odd: list[str] = []
    while True:
        try:
            return msgspec.convert(value, shape), tuple(odd)
        except msgspec.ValidationError as error:
            place = _PLACE.search(str(error))
            if place is None or len(odd) == _MAX_ODD_FIELDS:
                raise
            *parents, name = place.group(1)[1:].split(".")
            inner = value
            for parent in parents:
                inner = inner[parent]
            del inner[name]
            odd.append(name)
