"""The position that was told last is the one that the venue has. Pure reading."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from exchanges.ids import FAMILIES, is_paper
from harness.worlds.accounts import Account
from harness.worlds.failure import Failure
from harness.worlds.world import World

NEAR: Final = Decimal("1e-8")
"""Venues write coins with eight digits."""
ENTRY: Final = Decimal("1e-4")
"""And entry prices, at which inverse contracts are reckoned in coins, with those of the symbol's price."""


class _Size(NamedTuple):
    """What the venue has of a symbol: in the base asset, how near that can be told (a part of it), and in contracts."""

    quantity: Decimal
    near: Decimal
    contracts: Decimal


def positions(world: World) -> list[Failure]:
    return [Failure("position", f"{stream}: {text}", stream) for stream, text in untold(world)]


def untold(world: World) -> list[tuple[str, str]]:
    """Stream and words of each position whose last event is not what the venue has."""
    found = []
    for account in world.accounts:
        if not _tells(account) or not world.backend.bots[account.stream] or account.stream in world.backend.unsure:
            continue
        told = {key[1]: body for key, body in world.record.positions.items() if key[0] == account.stream}
        for name, size in _held(world, account).items():
            body = next((told.pop(one) for one in name if one in told), None)
            if body is None and size.contracts:
                found.append((account.stream, f"nothing of {name[0]}, the venue has {size.contracts}"))
            elif body is not None and not (
                _same(body, size) or (not size.contracts and _forgotten(world, body, account))
            ):
                found.append((account.stream, f"{body}, the venue has {size.contracts} of {name[0]}"))
    return found


def _forgotten(world: World, body: dict[str, object], account: Account) -> bool:
    """Whether it was told since that nobody knows where the account stood: then what it held before may be gone."""
    gaps = [told.body["streamGap"] for told in world.record.services if told.kind == "streamGap"]
    ends = [gap["to"] for gap in gaps if gap["stream"] == account.stream and gap["from"] == 0]
    return max(ends, default=0) > int(str(body["eventTime"]))


def _tells(account: Account) -> bool:
    spot = account.exchange in FAMILIES or account.exchange == "binanceUS"
    return not spot and not is_paper(account.exchange)


def _held(world: World, account: Account) -> dict[tuple[str, str], _Size]:
    """By the venue's code and the platform's id of the symbol."""
    markets, sizes = world.hub.world.markets, {}
    held = {
        position.symbol: position
        for position in world.hub.world.engine.account(account.stream).positions(account.market)
    }
    for symbol in markets.symbols(account.market):
        position = held.get(symbol.wire)
        contracts = position.amount if position is not None else Decimal(0)
        units = contracts * symbol.contract_size
        base = units / position.entry if position is not None and symbol.inverse else units
        sizes[symbol.wire, symbol.pair_id] = _Size(base, ENTRY if symbol.inverse else NEAR, contracts)
    return sizes


def _same(body: dict[str, object], size: _Size) -> bool:
    quantity, contracts = body.get("quantity"), body.get("contracts")
    off = abs(Decimal(str(quantity)) - size.quantity) if quantity is not None else Decimal(0)
    return off <= max(NEAR, abs(size.quantity) * size.near) and Decimal(str(contracts)) == size.contracts
