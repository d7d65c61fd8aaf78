"""The list of known failures is honest: every entry still fails, and blames what it should."""

from __future__ import annotations

from harness.worlds.failure import Failure
from harness.worlds.known import KNOWN, Known, cause_of, either
from harness.worlds.plan import draw
from tests.unit.harness.worlds_command import worlds


def test_every_known_failure_still_shows_in_its_world() -> None:
    """One that does not must go from the list, because it would hide the next defect of its kind."""
    done = worlds("--known")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": shows (") == len(KNOWN)


def test_a_broken_promise_in_a_world_without_what_is_blamed_is_unknown() -> None:
    calm = draw(1, kind="calm")
    assert cause_of(Failure("rabbit lost", "a: FILLED was not published"), calm) is None
    assert cause_of(Failure("counts", "a: 1 counted, 2 bots listen"), calm) is None


def test_an_entry_explains_what_it_names_where_the_world_had_what_it_blames() -> None:
    entry = Known("X1", "an example", frozenset({"counts"}), either("rabbit_drop"), 1, "commands")
    blamed = draw(1, kind="commands", faults=("rabbit_drop",))
    assert entry.explains(Failure("counts", "a: 1 counted, 2 bots listen"), blamed)
    assert not entry.explains(Failure("rabbit lost", "a: FILLED was not published"), blamed)
    assert not entry.explains(Failure("counts", "a: 1 counted, 2 bots listen"), draw(1, kind="calm"))
