"""Carrying faults out in a world. One function a fault; each schedules its own end. World's turn only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from harness.campaign.faults import REJECTED
from harness.worlds.accounts import Account, key_of
from harness.worlds.pika_loop import SelectConnection
from harness.worlds.plan import Fault
from harness.worlds.process import ServiceProcess
from harness.worlds.rabbit import Connection
from harness.worlds.record import EVENTS_EXCHANGE, EVENTS_QUEUE
from harness.worlds.world import World
from simulator import controls
from simulator import faults as venue_faults

Deed = Callable[[World, Fault], None]
RESTART_S: Final = (1.0, 10.0)
"""A supervisor brings a dead process back within this time."""
COMMANDS_QUEUE: Final = "usersStreamAction"
DRAINED_S: Final = 40.0
"""Longer than DRAIN_TIMEOUT_S and everything after it."""


def carry_out(world: World, fault: Fault) -> None:
    world.note(f"fault: {fault}")
    DEEDS[fault.kind](world, fault)


def _process(world: World, fault: Fault) -> ServiceProcess | None:
    living = [process for process in world.living() if not process.host.frozen]
    return living[fault.target % len(living)] if living else None


def _account(world: World, fault: Fault) -> Account:
    return world.accounts[fault.target % len(world.accounts)]


def _later(world: World, seconds: float, work: Callable[[], object]) -> None:
    world.kernel.after(seconds, work)


def _wait_s(fault: Fault) -> float:
    low, high = RESTART_S
    return low + (high - low) * fault.dice


# --- processes ---


def kill(world: World, fault: Fault) -> None:
    process = _process(world, fault)
    if process is not None:
        world.kill(process)
        _later(world, 9.0 + _wait_s(fault), partial(world.boot, process.role, process.machine))


def kill_fast(world: World, fault: Fault) -> None:
    """Back within the life of its own heartbeat."""
    process = _process(world, fault)
    if process is not None:
        world.kill(process)
        _later(world, 0.5 + 3.0 * fault.dice, partial(world.boot, process.role, process.machine))


def drain(world: World, fault: Fault) -> None:
    """A rolling deployment: the new one comes first."""
    process = _process(world, fault)
    if process is not None:
        world.boot(process.role, "m2" if process.machine == "m1" else "m1")
        _later(world, 1.0 + 4.0 * fault.dice, partial(_terminate, world, process))


def _terminate(world: World, process: ServiceProcess) -> None:
    if process.alive and not process.terminated:
        world.note(f"{process.host.name} gets SIGTERM")
        process.terminate()
        _later(world, DRAINED_S, partial(_end, world, process))


def _end(world: World, process: ServiceProcess) -> None:
    if process.alive:
        world.kill(process)


def kill_in_drain(world: World, fault: Fault) -> None:
    process = _process(world, fault)
    if process is not None:
        drain(world, fault)
        _later(world, 6.0 + 3.0 * fault.dice, partial(_end, world, process))


def start(world: World, fault: Fault) -> None:
    world.boot("user", f"m{1 + fault.target % 3}")


def kill_at_start(world: World, fault: Fault) -> None:
    process = world.boot("user", f"m{1 + fault.target % 3}")
    _later(world, 0.05 + 3.0 * fault.dice**2, partial(_end, world, process))


def restart_all(world: World, fault: Fault) -> None:
    for process in world.living():
        world.kill(process)
        _later(world, 1.0 + fault.dice * 4.0, partial(world.boot, process.role, process.machine))


def reboot(world: World, fault: Fault) -> None:
    """The host restarts: all processes and a Redis without a disk."""
    world.redis.stop()
    restart_all(world, fault)
    _later(world, 0.5 + fault.dice, partial(world.redis.start, empty=True))


def freeze(world: World, fault: Fault) -> None:
    process = _process(world, fault)
    if process is None:
        return
    world.note(f"{process.host.name} is frozen")
    world.kernel.freeze(process.host)
    world.rabbit.host_frozen(process.host)

    def thaw() -> None:
        if process.host.alive and process.host.frozen:
            world.note(f"{process.host.name} goes on")
            world.kernel.thaw(process.host)

    _later(world, fault.seconds, thaw)


def clock_step(world: World, fault: Fault) -> None:
    process = _process(world, fault)
    if process is not None:
        seconds = (-120.0, -10.0, -3.0, 3.0, 10.0, 120.0, 700.0)[int(fault.dice * 7)]
        world.note(f"{process.host.name}: the wall clock jumps by {seconds:.0f} s")
        process.host.skew_ms += int(seconds * 1000)


# --- Redis ---


def redis_stall(world: World, fault: Fault) -> None:
    world.redis.stall(fault.seconds)


def redis_away(world: World, fault: Fault) -> None:
    world.redis.stop()
    _later(world, fault.seconds, partial(world.redis.start, empty=False))


def redis_restart_empty(world: World, fault: Fault) -> None:
    world.redis.stop()
    _later(world, 0.5 + 4.0 * fault.dice, partial(world.redis.start, empty=True))


def redis_flush(world: World, fault: Fault) -> None:
    del fault
    world.redis.flush()


def redis_drop(world: World, fault: Fault) -> None:
    del fault
    world.redis.drop_connections()


def redis_readonly(world: World, fault: Fault) -> None:
    world.redis.readonly = True

    def over() -> None:
        world.redis.readonly = False

    _later(world, fault.seconds, over)


def redis_cut(world: World, fault: Fault) -> None:
    process = _process(world, fault)
    if process is not None:
        world.note(f"{process.host.name} is cut off from Redis")
        world.redis.cut(process.host)
        _later(world, fault.seconds, partial(world.redis.mend, process.host))


def redis_evict(world: World, fault: Fault) -> None:
    """Keys go one by one, as under memory pressure."""
    source = world.fault_chance
    until = world.kernel.now + fault.seconds

    def once() -> None:
        if world.kernel.now < until:
            world.redis.evict(source)
            _later(world, source.uniform(0.05, 0.4), once)

    once()


# --- RabbitMQ ---


def rabbit_away(world: World, fault: Fault) -> None:
    world.rabbit.stop()
    _later(world, fault.seconds, world.rabbit.start)


def rabbit_drop(world: World, fault: Fault) -> None:
    del fault
    world.rabbit.drop_connections()


def rabbit_cut(world: World, fault: Fault) -> None:
    process = _process(world, fault)
    if process is not None:
        world.note(f"{process.host.name} is cut off from RabbitMQ")
        world.rabbit.cut(process.host)
        _later(world, fault.seconds, partial(world.rabbit.mend, process.host))


def rabbit_stall(world: World, fault: Fault) -> None:
    world.rabbit.stalled_until = world.kernel.now + fault.seconds


def rabbit_alarm(world: World, fault: Fault) -> None:
    world.rabbit.set_alarm(True, _blocked)
    _later(world, fault.seconds, partial(world.rabbit.set_alarm, False, _blocked))


def _blocked(connection: Connection, blocked: bool) -> None:
    if isinstance(connection.client, SelectConnection):
        connection.client.blocked(blocked)


def events_queue_deleted(world: World, fault: Fault) -> None:
    del fault
    world.rabbit.delete_queue(EVENTS_QUEUE)


def events_exchange_deleted(world: World, fault: Fault) -> None:
    del fault
    world.rabbit.delete_exchange(EVENTS_EXCHANGE)
    # The backend's own consumer of service messages declares what it needs again.
    _later(world, 1.0, world.declare_readers)


def commands_deleted(world: World, fault: Fault) -> None:
    del fault
    world.rabbit.delete_queue(COMMANDS_QUEUE)


# --- disk ---


def disk_full(world: World, fault: Fault) -> None:
    world.disk.full = True
    _later(world, fault.seconds, partial(setattr, world.disk, "full", False))


def disk_damaged(world: World, fault: Fault) -> None:
    world.note(f"{world.disk.damage(fault.dice)} segments are damaged")


# --- venues ---


def _venue_fault(kind: str, *, standing: bool = False, **params: str) -> Deed:
    def deed(world: World, fault: Fault) -> None:
        account = _account(world, fault)
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
    process = _process(world, fault)
    if process is not None:
        world.note(f"{process.host.name} is cut off from the venues")
        world.venues.cut(process.host)
        _later(world, fault.seconds, partial(world.venues.mend, process.host))


def venue_skew(world: World, fault: Fault) -> None:
    account = _account(world, fault)
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
    account = _account(world, fault)
    code = REJECTED[account.venue]
    controls.inject(
        world.hub,
        venue_faults.Fault(kind="reject_key", account=account.stream, params={"code": code}),
        world.venues.now(),
    )
    _later(world, fault.seconds, partial(_replace_key, world, account))


def key_replaced(world: World, fault: Fault) -> None:
    _replace_key(world, _account(world, fault))


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
    world.traffic.liquidate(_account(world, fault))


DEEDS: Final[Mapping[str, Deed]] = {
    **{
        deed.__name__: deed
        for deed in (
            kill, kill_fast, drain, kill_in_drain, start, kill_at_start, restart_all, reboot, freeze, clock_step,
            redis_stall, redis_away, redis_restart_empty, redis_flush, redis_drop, redis_readonly, redis_cut, redis_evict,
            rabbit_away, rabbit_drop, rabbit_cut, rabbit_stall, rabbit_alarm, events_queue_deleted,
            events_exchange_deleted, commands_deleted, disk_full, disk_damaged, venue_cut, venue_skew, key_rejected,
            key_replaced, liquidation,
        )
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
}  # fmt: skip
