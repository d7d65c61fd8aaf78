"""For all unit tests: the log of a process is set up for a test, never for those behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from connector.core.log import LineHandler


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """One that stays prints whatever is logged from then on, and its thread fails in the simulated time of a later test."""
    yield
    root = logging.getLogger()
    left = [handler for handler in root.handlers if type(handler) is LineHandler]
    for handler in left:
        root.removeHandler(handler)
        handler.close()
    assert left == [], "call what connector.core.log.configure returned"
