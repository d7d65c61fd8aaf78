"""The wheel in an environment of its own: what stands in site-packages, and that it works beside other people's folders.

No index is asked: the wheel is built with the setuptools of this environment, and the distributions that its metadata
demands (and no others) are linked from here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.servers import ROOT, free_port, wait_for

pytestmark = pytest.mark.system

SHIPPED = {"connector", "exchanges", "tasks", "workers", "simulator", "cli"}
COMMAND_S = 60.0
"""For a command on a busy machine."""
SOMEBODY_ELSES = ("core", "web", "state", "sinks", "streams", "events", "redis_state")


def tracked(to: Path) -> Path:
    """A copy of the sources without what builds and tests leave behind."""
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "var", "tests")
    return Path(shutil.copytree(ROOT, to, ignore=ignore))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = (
        "import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); build_meta.build_wheel(sys.argv[2])"
    )
    source = tracked(folder / "source")
    subprocess.run(
        [sys.executable, "-c", build, str(source), str(folder)], check=True, capture_output=True, timeout=COMMAND_S
    )
    (made,) = folder.glob("*.whl")
    return made


def demanded(requirements: list[str], known: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """The distributions that these requirements bring, with those that they bring themselves."""
    found: dict[str, Distribution] = {} if known is None else known
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found[name] = distribution(name)
        below = found[name].requires or []
        demanded([one for one in below if _wanted(one, requirement.extras)], found)
    return found


def _wanted(text: str, extras: set[str]) -> bool:
    marker = Requirement(text).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})


class Installed:
    """An environment with the wheel and what it demands, and a folder of somebody else to work in."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.environment = folder / "environment"
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(self.environment)], check=True, timeout=COMMAND_S
        )
        self.python = self.environment / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(self.environment)}))
        before = {path.name for path in self.site.iterdir()}
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-index", str(wheel)], check=True, timeout=COMMAND_S)
        self.brought = {path.name for path in self.site.iterdir()} - before
        with ZipFile(wheel) as archive:
            metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
            lines = archive.read(metadata).decode().split("\n\n")[0].splitlines()
        self.requirements = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist")]
        for one in demanded([text for text in self.requirements if "extra ==" not in text]).values():
            self._link(one)
        self.elsewhere = folder / "elsewhere"
        for name in SOMEBODY_ELSES:
            (self.elsewhere / name).mkdir(parents=True)
            (self.elsewhere / name / "__init__.py").write_text("raise SystemExit('somebody else was imported')\n")

    def _link(self, one: Distribution) -> None:
        tops = {Path(str(file)).parts[0] for file in one.files or () if ".." not in file.parts}
        for top in tops - {"__pycache__"}:
            if not (self.site / top).exists():
                (self.site / top).symlink_to(one.locate_file(top))
        for script in (entry for entry in one.entry_points if entry.group == "console_scripts"):
            text = (
                f"#!{self.python}\nimport sys\nfrom {script.module} import {script.attr}\nsys.exit({script.attr}())\n"
            )
            (self.python.parent / script.name).write_text(text)
            (self.python.parent / script.name).chmod(0o755)

    def environ(self, **more: str) -> dict[str, str]:
        clean = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**clean, "PATH": f"{self.python.parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", **more}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python.parent / command[0]), *command[1:]],
            cwd=self.elsewhere, env=self.environ(), capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


def test_exactly_six_packages_stand_in_site_packages(installed: Installed) -> None:
    folders = {name for name in installed.brought if not name.endswith(".dist-info")}
    assert folders == SHIPPED
    assert len(installed.brought) == len(SHIPPED) + 1


def test_every_file_that_is_no_code_is_there(installed: Installed) -> None:
    ours = [path for name in SHIPPED for path in (ROOT / name).rglob("*.*") if path.suffix not in {".py", ".pyc"}]
    assert any(path.suffix == ".lua" for path in ours)
    missing = [path for path in ours if not (installed.site / path.relative_to(ROOT)).is_file()]
    assert not missing


def test_the_package_can_be_imported_beside_other_peoples_folders(installed: Installed) -> None:
    done = installed.run("python", "-c", "import connector; print(connector.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.site)


def test_every_module_can_be_imported_with_what_is_demanded(installed: Installed) -> None:
    code = (
        "import importlib, pkgutil\n"
        f"for top in {sorted(SHIPPED)}:\n"
        "    for info in pkgutil.walk_packages(importlib.import_module(top).__path__, top + '.'):\n"
        "        if not info.name.startswith(('workers.user', 'workers.price')):\n"  # they start a service
        "            importlib.import_module(info.name)\n"
    )
    done = installed.run("python", "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_command_tells_its_version(installed: Installed) -> None:
    done = installed.run("connector", "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "connector"), done.stderr


def test_run_without_the_demo_says_what_to_install(installed: Installed) -> None:
    done = installed.run("connector", "run")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "websocket-connector[demo]" in done.stderr


@pytest.fixture
def service(installed: Installed) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """`dramatiq workers.user`, with no RabbitMQ and no Redis at the ports that it is given."""
    port = free_port()
    log = Path(tempfile.mkstemp(prefix="installed-", suffix=".log")[1])
    environ = installed.environ(
        HEALTH_PORT=str(port), OUTBOX_DIR=tempfile.mkdtemp(), RABBIT_HOST="127.0.0.1", RABBIT_PORT=str(free_port()),
        RABBIT_USER="guest", RABBIT_PASSWORD="guest", REDIS_HOST="127.0.0.1", REDIS_PORT=str(free_port()),
    )  # fmt: skip
    command = [str(installed.python.parent / "dramatiq"), "workers.user", "--processes", "1", "--threads", "2"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=installed.elsewhere, env=environ, stdout=out, stderr=out, start_new_session=True
        )
    yield process, port, log
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10.0)


def answers(port: int) -> bool:
    """Whether the health port says anything: with no servers it says that they are missing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5.0):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def test_dramatiq_starts_a_service_beside_other_peoples_folders(
    service: tuple[subprocess.Popen[bytes], int, Path],
) -> None:
    process, port, log = service
    wait_for(lambda: process.poll() is not None or answers(port), COMMAND_S, "an answer of /health")
    assert process.poll() is None, log.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(COMMAND_S) == 0, log.read_text()[-3_000:]
    assert "ModuleNotFoundError" not in log.read_text()
    assert "somebody else" not in log.read_text()
