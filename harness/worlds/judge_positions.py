"""The position that was told last is the one that the venue has. Pure reading."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from exchanges.ids import FAMILIES, is_paper
from harness.worlds.accounts import Account
from harness.worlds.failure import Failure
from harness.worlds.world import World

NEAR: Final = Decimal("1e-8")
"""Venues write coins with eight digits."""


def positions(world: World) -> list[Failure]:
    return [Failure("position", f"{stream}: {text}", stream) for stream, text in untold(world)]


def untold(world: World) -> list[tuple[str, str]]:
    """Stream and words of each position whose last event is not what the venue has."""
    found = []
    for account in world.accounts:
        if not _tells(account) or not world.backend.bots[account.stream] or account.stream in world.backend.unsure:
            continue
        told = {key[1]: body for key, body in world.record.positions.items() if key[0] == account.stream}
        for name, (quantity, contracts) in _held(world, account).items():
            body = next((told.pop(one) for one in name if one in told), None)
            if body is None and contracts:
                found.append((account.stream, f"nothing of {name[0]}, the venue has {contracts}"))
            elif body is not None and not _same(body, quantity, contracts):
                found.append((account.stream, f"{body}, the venue has {contracts} of {name[0]}"))
    return found


def _tells(account: Account) -> bool:
    spot = account.exchange in FAMILIES or account.exchange == "binanceUS"
    return not spot and not is_paper(account.exchange)


def _held(world: World, account: Account) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """By the venue's code and the platform's id of the symbol: size in the base asset and in contracts."""
    markets, sizes = world.hub.world.markets, {}
    held = {
        position.symbol: position
        for position in world.hub.world.engine.account(account.stream).positions(account.market)
    }
    for symbol in markets.symbols(account.market):
        position = held.get(symbol.wire)
        units = position.amount * symbol.contract_size if position is not None else Decimal(0)
        base = units / position.entry if position is not None and symbol.inverse else units
        sizes[symbol.wire, symbol.pair_id] = (base, position.amount if position is not None else Decimal(0))
    return sizes


def _same(body: dict[str, object], quantity: Decimal, contracts: Decimal) -> bool:
    told = body.get("quantity")
    if told is not None:
        return abs(Decimal(str(told)) - quantity) <= max(NEAR, abs(quantity) * NEAR)
    return Decimal(str(body.get("contracts"))) == contracts
