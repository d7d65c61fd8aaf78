"""What a world notes of its processes, for its judges."""

from __future__ import annotations

import pytest

from harness.worlds.monitor import Monitor
from harness.worlds.plan import draw
from harness.worlds.stage import staged
from harness.worlds.world import opened


@pytest.mark.parametrize("cut_off", [True, False])
def test_who_had_no_redis_beside_another_process_does_not_know_that_it_lived(cut_off: bool) -> None:
    """Seed 8106: it began a new life of the role when Redis was back, and was blamed for announcing it."""
    with staged(), opened(draw(1, kind="calm", processes=1).setup) as world:
        Monitor(world).begin()
        former = world.boot("user", "m1")
        world.run(5.0)
        newcomer = world.boot("user", "m2")
        world.run(5.3)
        if cut_off:
            world.redis.cut(newcomer.host)
        world.run(12.0)
        world.kill(former)
    assert world.hardly_met == ([12.0] if cut_off else [])


def test_a_newcomer_beside_one_that_has_no_redis_is_nobody_of_the_role() -> None:
    """It begins a new life of the role, because it can't see that the other one lives, and was blamed for announcing it."""
    with staged(), opened(draw(1, kind="calm", processes=1).setup) as world:
        monitor = Monitor(world)
        monitor.begin()
        former = world.boot("user", "m1")
        world.run(5.0)
        world.redis.cut(former.host)
        world.run(7.0)
        world.boot("user", "m2")
        world.run(12.0)
    assert len(monitor.unseen) == 1


@pytest.mark.parametrize("readonly", [True, False])
def test_a_lease_that_nobody_can_give_back_now_is_no_lease_of_nobody(readonly: bool) -> None:
    """Seed 5208: Redis took no writes when the stream was closed."""
    with staged(), opened(draw(1, kind="calm", processes=1).setup) as world:
        monitor = Monitor(world)
        monitor.begin()
        process = world.boot("user", "m1")
        world.run(5.0)
        world.redis.readonly = readonly
        world.redis.registry._leases.set("u", (process.owner, 1), 60.0)
        world.run(14.0)
    assert [row[0] for row in monitor.broken] == ([] if readonly else ["lease of nobody"])
