"""Alert rules and board name only figures that exist, every rule is proven to fire and to clear, and has a page of advice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from connector.core.metric_defs import DEFINITIONS
from connector.core.metrics import PREFIX

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "deploy"
OUTSIDE: Final = {"job", "instance", "le", "exported_instance"}
"""Labels that Prometheus adds."""

RULES: Final[list[dict[str, Any]]] = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
BOARD: Final[dict[str, Any]] = json.loads((DEPLOY / "grafana.json").read_text())


def expressions() -> list[tuple[str, str]]:
    rules = [(rule["alert"], rule["expr"]) for rule in RULES]
    panels = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel["targets"]]
    return rules + panels


@pytest.mark.parametrize(("name", "expression"), expressions())
def test_only_figures_that_exist_are_asked_for(name: str, expression: str) -> None:
    """A rule over a name that nobody publishes is green for ever."""
    for series, selector in re.findall(rf"{PREFIX}(\w+)(?:{{([^}}]*)}})?", expression):
        found = DEFINITIONS.get(series) or DEFINITIONS[series.removesuffix("_bucket")]
        assert found.kind == "histogram" or series in DEFINITIONS, f"{name}: {series}"
        named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert named <= {*found.labels, *OUTSIDE}, f"{name}: {series} has no label {named - {*found.labels}}"


def test_every_rule_is_played_and_explained() -> None:
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    played = {one["name"]: [bool(case["exp_alerts"]) for case in one["alert_rule_test"]] for one in tests}
    page = (ROOT / "docs" / "alarms.md").read_text()
    for rule in RULES:
        name = rule["alert"]
        assert played[name] == [True, False], "fires, then clears"
        assert rule["annotations"]["runbook"] == f"docs/alarms.md#{name.lower()}"
        assert f"\n## {name}\n" in page
    assert len(played) == len(RULES)


def test_every_rule_fires_and_clears() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: package prometheus)")
    done = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yml"],
        cwd=DEPLOY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_raised_by_a_fault_against_real_services() -> None:
    played = (ROOT / "tests" / "system" / "test_alarms.py").read_text()
    raised = set(re.findall(r'"(Connector\w+)"', "".join(re.findall(r"site\.fires\((.*?)\)\n", played, re.DOTALL))))
    cleared = set(re.findall(r'"(Connector\w+)"', "".join(re.findall(r"site\.clears\((.*?)\)\n", played, re.DOTALL))))
    assert raised == cleared == {rule["alert"] for rule in RULES}
