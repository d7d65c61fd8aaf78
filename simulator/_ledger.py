"""Balances and positions of one account: what an order locks, what a fill moves. Pure arithmetic in `Decimal`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple

import msgspec

from simulator._values import LEVERAGE, ZERO, Holding, Order, Position, Symbol

TAKER: Final = Decimal("0.001")
MAKER: Final = Decimal("0.0008")
_UNIT: Final = Decimal("0.00000001")


class Settled(NamedTuple):
    """What one execution was worth and cost."""

    value: Decimal
    fee: Decimal
    fee_asset: str
    realised: Decimal


class Ledger:
    """Wallets (asset → holding) and positions; remembers what changed until `drain`."""

    def __init__(self, wallets: Mapping[str, Mapping[str, Decimal]]) -> None:
        self._wallets = {
            wallet: {asset: Holding(asset, amount, ZERO) for asset, amount in assets.items()}
            for wallet, assets in wallets.items()
        }
        self._positions: dict[tuple[str, str, str], Position] = {}
        self._locks: dict[tuple[str, int], tuple[str, str, Decimal]] = {}
        self._before: dict[tuple[str, str], Decimal] = {}
        self._moved: dict[tuple[str, str, str], None] = {}

    def holdings(self, wallet: str) -> list[Holding]:
        return sorted(self._wallets.get(wallet, {}).values(), key=lambda holding: holding.asset)

    def wallets(self) -> list[str]:
        return list(self._wallets)

    def positions(self, exchange: str) -> list[Position]:
        return [p for (where, _, _), p in self._positions.items() if where == exchange and p.amount]

    def drain(self, exchange: str, time_ms: int) -> tuple[tuple[Holding, ...], tuple[Position, ...]]:
        """Holdings and positions that changed since the last call: at this time."""
        holdings = []
        for (wallet, asset), total in self._before.items():
            holding = self._wallets[wallet][asset]
            holdings.append(msgspec.structs.replace(holding, delta=holding.total - total))
        moved = [key for key in self._moved if key[0] == exchange]
        for key in moved:
            self._positions[key] = msgspec.structs.replace(self._positions[key], updated_ms=time_ms)
        positions = [self._positions[key] for key in moved]
        self._before.clear()
        self._moved.clear()
        return tuple(holdings), tuple(positions)

    def add(self, wallet: str, asset: str, delta: Decimal) -> bool:
        """Change a free balance; False if it would fall below 0."""
        if self._get(wallet, asset).free + delta < 0:
            return False
        self._set(wallet, asset, free=delta)
        return True

    def lock(self, wallet: str, symbol: Symbol, order: Order, price: Decimal) -> bool:
        """Set the cost of a new order aside; False if there is not enough."""
        if symbol.settle:
            # Nothing is locked for it.
            need = symbol.value(order.quantity, price) / LEVERAGE
            return order.reduce_only or self._get(wallet, symbol.settle).free >= need
        asset = symbol.quote if order.side == "BUY" else symbol.base
        amount = order.quantity * price if order.side == "BUY" else order.quantity
        if self._get(wallet, asset).free < amount:
            return False
        self._set(wallet, asset, free=-amount, locked=amount)
        self._locks[(order.exchange, order.order_id)] = (wallet, asset, amount)
        return True

    def relock(self, wallet: str, symbol: Symbol, before: Order, after: Order) -> bool:
        """Adjust what an amended order holds."""
        key = (before.exchange, before.order_id)
        if symbol.settle or key not in self._locks:
            return True
        _, asset, held = self._locks[key]
        need = after.remaining * after.price if after.side == "BUY" else after.remaining
        if self._get(wallet, asset).free < need - held:
            return False
        if need != held:
            self._set(wallet, asset, free=held - need, locked=need - held)
        self._locks[key] = (wallet, asset, need)
        return True

    def release(self, order: Order) -> None:
        """Give back what a finished order still holds."""
        wallet, asset, held = self._locks.pop((order.exchange, order.order_id), ("", "", ZERO))
        if held:
            self._set(wallet, asset, free=held, locked=-held)

    def execute(
        self, wallet: str, symbol: Symbol, order: Order, quantity: Decimal, price: Decimal, *, maker: bool
    ) -> Settled:
        """Move the money of one execution of `order` (its state before the execution)."""
        value = symbol.value(quantity, price)
        rate = MAKER if maker else TAKER
        if symbol.settle:
            fee = (value * rate).quantize(_UNIT, rounding=ROUND_HALF_EVEN)
            realised = self._move(symbol, order, quantity, price)
            self._set(wallet, symbol.settle, free=realised - fee)
            return Settled(value, fee, symbol.settle, realised)
        key = (order.exchange, order.order_id)
        _, asset, held = self._locks[key]
        share = held if quantity == order.remaining else held * quantity / order.remaining
        if quantity == order.remaining:
            del self._locks[key]
        else:
            self._locks[key] = (wallet, asset, held - share)
        if order.side == "BUY":
            fee = (quantity * rate).quantize(_UNIT, rounding=ROUND_HALF_EVEN)
            self._set(wallet, symbol.quote, free=share - value, locked=-share)
            self._set(wallet, symbol.base, free=quantity - fee)
            return Settled(value, fee, symbol.base, ZERO)
        fee = (value * rate).quantize(_UNIT, rounding=ROUND_HALF_EVEN)
        self._set(wallet, symbol.base, free=share - quantity, locked=-share)
        self._set(wallet, symbol.quote, free=value - fee)
        return Settled(value, fee, symbol.quote, ZERO)

    def _move(self, symbol: Symbol, order: Order, quantity: Decimal, price: Decimal) -> Decimal:
        """Change a position; returns the realised profit in the settle asset."""
        key = (order.exchange, order.symbol, order.position_side)
        held = self._positions.get(key) or Position(
            symbol=order.symbol, amount=ZERO, entry=ZERO, realised=ZERO, side=order.position_side
        )
        signed = quantity if order.side == "BUY" else -quantity
        amount = held.amount + signed
        realised, entry = ZERO, held.entry
        if held.amount and (held.amount > 0) != (signed > 0):
            closed = min(quantity, abs(held.amount)) * (1 if held.amount > 0 else -1)
            realised = _profit(symbol, closed, held.entry, price).quantize(_UNIT, rounding=ROUND_HALF_EVEN)
            if not amount:
                entry = ZERO
            elif (amount > 0) != (held.amount > 0):
                entry = price
        else:
            entry = _entry(symbol, held, quantity, price)
        self._positions[key] = msgspec.structs.replace(
            held, amount=amount, entry=entry, realised=held.realised + realised
        )
        self._moved[key] = None
        return realised

    def _get(self, wallet: str, asset: str) -> Holding:
        return self._wallets.get(wallet, {}).get(asset) or Holding(asset, ZERO, ZERO)

    def _set(self, wallet: str, asset: str, *, free: Decimal = ZERO, locked: Decimal = ZERO) -> None:
        holding = self._get(wallet, asset)
        self._before.setdefault((wallet, asset), holding.total)
        self._wallets.setdefault(wallet, {})[asset] = Holding(asset, holding.free + free, holding.locked + locked)


def _profit(symbol: Symbol, amount: Decimal, entry: Decimal, price: Decimal) -> Decimal:
    """Profit of closing `amount` (signed) that was opened at `entry`."""
    units = amount * symbol.contract_size
    if symbol.inverse:
        return units / entry - units / price
    return units * (price - entry)


def _entry(symbol: Symbol, held: Position, quantity: Decimal, price: Decimal) -> Decimal:
    """Average entry after adding to a position."""
    old = abs(held.amount)
    if not old:
        return price
    if symbol.inverse:
        return (old + quantity) / (old / held.entry + quantity / price)
    return (old * held.entry + quantity * price) / (old + quantity)
