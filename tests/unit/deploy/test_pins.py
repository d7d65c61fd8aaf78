"""What the image installs: pinned, each file by its hash, and still what the project asks for."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[3]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE: Final = (ROOT / "Dockerfile").read_text()
PLACE: Final = {"python_version": "3.12", "python_full_version": "3.12.0", "sys_platform": "linux"}
FILES: Final = ("requirements.txt", "requirements-build.txt")


def pins(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by name."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / name).read_text().strip()):
        first, *more = [line.strip().removesuffix("\\").strip() for line in block.splitlines()]
        package, _, version = first.partition("==")
        assert package == canonicalize_name(package)
        assert re.fullmatch(r"[\w.]+", version), first
        found[package] = (version, more)
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_known_by_its_hash_and_none_by_its_address(name: str) -> None:
    for _, hashes in pins(name).values():
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
    assert "://" not in (ROOT / name).read_text()
    assert f"--require-hashes -r {name}" in IMAGE


def missing(wanted: list[str], pinned: dict[str, tuple[str, list[str]]], extra: str = "") -> list[str]:
    """Requirements that no pin satisfies."""
    found = []
    for text in wanted:
        one = Requirement(text)
        if one.marker is not None and not one.marker.evaluate({**PLACE, "extra": extra}):
            continue
        version, _ = pinned.get(canonicalize_name(one.name), ("", []))
        if not version or not one.specifier.contains(version, prereleases=True):
            found.append(text)
    return found


def test_the_pins_are_what_the_project_asks_for() -> None:
    """Stale after a change of pyproject.toml: `make pins`."""
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["demo"]]
    assert not missing(asked, pins("requirements.txt"))
    assert not missing(PROJECT["build-system"]["requires"], pins("requirements-build.txt"))
    assert PLACE["python_version"] in IMAGE.splitlines()[1], "the pins are those of the image's Python"


def test_the_pins_are_whole() -> None:
    """As far as those that are pinned are installed here: what they ask for themselves is pinned as well."""
    pinned = pins("requirements.txt")
    looked_at = 0
    for name, (version, _) in pinned.items():
        try:
            here = distribution(name)
        except PackageNotFoundError:
            continue
        if here.version == version:
            looked_at += 1
            extra = "lua" if name == "fakeredis" else ""
            assert not missing(here.requires or [], pinned, extra), name
    assert looked_at
