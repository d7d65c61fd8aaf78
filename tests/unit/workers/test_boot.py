"""A worker process that can't start ends: Dramatiq would go on without an engine, holding the command queue (E4)."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import pytest

from connector.core.errors import InvalidSetting
from workers._boot import Boot
from workers._process import Process
from workers._refusal import CRASHED, REFUSED

ROOT: Final = Path(__file__).parents[3]


class FailsAtStart:
    def start(self) -> None:
        raise InvalidSetting("VENUE_ENDPOINTS: an origin is none")


def boot(make: Callable[[], object]) -> tuple[Boot, list[int]]:
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        raise SystemExit(code)

    return Boot("user", cast(Callable[[], Process], make), end), codes


def broken(error: BaseException) -> Callable[[], object]:
    def make() -> object:
        raise error

    return make


def hook(call: Callable[[Any, Any], None]) -> None:
    with pytest.raises(SystemExit):
        call(None, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [(InvalidSetting("CREDENTIALS_KEYS: key 1 of 1 is unusable"), REFUSED), (OSError("no threads"), CRASHED)],
)
def test_what_cannot_be_made_ends_the_process_before_a_consumer_is_there(
    error: Exception, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    one, codes = boot(broken(error))
    with caplog.at_level(logging.ERROR):
        hook(one.before_worker_boot)
    assert codes == [code]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["can't start"]


def test_what_cannot_be_started_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    one, codes = boot(FailsAtStart)
    one.before_worker_boot(cast(Any, None), None)
    with caplog.at_level(logging.ERROR):
        hook(one.after_worker_boot)
    assert codes == [REFUSED]
    assert [record.getMessage() for record in caplog.records] == ["can't start: VENUE_ENDPOINTS: an origin is none"]


def test_worker_processes_load_no_http_server() -> None:
    """Only the health process has a use for it: 27 MB and a third of a second for each of the others."""
    code = (
        "import sys, workers._boot, workers._process\n"
        "sys.exit('aiohttp.web' in sys.modules or 'prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
