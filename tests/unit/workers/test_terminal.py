"""What `make run` prints, line by line."""

from __future__ import annotations

import io

import msgspec
import pytest

from connector.core.messages import ServiceMessage
from tests.clocks import Standing
from workers._terminal import Terminal


def printed(**told: object) -> str:
    out = io.StringIO()
    Terminal(out, Standing())(ServiceMessage(kind="streamGap", body=msgspec.json.encode(told)))
    return out.getvalue()[10:].rstrip("\n")


def gap(since_ms: int, *missing: str) -> dict[str, object]:
    return {"exchange": "okx", "stream": "demo-okx", "from": since_ms, "to": 40_500, "orders": 2, "missing": missing}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (gap(10_000), "gap      okx              demo-okx       30.5 s: repaired"),
        (gap(10_000, "balances: not asked"), "gap      okx              demo-okx       30.5 s: balances: not asked"),
        (
            gap(0, "everything before"),
            "gap      okx              demo-okx       since nobody knows when: everything before",
        ),
    ],
)
def test_a_gap_is_one_short_line(told: dict[str, object], line: str) -> None:
    """The first screen of a newcomer was filled with JSON of two lines for each account."""
    assert printed(streamGap=told) == line


def test_other_messages_stand_as_they_are_sent() -> None:
    assert printed(restart="userStream") == 'service  {"restart":"userStream"}'
