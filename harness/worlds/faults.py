"""Carrying faults out in a world. One function a fault; each schedules its own end. World's turn only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from harness.worlds.deeds import Deed, later, process_of
from harness.worlds.kernel import Host
from harness.worlds.pika_loop import SelectConnection
from harness.worlds.plan import Fault
from harness.worlds.process import ServiceProcess
from harness.worlds.rabbit import Connection
from harness.worlds.record import EVENTS_EXCHANGE, EVENTS_QUEUE
from harness.worlds.venue_faults import VENUE_DEEDS
from harness.worlds.world import World

RESTART_S: Final = (1.0, 10.0)
"""A supervisor brings a dead process back within this time."""
COMMANDS_QUEUE: Final = "usersStreamAction"
DRAINED_S: Final = 40.0
"""Longer than DRAIN_TIMEOUT_S and everything after it."""


def carry_out(world: World, fault: Fault) -> None:
    world.note(f"fault: {fault}")
    DEEDS[fault.kind](world, fault)


def _wait_s(fault: Fault) -> float:
    low, high = RESTART_S
    return low + (high - low) * fault.dice


# --- processes ---


def kill(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is not None:
        world.kill(process)
        later(world, 9.0 + _wait_s(fault), partial(world.again, process))


def kill_fast(world: World, fault: Fault) -> None:
    """Back within the life of its own heartbeat."""
    process = process_of(world, fault)
    if process is not None:
        world.kill(process)
        later(world, 0.5 + 3.0 * fault.dice, partial(world.again, process))


def drain(world: World, fault: Fault) -> None:
    """A rolling deployment: the new one comes first."""
    process = process_of(world, fault)
    if process is not None:
        world.again(process, "m2" if process.machine == "m1" else "m1")
        later(world, 1.0 + 4.0 * fault.dice, partial(_terminate, world, process))


def _terminate(world: World, process: ServiceProcess) -> None:
    if process.alive and not process.terminated:
        world.note(f"{process.host.name} gets SIGTERM")
        process.terminate()
        later(world, DRAINED_S, partial(_end, world, process))


def _end(world: World, process: ServiceProcess) -> None:
    if process.alive:
        world.kill(process)


def kill_in_drain(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is not None:
        drain(world, fault)
        later(world, 6.0 + 3.0 * fault.dice, partial(_end, world, process))


def start(world: World, fault: Fault) -> None:
    world.boot("user", f"m{1 + fault.target % 3}")


def kill_at_start(world: World, fault: Fault) -> None:
    process = world.boot("user", f"m{1 + fault.target % 3}")
    later(world, 0.05 + 3.0 * fault.dice**2, partial(_end, world, process))


def restart_all(world: World, fault: Fault) -> None:
    for process in world.living():
        world.kill(process)
        later(world, 1.0 + fault.dice * 4.0, partial(world.again, process))


def restart_step(world: World, fault: Fault) -> None:
    """Everything restarts, announces, and the clocks are put right right after it (NTP after a boot)."""
    restart_all(world, fault)
    after = 1.0 + fault.dice * 4.0

    def step() -> None:
        for process in world.living():
            process.host.skew_ms += 120_000 if fault.target % 2 else -120_000
        world.note("all wall clocks jump")

    later(world, after + 0.3 + 2.0 * fault.dice, step)


def master_dies(world: World, fault: Fault) -> None:
    """One of the worker processes of a master is killed (out of memory): the master stops the others of its machine."""
    process = process_of(world, fault)
    if process is None:
        return
    world.kill(process)
    siblings = [other for other in world.living() if other.machine == process.machine]
    for other in siblings or world.living()[:1]:
        later(world, 2.8, partial(_terminate, world, other))
    later(world, 12.0 + _wait_s(fault), partial(world.again, process))


def reboot(world: World, fault: Fault) -> None:
    """The host restarts: all processes and a Redis without a disk."""
    world.redis.stop()
    restart_all(world, fault)
    later(world, 0.5 + fault.dice, partial(world.redis.start, empty=True))


def freeze(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is None:
        return
    world.note(f"{process.host.name} is frozen")
    world.trouble(process.host)
    world.kernel.freeze(process.host)
    world.rabbit.host_frozen(process.host)

    def thaw() -> None:
        if process.host.alive and process.host.frozen:
            world.note(f"{process.host.name} goes on")
            world.kernel.thaw(process.host)

    later(world, fault.seconds, thaw)


def clock_step(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is not None:
        seconds = (-120.0, -10.0, -3.0, 3.0, 10.0, 120.0, 700.0)[int(fault.dice * 7)]
        world.note(f"{process.host.name}: the wall clock jumps by {seconds:.0f} s")
        process.host.skew_ms += int(seconds * 1000)


# --- Redis ---


def redis_stall(world: World, fault: Fault) -> None:
    world.redis.stall(fault.seconds)


def redis_away(world: World, fault: Fault) -> None:
    world.redis.stop()
    later(world, fault.seconds, partial(world.redis.start, empty=False))


def redis_restart_empty(world: World, fault: Fault) -> None:
    world.redis.stop()
    later(world, 0.5 + 4.0 * fault.dice, partial(world.redis.start, empty=True))


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

    later(world, fault.seconds, over)


def redis_cut(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is not None:
        world.note(f"{process.host.name} is cut off from Redis")
        world.trouble(process.host)
        world.redis.cut(process.host)
        later(world, fault.seconds, partial(world.redis.mend, process.host))


def redis_evict(world: World, fault: Fault) -> None:
    """Keys go one by one, as under memory pressure."""
    source = world.fault_chance
    until = world.kernel.now + fault.seconds

    def once() -> None:
        if world.kernel.now < until:
            world.redis.evict(source)
            later(world, source.uniform(0.05, 0.4), once)

    once()


# --- RabbitMQ ---


def rabbit_away(world: World, fault: Fault) -> None:
    world.rabbit.stop()
    later(world, fault.seconds, partial(_takes_again, world, world.rabbit.start))


def rabbit_drop(world: World, fault: Fault) -> None:
    del fault
    _takes_again(world, world.rabbit.drop_connections)


def rabbit_cut(world: World, fault: Fault) -> None:
    process = process_of(world, fault)
    if process is not None:
        world.note(f"{process.host.name} is cut off from RabbitMQ")
        world.trouble(process.host)
        world.rabbit.cut(process.host)
        later(world, fault.seconds, partial(_reached_again, world, process.host))


def _reached_again(world: World, host: Host) -> None:
    """What it wrote before it noticed arrives now."""
    world.trouble(host)
    world.rabbit.mend(host)


def rabbit_stall(world: World, fault: Fault) -> None:
    world.rabbit.stalled_until = world.kernel.now + fault.seconds


def rabbit_alarm(world: World, fault: Fault) -> None:
    world.rabbit.set_alarm(True, _blocked)
    later(world, fault.seconds, partial(_takes_again, world, partial(world.rabbit.set_alarm, False, _blocked)))


def _takes_again(world: World, end: Callable[[], None]) -> None:
    """What every process wanted to say, and nobody has written down as said, comes now."""
    for process in world.living():
        world.trouble(process.host)
    end()


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
    later(world, 1.0, world.declare_readers)


def commands_deleted(world: World, fault: Fault) -> None:
    del fault
    world.rabbit.delete_queue(COMMANDS_QUEUE)


# --- disk ---


def disk_full(world: World, fault: Fault) -> None:
    world.disk.full = True
    later(world, fault.seconds, partial(setattr, world.disk, "full", False))


def disk_damaged(world: World, fault: Fault) -> None:
    world.note(f"{world.disk.damage(fault.dice)} files of outboxes are damaged")


DEEDS: Final[Mapping[str, Deed]] = {
    **{
        deed.__name__: deed
        for deed in (
            kill, kill_fast, drain, kill_in_drain, start, kill_at_start, restart_all, restart_step, master_dies,
            reboot, freeze, clock_step,
            redis_stall, redis_away, redis_restart_empty, redis_flush, redis_drop, redis_readonly, redis_cut, redis_evict,
            rabbit_away, rabbit_drop, rabbit_cut, rabbit_stall, rabbit_alarm, events_queue_deleted,
            events_exchange_deleted, commands_deleted, disk_full, disk_damaged,

        )
    },
    **VENUE_DEEDS,
}  # fmt: skip
