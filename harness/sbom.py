"""What a wheel of this project brings along, as a CycloneDX document: `python -m harness.sbom dist` (part of `make dist`).

The dependencies are installed anew into an environment of their own, so that no tool of the developers is among them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
NAME: Final = "sbom.cdx.json"
INSTALL_S: Final = 600.0


def write(into: Path, python: Path | None = None) -> Path:
    """The document of an environment (`python`: its interpreter; None = a new one with what the services need).

    Raises `subprocess.CalledProcessError`.
    """
    into.mkdir(parents=True, exist_ok=True)
    made = into / NAME
    with tempfile.TemporaryDirectory() as folder:
        interpreter = python or _environment(Path(folder) / "environment")
        subprocess.run(
            [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml"),
             "--output-reproducible", "--output-format", "JSON", "--output-file", str(made), str(interpreter)],
            env={"SOURCE_DATE_EPOCH": "315532800", **os.environ}, check=True, capture_output=True, timeout=INSTALL_S,
        )  # fmt: skip
    return made


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needed]
    subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_S)
    return python


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]))}\n")
