"""The template venue is kept green by the shared suites, and what they are worth is measured with mistakes planted in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.exchanges.planted import PLANTED, Mistake
from tests.unit.exchanges.suites import TEMPLATE, cases, copied, registered


def test_the_template_keeps_every_promise_of_the_shared_suites() -> None:
    with registered(TEMPLATE):
        found = list(cases())
        for case in found:
            case.test(**case.arguments)
    assert len(found) > 100


@pytest.mark.parametrize("mistake", PLANTED, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_is_seen_by_a_shared_suite(mistake: Mistake, tmp_path: Path) -> None:
    folder = copied(tmp_path / "venue", mistake.file, mistake.text, mistake.planted)
    with registered(folder):
        for case in cases():
            try:
                case.test(**case.arguments)
            except Exception:
                return
    pytest.fail("no shared suite has seen it")
