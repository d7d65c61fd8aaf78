"""Every example of docs/python.md and the README does what the page says, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
EXAMPLE_S = 120.0
FILLED = ["NEW 0.00000000", "FILLED 0.25000000"]


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def run(code: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=EXAMPLE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def test_there_are_as_many_examples_as_are_run_here() -> None:
    assert (len(examples("docs/python.md")), len(examples("README.md"))) == (4, 1)


@pytest.mark.parametrize("page", ["docs/python.md", "README.md"])
def test_the_first_example_fills_an_order(page: str) -> None:
    assert run(examples(page)[0]) == FILLED


def test_the_loop_hears_of_the_order() -> None:
    assert run(examples("docs/python.md")[1])[-1] == "executionReport bybit"


def test_prices_and_candles_are_heard() -> None:
    assert run(examples("docs/python.md")[2]) == ["['candle', 'ticker']"]


def test_the_coroutine_hears_of_the_order() -> None:
    assert run(examples("docs/python.md")[3])[-1] == "executionReport"
