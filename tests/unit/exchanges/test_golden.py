"""Every golden frame becomes exactly these events (rules of comparison: docs/golden.md).

Names of keys that hold ids compare as text; other decimal text compares by value.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

import pytest

from cli.normalise import normalise
from exchanges._adapter import Instant
from exchanges.ids import family_of
from tests.unit.exchanges.every_venue import FILES, venue_names

NOW = Instant(1000.0, 1_796_000_000_000)
"""After every recorded frame."""
OPTIONAL = {"feePaid", "feeAsset", "feeSide", "feeBreakdown", "feePaidUsd"}
COMMENTS = {"context_out"}
DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?")


def cases() -> list[object]:
    """Every line of every golden file, whatever the file is called: the line says which exchange id it is of."""
    found: list[object] = []
    for path in FILES:
        for line in path.read_bytes().splitlines():
            if line.strip():
                found.append(pytest.param(line, id=f"{path.stem}: {json.loads(line)['case']}"))
    return found


def difference(expected: object, actual: object, where: str = "") -> str | None:
    """None, or the first place where the two differ."""
    if expected == "*":
        return None
    if isinstance(expected, dict) and isinstance(actual, dict):
        keys = expected.keys() - COMMENTS
        for key in sorted(keys - actual.keys()):
            return f"{where}.{key} is missing"
        for key in sorted(actual.keys() - keys - OPTIONAL):
            return f"{where}.{key} is surplus: {actual[key]!r}"
        found = (difference(expected[key], actual[key], f"{where}.{key}") for key in sorted(keys))
        return next(filter(None, found), None)
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"{where} has {len(actual)} items, not {len(expected)}: {actual!r}"
        pairs = enumerate(zip(expected, actual, strict=True))
        return next(filter(None, (difference(e, a, f"{where}[{i}]") for i, (e, a) in pairs)), None)
    return None if same(expected, actual, where) else f"{where} is {actual!r}, not {expected!r}"


def same(expected: object, actual: object, where: str) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool) or expected is None or actual is None:
        return expected is actual
    if isinstance(expected, str) and isinstance(actual, str):
        if expected == actual or where.endswith(("Id", "symbol")):
            return expected == actual
        return bool(DECIMAL.fullmatch(expected) and DECIMAL.fullmatch(actual)) and close(expected, actual)
    if isinstance(expected, int) and isinstance(actual, int):
        return expected == actual
    return isinstance(expected, int | float) and isinstance(actual, int | float) and close(str(expected), str(actual))


def close(a: str, b: str) -> bool:
    one, other = Decimal(a), Decimal(b)
    return abs(one - other) <= Decimal("1e-12") * max(abs(one), abs(other))


@pytest.mark.parametrize("line", cases())
def test_frame_becomes_exactly_these_events(line: bytes) -> None:
    case = json.loads(line)
    result = normalise(line, NOW)
    assert "error" not in result, result["error"]
    assert difference(case["expected"], result["events"], "events") is None


@pytest.mark.parametrize("line", cases())
def test_equal_frames_have_equal_ids_and_no_figure_is_written_with_an_exponent(line: bytes) -> None:
    first, second = (normalise(line, Instant(NOW.mono + n, NOW.wall_ms)) for n in (0, 5))
    assert first == second
    for event in first["events"]:  # type: ignore[attr-defined]
        for key, value in flat(event):
            assert not (isinstance(value, float) and not math.isfinite(value)), key
            assert not (isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?[eE][+-]?\d+", value)), key


def flat(value: object, key: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in flat(v, k)]
    if isinstance(value, list):
        return [pair for v in value for pair in flat(v, key)]
    return [(key, value)]


def test_every_venue_with_an_adapter_has_golden_cases() -> None:
    covered = {family_of(json.loads(line)["exchange"]) for path in FILES for line in path.open("rb")}
    assert not set(venue_names()) - covered - {"paper"}
