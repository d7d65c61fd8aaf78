"""What CI installs for a few tests: all of it that it can get, and a machine that offers nothing still runs the others."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
BASH: Final = "/bin/bash"


def programs(folder: Path, **scripts: str) -> None:
    folder.mkdir()
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = [BASH, str(ROOT / "tests" / "extras.sh")]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=False)


def test_the_pages_are_looked_at_on_a_new_machine_of_ci(tmp_path: Path) -> None:
    """Chromium was not installed: the tests of the pages were skipped wherever nobody had installed it by hand."""
    asked = tmp_path / "asked"
    programs(tmp_path / "bin", id="echo 0", timeout='shift; exec "$@"', ip="", **{"apt-get": f'echo "$*" >> {asked}'})
    done = run(tmp_path / "bin")
    assert done.returncode == 0
    lines = asked.read_text().splitlines()
    assert lines[0] == "update -qq"
    assert [line.split()[-1] for line in lines[1:]] == ["prometheus", "chromium", "docker-compose"]
    assert "tests/extras.sh\n" in (ROOT / ".ci" / "run").read_text()
    assert "/extras.sh" in (ROOT / "tests" / "with_servers.sh").read_text()


def test_what_is_not_to_be_had_stops_nothing(tmp_path: Path) -> None:
    programs(tmp_path / "bin", id="echo 0", timeout='shift; exec "$@"', **{"apt-get": "exit 100"})
    done = run(tmp_path / "bin")
    assert done.returncode == 0
    assert "there is no chromium: the pages are not looked at" in done.stderr


def test_without_root_nothing_is_installed(tmp_path: Path) -> None:
    programs(tmp_path / "bin", id="echo 1000")
    done = run(tmp_path / "bin")
    assert (done.returncode, done.stderr) == (0, "extras: nothing is installed: that takes root and apt-get\n")
