"""The chart: what can be said of it without Helm, and what Helm makes of it where it is installed."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from connector.core.setting_names import known
from connector.core.version import VERSION

CHART: Final = Path(__file__).parents[3] / "deploy" / "helm" / "websocket-connector"
VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Final = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))
TEMPLATE: Final = (CHART / "templates" / "services.yaml").read_text()


def changed(path: str, value: object) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    *folders, name = path.split(".")
    place = values
    for folder in folders:
        place = place[folder]
    place[name] = value
    return values


def test_the_values_keep_their_schema_and_are_settings() -> None:
    assert SCHEMA.is_valid(VALUES), [error.message for error in SCHEMA.iter_errors(VALUES)]
    assert {*VALUES["env"], *VALUES["user"]["env"], *VALUES["price"]["env"]} <= known()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == VERSION


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("user.replica", 3),
        ("env.HEALTH_PORT", "3001"),
        ("env.MAX_STREAMS", 5),
        ("terminationGracePeriodSeconds", 10),
        ("outbox.size", "2G B"),
        ("image.pullPolicy", "Sometimes"),
    ],
)
def test_values_that_would_have_no_effect_or_a_bad_one_are_refused(path: str, value: object) -> None:
    assert not SCHEMA.is_valid(changed(path, value))


def test_the_template_asks_for_values_that_there_are_and_closes_what_it_opens() -> None:
    for path in re.findall(r"\$\.Values\.([\w.]+)", TEMPLATE):
        value: Any = VALUES
        for name in path.split("."):
            value = value[name]
    assert set(re.findall(r"\$own\.(\w+)", TEMPLATE)) == VALUES["user"].keys() == VALUES["price"].keys()
    opened = re.findall(r"{{-? (?:if|range|with) ", TEMPLATE)
    assert len(opened) == len(re.findall(r"{{-? end }}", TEMPLATE))


def test_helm_makes_both_services_of_it() -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    done = subprocess.run([helm, "template", "x", str(CHART)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.safe_load_all(done.stdout) if one]
    sets = {one["metadata"]["name"]: one["spec"] for one in made if one["kind"] == "StatefulSet"}
    assert sets.keys() == {"x-user", "x-price"}
    for spec in sets.values():
        env = {one["name"]: one["value"] for one in spec["template"]["spec"]["containers"][0]["env"]}
        assert env.keys() <= known()
        assert env["RABBIT_HOST"] == "rabbitmq"
