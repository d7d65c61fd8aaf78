"""A file limit that is too low is raised or told, not met in the middle of the night."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from workers import _limits

Limits = tuple[int, int]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Limits], list[Limits]]:
    def use(now: Limits) -> list[Limits]:
        held = [now]
        monkeypatch.setattr(resource, "getrlimit", lambda _: held[-1])
        monkeypatch.setattr(resource, "setrlimit", lambda _, new: held.append(new))
        return held

    return use


def test_the_soft_limit_is_raised_to_the_hard_one(limits: Callable[[Limits], list[Limits]]) -> None:
    held = limits((1024, 65_536))
    assert _limits.raise_file_limit(5_000) == 65_536
    assert held[-1] == (65_536, 65_536)


def test_no_hard_limit_gets_a_reasonable_one(limits: Callable[[Limits], list[Limits]]) -> None:
    held = limits((1024, resource.RLIM_INFINITY))
    assert _limits.raise_file_limit(5_000) == _limits.MAX_FILES
    assert held[-1] == (_limits.MAX_FILES, resource.RLIM_INFINITY)


def test_a_limit_below_the_streams_is_told(
    limits: Callable[[Limits], list[Limits]], caplog: pytest.LogCaptureFixture
) -> None:
    held = limits((1024, 1024))
    assert _limits.raise_file_limit(5_000) == 1024
    assert held == [(1024, 1024)]
    assert ["ulimit -n" in record.getMessage() for record in caplog.records] == [True]
