"""The chart: what can be said of it without Helm, and what Helm's own engine makes of it (`make chart`)."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
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


# --- what Helm makes of it ---

RENDER: Final = """
import json, sys
import helm_python as helm
asked = json.load(sys.stdin)
with helm.Chart.load(asked["chart"]) as chart:
    try:
        chart.validate_schema(asked["values"])
    except helm.HelmError as error:
        print(json.dumps({"refused": str(error)}))
    else:
        made = chart.render(asked["values"], name="x", namespace="here")
        print(json.dumps({"made": made, "lint": helm.lint(asked["chart"])}))
"""
"""In a process of its own: Helm is a runtime of another language, with threads and signal handlers."""


def helm(**values: object) -> dict[str, Any]:
    """What Helm's own engine says to these values."""
    pytest.importorskip("helm_python", reason="Helm is not installed (make chart)")
    asked = json.dumps({"chart": str(CHART), "values": values})
    done = subprocess.run(
        [sys.executable, "-c", RENDER], input=asked, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def made(**values: object) -> list[dict[str, Any]]:
    """The objects that a release called `x` consists of."""
    return [one for text in helm(**values)["made"].values() for one in yaml.safe_load_all(text) if one]


def of_kind(kind: str, objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == kind}


def container(spec: dict[str, Any]) -> dict[str, Any]:
    (only,) = spec["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def env_of(spec: dict[str, Any]) -> dict[str, str]:
    pairs = [(one["name"], one["value"]) for one in container(spec)["env"]]
    assert len(dict(pairs)) == len(pairs), "each name once: of two, Kubernetes takes the last"
    return dict(pairs)


def test_helm_has_nothing_to_say_against_the_chart() -> None:
    lint = helm()["lint"]
    assert not lint["errors"]
    assert [one["error"] for one in lint["messages"]] == ["icon is recommended"]


def test_kubernetes_knows_every_field_of_what_is_made() -> None:
    """Strictly: a field that it does not know has no effect, and nobody is told."""
    kubernetes = pytest.importorskip("kubernetes_validate", reason="its schemas are not installed (make chart)")
    everything = {"outbox": {"size": "5Gi", "storageClass": "fast"}, "image": {"tag": "7"}}
    for version in ("1.29", kubernetes.latest_version()):
        for one in [*made(), *made(**everything, scrape=False)]:
            kubernetes.validate(one, version, strict=True)
    unknown = of_kind("StatefulSet", made())["x-user"]
    unknown["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x"}, "spec": unknown},
            "1.29",
            strict=True,
        )


def test_each_role_is_a_service_of_its_own_that_finds_its_pods() -> None:
    objects = made()
    sets, services = of_kind("StatefulSet", objects), of_kind("Service", objects)
    budgets = of_kind("PodDisruptionBudget", objects)
    assert sets.keys() == services.keys() == budgets.keys() == {"x-user", "x-price"}
    for name, spec in sets.items():
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == services[name]["selector"] == labels
        assert budgets[name]["selector"]["matchLabels"] == labels
        assert spec["serviceName"] == name
        assert container(spec)["args"] == [name.removeprefix("x-")], "what docker-entrypoint.sh understands"
    assert sets["x-user"]["selector"] != sets["x-price"]["selector"]


def test_pods_have_settings_that_there_are_and_what_a_service_needs() -> None:
    for name, spec in of_kind("StatefulSet", made()).items():
        env = env_of(spec)
        assert env.keys() <= known()
        assert (env["RABBIT_HOST"], env["HEALTH_PORT"]) == ("rabbitmq", "3000")
        assert env.get("PRICEROLE") == ("all" if name == "x-price" else None)
        pod, only = spec["template"]["spec"], container(spec)
        assert only["envFrom"] == [{"secretRef": {"name": "websocket-connector"}}]
        assert only["image"] == f"websocket-connector:{VERSION}"
        mounted = {one["mountPath"]: one["name"] for one in only["volumeMounts"]}
        assert mounted[env["OUTBOX_DIR"]] == spec["volumeClaimTemplates"][0]["metadata"]["name"]
        assert mounted["/tmp"] in {one["name"] for one in pod["volumes"]}, "the root is read-only"
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert only["livenessProbe"]["httpGet"]["path"] == "/health"
        assert pod["terminationGracePeriodSeconds"] >= 60


def test_values_do_what_they_say() -> None:
    objects = made(
        env={"RABBIT_HOST": "a,b", "MAX_STREAMS": "5000", "ADMIN_CONFIG_ENABLED": "true"},
        user={"replicas": 5, "env": {"MAX_STREAMS": "70"}},
        image={"tag": "9.9"},
        outbox={"size": "5Gi", "storageClass": "fast"},
        scrape=False,
        secretName="mine",
    )
    user, price = (of_kind("StatefulSet", objects)[name] for name in ("x-user", "x-price"))
    assert (env_of(user)["MAX_STREAMS"], env_of(price)["MAX_STREAMS"]) == ("70", "5000"), "a role's own come first"
    assert (env_of(user)["RABBIT_HOST"], env_of(user)["ADMIN_CONFIG_ENABLED"]) == ("a,b", "true")
    assert (user["replicas"], price["replicas"]) == (5, 1)
    assert container(user)["image"].endswith(":9.9")
    assert container(user)["envFrom"][0]["secretRef"]["name"] == "mine"
    claim = user["volumeClaimTemplates"][0]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "5Gi")
    assert "annotations" not in user["template"]["metadata"]


def test_helm_refuses_what_the_schema_refuses() -> None:
    assert "replica" in helm(user={"replica": 3})["refused"]
    assert "HEALTH_PORT" in helm(env={"HEALTH_PORT": "3001"})["refused"]
