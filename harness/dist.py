"""Wheel and sdist, the same bytes from the same sources: `python -m harness.dist dist` (`make dist`).

`SOURCE_DATE_EPOCH` (s) is the time that every file in them has; without it, 1980-01-01.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
EPOCH_S: Final = 315_532_800
"""1980-01-01, the earliest time that a zip can hold."""
LEFT_OUT: Final = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "var", "*.pyc")
BUILD_S: Final = 300.0
_BUILD: Final = """
import os, sys
from setuptools import build_meta
source, made = sys.argv[1:]
os.umask(0o022)
os.chdir(source)
build_meta.build_wheel(made)
build_meta.build_sdist(made)
"""


def build(into: Path, source: Path = ROOT) -> list[Path]:
    """Both files, made from a copy of the sources. Raises `subprocess.CalledProcessError`."""
    epoch_s = max(EPOCH_S, int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH_S))
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy, made = Path(folder) / "source", Path(folder) / "made"
        shutil.copytree(source, copy, ignore=LEFT_OUT)
        made.mkdir()
        for path in copy.rglob("*"):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        subprocess.run(
            [sys.executable, "-c", _BUILD, str(copy), str(made)],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch_s), "PYTHONHASHSEED": "0"},
            check=True, capture_output=True, timeout=BUILD_S,
        )  # fmt: skip
        (wheel,), (sdist,) = made.glob("*.whl"), made.glob("*.tar.gz")
        return [Path(shutil.copy(wheel, into)), _settled(sdist, into / sdist.name, epoch_s)]


def _settled(sdist: Path, to: Path, epoch_s: int) -> Path:
    """The archive with its members in order, all of one time and nobody's: setuptools writes those of the moment."""
    out = io.BytesIO()
    with tarfile.open(sdist) as archive, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as settled:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            content = archive.extractfile(member) if member.isfile() else None
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch_s, 0, 0, "", ""
            member.pax_headers = {}
            settled.addfile(member, content)
    with to.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch_s) as packed:
        packed.write(out.getvalue())
    return to


if __name__ == "__main__":
    for path in build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")):
        sys.stdout.write(f"{path}\n")
