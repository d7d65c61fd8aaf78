"""The reference pages name everything there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from connector.core.metric_defs import DEFINITIONS
from connector.core.secret_files import SECRETS
from connector.core.settings import VENUE_OPTIONS, Settings

ROOT = Path(__file__).parents[3]
ONLY_RUN = {"LIVE", "SIMULATOR_PORT"}


def rows(page: str) -> dict[str, list[str]]:
    """The rows of all tables of a page whose first cell is one name in code marks, by that name."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "docs" / page).read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        name = re.fullmatch(r"`([A-Za-z0-9_]+)`", cells[0])
        if name is not None:
            assert name[1] not in found, f"{name[1]} stands twice in {page}"
            found[name[1]] = cells[1:]
    return found


def aliases() -> dict[str, str]:
    return {str(field.alias): name for name, field in Settings.model_fields.items() if field.alias}


def test_every_setting_is_described_and_nothing_else() -> None:
    assert set(rows("settings.md")) == set(aliases()) | set(VENUE_OPTIONS) | ONLY_RUN


def shown(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("variable", sorted(aliases()))
def test_the_default_of_a_setting_is_the_one_described(variable: str) -> None:
    default = Settings.model_fields[aliases()[variable]].get_default(call_default_factory=True)
    described = rows("settings.md")[variable][0]
    if variable == "VENUE_ENDPOINTS":
        assert described == "`{}`"
    elif default in (None, "", ()) or (isinstance(default, SecretStr) and not default.get_secret_value()):
        assert "`" not in described
    else:
        assert described == f"`{shown(default)}`"


def test_the_sample_file_holds_only_settings() -> None:
    lines = (ROOT / ".env.sample").read_text().splitlines()
    names = {line.split("=", 1)[0] for line in lines if line and not line.startswith("#")}
    assert names <= set(aliases()) | set(VENUE_OPTIONS)


def test_every_metric_is_described_with_its_kind_and_labels() -> None:
    described = rows("metrics.md")
    assert set(described) == set(DEFINITIONS)
    for name, definition in DEFINITIONS.items():
        kind, labels = described[name][0], re.findall(r"`(\w+)`", described[name][1])
        assert (kind, tuple(labels)) == (definition.kind, definition.labels), name


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_every_metric_is_set_somewhere(name: str) -> None:
    folders = ("connector", "tasks", "workers")
    use = re.compile(rf'(?:METRICS|self)\.(?:count|gauge|observe|replace)\(\s*"{name}"')
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    if name == "metric_errors_total":  # counted by the registry itself
        assert name in (ROOT / "connector" / "core" / "metrics.py").read_text()
    else:
        assert any(use.search(path.read_text()) for path in files)


def test_a_queue_of_account_events_can_be_done_without() -> None:
    assert Settings.from_env({}).user_events_queue == "gainium.user-events"
    assert Settings.from_env({"USER_EVENTS_QUEUE": ""}).user_events_queue == "gainium.user-events"
    assert Settings.from_env({"USER_EVENTS_QUEUE": "none"}).user_events_queue == ""


def test_every_secret_that_may_stand_in_a_file_is_named() -> None:
    """The tokens of the health port were missing."""
    page = (ROOT / "docs" / "settings.md").read_text()
    told = page.partition("A secret may stand in a file: ")[2].partition("\n\n")[0]
    assert {name for name in SECRETS if f"`{name}`" not in told and f"`{name}_FILE=" not in told} == set()
