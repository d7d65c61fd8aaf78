"""AsyncAPI's own parser reads the document without an error."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("npm") is None, reason="node with npm is not installed here"),
]

ROOT = Path(__file__).parents[2]
PARSER: Final = "@asyncapi/parser@^3.6.6"
INSTALL_S = 300.0
CHECK_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("asyncapi")
    (made / "package.json").write_text("{}")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", PARSER]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, done.stderr
    shutil.copy(ROOT / "tests" / "integration" / "asyncapi_check.mjs", made / "check.mjs")
    return made


def check(folder: Path, document: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", "check.mjs", str(document)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CHECK_S, check=False)


def test_the_document_is_valid(folder: Path) -> None:
    checked = check(folder, ROOT / "docs" / "asyncapi.yaml")
    assert checked.returncode == 0, checked.stderr


def test_a_document_with_a_mistake_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text((ROOT / "docs" / "asyncapi.yaml").read_text().replace("action: send", "action: shout", 1))
    checked = check(folder, broken)
    assert checked.returncode == 1
    assert "action" in checked.stderr
