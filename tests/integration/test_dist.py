"""Wheel and sdist: the same bytes each time, from any folder; and what stands in them."""

from __future__ import annotations

import email
import hashlib
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from zipfile import ZipFile

import pytest

from harness.dist import LEFT_OUT, ROOT, build

pytestmark = pytest.mark.integration

EPOCH_S = 1_790_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(EPOCH_S))
        return build(tmp_path_factory.mktemp("first"))


def digests(paths: list[Path]) -> list[tuple[str, str]]:
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def test_another_build_from_another_folder_gives_the_same_bytes(
    built: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "somewhere else"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for path in copy.rglob("*.py"):
        os.utime(path, (time.time() - 5_000, time.time() - 5_000))
        path.chmod(0o600)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH_S))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert digests(build(tmp_path / "again", copy)) == digests(built)


def test_the_wheel_is_typed_and_says_what_it_is(built: list[Path]) -> None:
    with ZipFile(built[0]) as wheel:
        names = wheel.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        told = email.message_from_bytes(wheel.read(metadata))
        assert {info.date_time[0] for info in wheel.infolist()} == {time.gmtime(EPOCH_S).tm_year}
        (scripts,) = [name for name in names if name.endswith("/entry_points.txt")]
        assert b"\nwebsocket-connector = cli.main:main" in wheel.read(scripts), "as pipx run looks for it"
    assert {"connector/py.typed", "exchanges/py.typed"} <= set(names)
    extras = {"demo", "otel", "completion", "dev", "bench", "peers", "chart", "conformance"}
    assert set(told.get_all("Provides-Extra") or []) == extras
    assert "Typing :: Typed" in (told.get_all("Classifier") or [])
    assert not [name for name in names if name.startswith(("tests/", "harness/", "bench/"))]


def test_the_sdist_builds_the_same_wheel(built: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(built[1]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH_S))
    wheel = build(tmp_path / "made", source)[0]
    with ZipFile(wheel) as ours, ZipFile(built[0]) as theirs:
        for name in theirs.namelist():
            if not name.endswith("/RECORD"):
                assert ours.read(name) == theirs.read(name), name


def test_make_dist_makes_both() -> None:
    line = subprocess.run(
        ["make", "-n", "dist"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "harness.dist" in line
    assert "SOURCE_DATE_EPOCH" in line
