"""Wanted streams that nobody runs are seen."""

from __future__ import annotations

import pytest

from connector.core.metrics import METRICS
from connector.streams.coverage import Coverage
from tests.unit.connector.streams.cluster import Cluster, names


def test_a_full_process_says_so_once_and_again_when_it_has_room(caplog: pytest.LogCaptureFixture) -> None:
    coverage = Coverage(3)
    coverage.seen(wanted=3, without=(), room=0)
    assert coverage.problems() == ()
    for unowned in (212, 213):
        coverage.seen(wanted=215, without=[str(number) for number in range(unowned)], room=0)
    assert coverage.problems() == ("capacity: MAX_STREAMS=3 is reached; 213 wanted streams are run by nobody",)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert (METRICS.value("streams_wanted"), METRICS.value("streams_unowned")) == (215, 213)
    coverage.seen(wanted=215, without=[str(number) for number in range(213)], room=2)
    assert coverage.problems() == ()


def test_accounts_beyond_max_streams_are_known_to_the_process_that_has_no_room() -> None:
    """212 of 215 accounts were not served: no line, no figure, and /ready was green."""
    cluster = Cluster()
    one = cluster.process("one", capacity=2)
    for name in names(5):
        cluster.open(name)
    cluster.tick(20)
    assert one.accounts.coverage.problems() == (
        "capacity: MAX_STREAMS=2 is reached; 3 wanted streams are run by nobody",
    )
    assert METRICS.value("streams_unowned") == 3
    cluster.process("two")
    cluster.tick(20)
    assert one.accounts.coverage.problems() == ()
    assert METRICS.value("streams_unowned") == 0
