"""What `pip install .` brings: six packages with their data files, and no dependency that a service does without."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from setuptools import find_packages

from cli.main import main

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED = {"connector", "exchanges", "tasks", "workers", "simulator", "cli"}
BROUGHT = {"lupa": "fakeredis", "pydantic-core": "pydantic", "urllib3": "requests"}
"""Imported, too, but a part of another one, which names it with the version that it needs."""


SHARED = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry": "opentelemetry-api",
}
"""Distributions that share a top-level name, by the longest part of a module's name that tells them apart."""


def packages() -> list[str]:
    return find_packages(str(ROOT), include=PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[\w-]+", requirement) for requirement in requirements)
    return {match[0].lower() for match in found if match}


def imported() -> set[str]:
    """Distributions that the shipped files import."""
    modules: set[str] = set()
    for package in SHIPPED:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {_top(alias.name) for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    modules.add(_top(node.module or ""))
    known = {**packages_distributions(), **{part: [name] for part, name in SHARED.items()}}
    outside = modules - SHIPPED - sys.stdlib_module_names
    assert outside <= known.keys(), f"not installed: {outside - known.keys()}"
    return {known[module][0].lower().replace("_", "-") for module in outside}


def _top(module: str) -> str:
    return next((part for part in SHARED if f"{module}.".startswith(f"{part}.")), module.partition(".")[0])


def test_exactly_the_six_packages_are_installed() -> None:
    assert {name.partition(".")[0] for name in packages()} == SHIPPED


def test_every_folder_with_code_is_one_of_the_packages() -> None:
    known = set(packages())
    for package in SHIPPED:
        for path in (ROOT / package).rglob("*.py"):
            assert ".".join(path.parent.relative_to(ROOT).parts) in known, path


def test_every_data_file_is_taken_along() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for package in SHIPPED:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py":
                assert any(path.match(pattern) for pattern in patterns), path


def test_dependencies_are_those_that_the_services_import() -> None:
    runtime = names(PROJECT["project"]["dependencies"])
    chosen = {
        name
        for extra in ("demo", "otel", "completion")
        for name in names(PROJECT["project"]["optional-dependencies"][extra])
    }
    used = {BROUGHT.get(name, name) for name in imported()}
    assert runtime == used - chosen
    assert not runtime & chosen


def test_the_extras_are_those_that_the_docs_name() -> None:
    assert PROJECT["project"]["optional-dependencies"].keys() == {
        "demo",
        "otel",
        "completion",
        "dev",
        "bench",
        "peers",
        "chart",
        "conformance",
    }


def test_setup_and_the_image_take_the_demo_along() -> None:
    assert "websocket-connector[demo]" in PROJECT["project"]["optional-dependencies"]["dev"]
    assert "\nfakeredis==" in (ROOT / "requirements.txt").read_text()


def test_the_image_copies_exactly_what_is_installed() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(copied) == SHIPPED


def test_the_version_is_the_same_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"connector {PROJECT['project']['version']}\n"
    assert f'image.version="{PROJECT["project"]["version"]}"' in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
def test_run_without_the_demo_says_in_one_line_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delenv("REDIS_HOST", raising=False)
    assert main(["run"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"no {missing}" in told
    assert "websocket-connector[demo]" in told
