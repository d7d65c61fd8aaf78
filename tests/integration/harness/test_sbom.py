"""The list of what a wheel brings along names each dependency with its version, and nothing of this machine."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from harness.sbom import ROOT, write

pytestmark = pytest.mark.integration


def test_every_dependency_is_listed(tmp_path: Path) -> None:
    """Of this environment, so that no index is asked."""
    text = write(tmp_path, Path(sys.executable)).read_text()
    document = json.loads(text)
    assert document["bomFormat"] == "CycloneDX"
    listed = {one["name"].lower().replace("_", "-"): one["version"] for one in document["components"]}
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for requirement in needed:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert re.match(r"\d", listed[name[0].lower()])
    assert document["metadata"]["component"]["name"] == "websocket-connector"
