"""Watches a world while it runs, for what cannot be seen any more when it is at rest. World's turn, or that of the server."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from connector.streams.accounts import Accounts
from connector.streams.lifecycle import StreamState
from harness.worlds.kernel import Host
from harness.worlds.process import ServiceProcess
from harness.worlds.world import World

LOOK_S: Final = 0.5
NOBODY_S: Final = 5.0
"""A lease in the name of a process that does not know of it: longer than hand-over messages take, shorter than it lives."""
UNSEEN_S: Final = 4.5
"""A role of which nobody but newcomers can be seen for so long may count as gone."""
BEAT_S: Final = 1.25
"""A process that has been dead for longer than a beat could have been known to be."""


class Monitor:
    """`broken` are promises that did not hold at some moment, each told once: invariant, text, stream."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[tuple[str, str, str]] = []
        self.most_held: dict[str, int] = {}
        """The most streams that each process held."""
        self.unseen: list[float] = []
        """When nobody of those who live had been able to show it for so long: all stood still or were cut off."""
        self._seen_at = 0.0
        self._since: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()

    def begin(self) -> None:
        self._world.redis.asked = self.asked
        self._world.kernel.after(LOOK_S, self._look)

    def _tell(self, invariant: str, text: str, stream: str) -> None:
        if (invariant, stream) not in self._told:
            self._told.add((invariant, stream))
            self.broken.append((invariant, f"{stream}: {text}, at {self._world.kernel.now:.3f} s", stream))

    # --- the server's turn ---

    def asked(self, host: Host, name: str, arguments: tuple[Any, ...]) -> None:
        """A process's call of the registry is carried out now."""
        if name == "hand_over" and arguments[2] != arguments[3]:
            self._handed(str(arguments[0]), host, str(arguments[3]))
        elif name == "begin_epoch":
            self._world.backend.epoch_began()
        elif name == "clear_gate":
            self._gate_cleared(str(arguments[0]), host)

    def _handed(self, stream: str, giver: Host, target: str) -> None:
        taker = next((process for process in self._world.processes if process.owner == target), None)
        if taker is None or taker.owner == _owner_of(self._world, giver):
            return
        dead_s = self._world.kernel.now - taker.died_at if taker.died_at is not None else 0.0
        if dead_s > BEAT_S:
            self._tell(
                "handed to the dead", f"{giver.name} gives it to {taker.host.name}, dead for {dead_s:.1f} s", stream
            )

    def _gate_cleared(self, stream: str, host: Host) -> None:
        """A gate is lifted by another key, or by an event of the account; not while the venue refuses this very key."""
        world = self._world
        account = next((account for account in world.accounts if account.stream == stream), None)
        gate = world.redis.registry.gate(stream)
        if account is None or gate is None:
            return
        found = world.hub.world.engine.find_key(account.venue, account.key)
        if found is not None and found[1].rejected and gate.digest == account.digest():
            world.kernel.after(0.0, partial(self._gate_gone, stream, host))

    def _gate_gone(self, stream: str, host: Host) -> None:
        """The call has been carried out: one for the gate of another key has changed nothing."""
        if self._world.redis.registry.gate(stream) is None:
            self._tell("gate deleted", f"{host.name} deletes the gate of the key that the venue refuses", stream)

    # --- the world's turn ---

    def _look(self) -> None:
        world, now = self._world, self._world.kernel.now
        world.kernel.after(LOOK_S, self._look)
        living = {process.owner: process for process in world.living() if process.process is not None}
        world.look_around()
        self._seek_anybody()
        for account in world.accounts:
            if not world.traffic.joined(account) and any(_live(process, account.stream) for process in living.values()):
                world.traffic.join(account)
        seen = set()
        for process in living.values():
            held = len(process.leases)
            self.most_held[process.host.name] = max(held, self.most_held.get(process.host.name, 0))
        for unit, (lease, until) in world.redis.registry._leases._values.items():
            holder = living.get(lease[0])
            if holder is None or holder.host.frozen or (until is not None and until <= now):
                continue
            if not world.redis.writable(holder.host):
                continue  # nobody can give a lease back now; from then on it has its time to
            if unit not in holder.leases and not any(gives(other, unit) for other in living.values()):
                key = (unit, lease[0])
                seen.add(key)
                since = self._since.setdefault(key, now)
                if now - since >= NOBODY_S:
                    self._tell("lease of nobody", f"{holder.host.name} has its lease and does not know of it", unit)
        self._since = {key: since for key, since in self._since.items() if key in seen}

    def _seek_anybody(self) -> None:
        world, now = self._world, self._world.kernel.now
        speakers = world.speakers()
        # A newcomer shows nobody the life of those before it: it begins one of its own if none of them can be seen.
        knowing = [each for each in speakers if world.has_met(each)]
        if not speakers or any(not each.host.frozen and not world.redis.cut_off(each.host) for each in knowing):
            self._seen_at = now
        elif now - self._seen_at >= UNSEEN_S:
            self.unseen.append(self._seen_at)
            for each in speakers:
                each.met = each.met or world.shows_itself(each)  # what is seen from now on is the role
            self._seen_at = now


def gives(process: ServiceProcess, unit: str) -> bool:
    """Whether this process is handing the unit over."""
    units = process.process.engine.units if process.process is not None else None
    return isinstance(units, Accounts) and units.handover.giving(unit)


def _live(process: ServiceProcess, stream: str) -> bool:
    engine = process.process.engine if process.process is not None else None
    return engine is not None and engine.supervisor.states().get(stream) is StreamState.LIVE


def _owner_of(world: World, host: Host) -> str:
    return next((process.owner for process in world.processes if process.host is host), "")
