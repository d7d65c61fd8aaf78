"""What people and tests do to the simulated world. One function a deed; each takes the hub and the time. Pure.

The Python API (`simulator.Simulator`) and the HTTP control API (`simulator.control_api`) are two doors to these functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from simulator._values import ApiKey, Entry, Holding, Order, Side
from simulator._venue import Instant
from simulator.engine import Account, NewOrder, Refused
from simulator.faults import KEYS, KINDS, Fault
from simulator.hub import Hub
from simulator.signing import kind_of


class OrderRef(msgspec.Struct, frozen=True, kw_only=True):
    """Names an order: by the engine's id, or by account, exchange id and client id."""

    order_id: int = 0
    account: str = ""
    exchange: str = ""
    client_id: str = ""


class Injected(msgspec.Struct, frozen=True):
    """A fault was started. `fault_id` is 0 when nothing is left to hit later; `hit` counts open connections hit at once."""

    fault_id: int
    hit: int


def api_key(key: str, secret: str, passphrase: str = "") -> ApiKey:
    """Credentials; the type of key follows from the secret."""
    return ApiKey(key=key, secret=secret, passphrase=passphrase, kind=kind_of(secret))


def add_account(
    hub: Hub,
    venue: str,
    key: ApiKey,
    account_id: str = "",
    wallets: Mapping[str, Mapping[str, Decimal]] | None = None,
) -> Account:
    """Raises `Refused` for an unknown venue or a key that exists."""
    if venue not in hub.halves:
        raise Refused("account", f"no venue {venue}; there are {', '.join(sorted(hub.halves))}")
    return hub.world.engine.create_account(venue, [key], account_id=account_id, wallets=wallets)


def _find(hub: Hub, ref: OrderRef) -> Order:
    engine = hub.world.engine
    order = engine.locate(ref.order_id) if ref.order_id else None
    if not ref.order_id:
        order = engine.order(ref.account, ref.exchange, client_id=ref.client_id)
    if order is None:
        raise Refused("unknown_order", "no such order")
    return order


def _wall(hub: Hub, account: str, now: Instant) -> int:
    """The clock of the account's venue."""
    return hub.now_at(hub.world.engine.account(account).venue, now).wall_ms


def place(hub: Hub, account: str, exchange: str, new: NewOrder, now: Instant, *, hold: bool = False) -> Order:
    order = hub.world.engine.place(account, exchange, new, _wall(hub, account, now), hold=hold)
    hub.deliver(now)
    return order


def fill(
    hub: Hub,
    ref: OrderRef,
    now: Instant,
    *,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
    maker: bool = True,
) -> Order:
    order = _find(hub, ref)
    after = hub.world.engine.fill(
        order.account,
        order.exchange,
        order.order_id,
        _wall(hub, order.account, now),
        quantity=quantity,
        price=price,
        maker=maker,
    )
    hub.deliver(now)
    return after


def cancel(hub: Hub, ref: OrderRef, now: Instant, *, request_id: str = "") -> Order:
    order = _find(hub, ref)
    wall = _wall(hub, order.account, now)
    after = hub.world.engine.cancel(order.account, order.exchange, order.order_id, wall, request_id)
    hub.deliver(now)
    return after


def expire(hub: Hub, ref: OrderRef, now: Instant) -> Order:
    order = _find(hub, ref)
    after = hub.world.engine.expire(order.account, order.exchange, order.order_id, _wall(hub, order.account, now))
    hub.deliver(now)
    return after


def reject(hub: Hub, ref: OrderRef, now: Instant, *, reason: str = "NONE") -> Order:
    order = _find(hub, ref)
    wall = _wall(hub, order.account, now)
    after = hub.world.engine.reject(order.account, order.exchange, order.order_id, wall, reason)
    hub.deliver(now)
    return after


def amend(
    hub: Hub,
    ref: OrderRef,
    now: Instant,
    *,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
    client_id: str = "",
) -> Order:
    order = _find(hub, ref)
    after = hub.world.engine.amend(
        order.account,
        order.exchange,
        order.order_id,
        _wall(hub, order.account, now),
        quantity=quantity,
        price=price,
        client_id=client_id,
    )
    hub.deliver(now)
    return after


def modify(
    hub: Hub, ref: OrderRef, now: Instant, *, quantity: Decimal | None = None, price: Decimal | None = None
) -> Order:
    """Change an open order as its venue does: in place, or by a new order under the same client id (`replaces`).

    `quantity` is the size of the whole order, what is executed included.
    """
    order = _find(hub, ref)
    account = hub.world.engine.account(order.account)
    if not hub.replaces(account.venue):
        return amend(hub, ref, now, quantity=quantity, price=price)
    left = None if quantity is None else quantity - order.executed
    wall = _wall(hub, order.account, now)
    after = hub.world.engine.replace(order.account, order.exchange, order.order_id, wall, quantity=left, price=price)
    hub.deliver(now)
    return after


def liquidate(
    hub: Hub,
    account: str,
    exchange: str,
    symbol: str,
    now: Instant,
    *,
    side: Side | None = None,
    quantity: Decimal | None = None,
    fills: int = 1,
) -> Order:
    order = hub.world.engine.liquidate(
        account, exchange, symbol, _wall(hub, account, now), side=side, quantity=quantity, fills=fills
    )
    hub.deliver(now)
    return order


def transfer(
    hub: Hub, account: str, exchange: str, asset: str, delta: Decimal, now: Instant, *, reason: str = ""
) -> Holding:
    reason = reason or ("DEPOSIT" if delta >= 0 else "WITHDRAW")
    holding = hub.world.engine.transfer(account, exchange, asset, delta, _wall(hub, account, now), reason)
    hub.deliver(now)
    return holding


def set_price(hub: Hub, exchange: str, symbol: str, price: Decimal, now: Instant) -> None:
    """One trade at this price, told to everybody who watches."""
    _known(hub, exchange, symbol)
    wall = hub.market_now(exchange, now).wall_ms
    tick, updates = hub.world.markets.set_price(exchange, symbol, price, wall)
    hub.tick(tick, updates, now)


Listing = Literal["delisted", "listed", "untraded"]


def list_symbol(hub: Hub, exchange: str, symbol: str, state: Listing) -> None:
    """Take a symbol off its market, put it back, or make it one that has never traded."""
    markets = hub.world.markets
    change = {"delisted": markets.delist, "listed": markets.relist, "untraded": markets.untraded}[state]
    try:
        change(exchange, symbol)
    except KeyError:
        raise Refused("symbol", f"no symbol {symbol} on {exchange} that could be {state}") from None


def begin_candles(hub: Hub, exchange: str, symbol: str, interval: str, behind: int, now: Instant) -> None:
    """Let the candles of a symbol begin `behind` intervals ago, if nobody asked for them yet; `close_candle` then closes that
    many after their real end. Who checks times against a clock refuses candles that run more than one ahead of it."""
    _known(hub, exchange, symbol)
    hub.world.markets.track(exchange, symbol, interval, hub.market_now(exchange, now).wall_ms, behind)


def close_candle(hub: Hub, exchange: str, symbol: str, interval: str, now: Instant) -> int:
    """Close the running candle now; returns its opening time, ms. `interval` is a canonical name (`1m`)."""
    _known(hub, exchange, symbol)
    wall = hub.market_now(exchange, now).wall_ms
    updates = hub.world.markets.close_candle(exchange, symbol, interval, wall)
    hub.candles(updates, now)
    return updates[-1].candle.start_ms


def _known(hub: Hub, exchange: str, symbol: str) -> None:
    if hub.world.markets.symbol(exchange, symbol) is None:
        raise Refused("symbol", f"no symbol {symbol} on {exchange}")


def journal(hub: Hub, since: int = 0) -> list[Entry]:
    return hub.world.engine.journal(since)


def inject(hub: Hub, fault: Fault, now: Instant) -> Injected:
    """Start a fault (table in `simulator.faults`). Raises `Refused` for an unknown kind or account."""
    if fault.kind not in KINDS:
        raise Refused("account", f"no fault {fault.kind}; there are {', '.join(sorted(KINDS))}")
    if fault.kind == "unreachable" and fault.for_s <= 0:
        raise Refused("quantity", "unreachable needs for_s")
    if fault.kind in KEYS:
        _change_keys(hub, fault, now)
        return Injected(0, 0)
    hit = hub.inject(fault, now)
    return Injected(fault.fault_id, hit)


def _change_keys(hub: Hub, fault: Fault, now: Instant) -> None:
    engine = hub.world.engine
    if fault.kind == "replace_key":
        params = fault.params
        key = api_key(params.get("key", ""), params.get("secret", ""), params.get("passphrase", ""))
        engine.replace_keys(fault.account, [key])
    else:
        code = fault.params.get("code", "-2015") if fault.kind == "reject_key" else ""
        engine.reject_key(fault.account, code)
    if fault.kind != "accept_key":
        hub.key_changed(fault.account, now)
