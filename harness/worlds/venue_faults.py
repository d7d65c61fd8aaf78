"""Faults of the venues and of the keys that they know. World's turn only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from harness.campaign.faults import REJECTED
from harness.worlds.accounts import Account, key_of
from harness.worlds.deeds import Deed, account_of, later, process_of
from harness.worlds.plan import Fault
from harness.worlds.world import World
from simulator import controls
from simulator import faults as venue_faults


def _venue_fault(kind: str, *, standing: bool = False, **params: str) -> Deed:
    def deed(world: World, fault: Fault) -> None:
        account = account_of(world, fault)
        by_account = kind in _BY_ACCOUNT
        controls.inject(
            world.hub,
            venue_faults.Fault(
                kind=kind,
                standing=standing,
                for_s=fault.seconds if standing else 0.0,
                times=0 if standing else None,
                params={name: value.format(seconds=fault.seconds) for name, value in params.items()},
                account=account.stream if by_account else "",
                venue="" if by_account else account.venue,
            ),
            world.venues.now(),
        )

    return deed


_BY_ACCOUNT: Final = frozenset({"drop", "half_open", "close", "stall", "terminate", "expire_token", "maintenance"})


def venue_cut(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is not None:
        world.note(f"{process.host.name} is cut off from the venues")
        world.venues.cut(process.host)
        later(world, fault.seconds, partial(world.venues.mend, process.host))


def prices_drop(world: World, fault: Fault) -> None:
    """Every connection for prices is reset."""
    del fault
    controls.inject(world.hub, venue_faults.Fault(kind="drop", feed="market"), world.venues.now())


def venue_skew(world: World, fault: Fault) -> None:
    account = account_of(world, fault)
    ms = (-6000, -1500, 1500, 6000)[int(fault.dice * 4)]
    controls.inject(
        world.hub,
        venue_faults.Fault(
            kind="clock_skew", venue=account.venue, standing=True, for_s=fault.seconds, params={"ms": str(ms)}
        ),
        world.venues.now(),
    )


def key_rejected(world: World, fault: Fault) -> None:
    """The venue refuses the key for a while; then its user makes a new one, and a bot opens with it."""
    account = account_of(world, fault)
    code = REJECTED[account.venue]
    controls.inject(
        world.hub,
        venue_faults.Fault(kind="reject_key", account=account.stream, params={"code": code}),
        world.venues.now(),
    )
    later(world, fault.seconds, partial(_replace_key, world, account))


def key_bad_twice(world: World, fault: Fault) -> None:
    """The key is refused, and so is the next one that its user makes; bots go on asking. Then comes a good one."""
    account = account_of(world, fault)
    code = REJECTED[account.venue]

    def refuse() -> None:
        deed = venue_faults.Fault(kind="reject_key", account=account.stream, params={"code": code})
        controls.inject(world.hub, deed, world.venues.now())

    def another() -> None:
        _replace_key(world, account)
        refuse()
        for number in range(3):
            later(world, 0.5 + number * fault.seconds / 4, partial(_one_more_bot, world, account.stream))

    refuse()
    later(world, 1.0, partial(_one_more_bot, world, account.stream))
    later(world, fault.seconds / 2, another)
    later(world, fault.seconds * 2, partial(_replace_key, world, account))


def _one_more_bot(world: World, stream: str) -> None:
    if world.backend.bots[stream]:
        world.backend.open(stream)


def key_replaced(world: World, fault: Fault) -> None:
    _replace_key(world, account_of(world, fault))


def _replace_key(world: World, account: Account) -> None:
    account.renew(world.fault_chance)
    world.hub.world.engine.reject_key(account.stream, "")
    world.hub.world.engine.replace_keys(account.stream, [key_of(account)])
    world.hub.key_changed(account.stream, world.venues.now())
    world.note(f"{account.stream} has a new key")
    if world.backend.bots[account.stream]:
        world.backend.open(account.stream)


def liquidation(world: World, fault: Fault) -> None:
    """One for the venues whose futures may be forced shut; elsewhere nothing happens."""
    world.traffic.liquidate(account_of(world, fault))


VENUE_DEEDS: Final[Mapping[str, Deed]] = {
    **{
        deed.__name__: deed
        for deed in (venue_cut, venue_skew, key_rejected, key_bad_twice, key_replaced, prices_drop, liquidation)
    },
    "venue_drop": _venue_fault("drop"),
    "venue_half_open": _venue_fault("half_open"),
    "venue_close": _venue_fault("close"),
    "venue_stall": _venue_fault("stall", seconds="{seconds:.2f}"),
    "venue_maintenance": _venue_fault("maintenance", seconds="2"),
    "venue_expire": _venue_fault("expire_token"),
    "venue_refuse": _venue_fault("refuse", standing=True, status="503"),
    "venue_duplicate": _venue_fault("duplicate", standing=True),
    "venue_reorder": _venue_fault("reorder", standing=True),
    "venue_rest_error": _venue_fault("rest_error", standing=True, status="502"),
    "venue_rest_slow": _venue_fault("rest_slow", standing=True, seconds="3"),
    "venue_rest_reset": _venue_fault("rest_reset", standing=True),
}
