"""What a developer does every day works: the hooks of git, and `make dev`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.servers import ROOT, free_port, wait_for

pytestmark = pytest.mark.system

COMMAND_S = 120.0
PACKAGES = ("connector", "exchanges", "tasks", "workers", "simulator", "cli", "harness", "bench")


class Repository:
    """A small project with this one's configuration and hooks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("pyproject.toml", ".pre-commit-config.yaml"):
            shutil.copy(ROOT / name, folder)
        for name in PACKAGES:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text("")
        shutil.copy(ROOT / "harness" / "commit_message.py", folder / "harness")
        (folder / ".gitignore").write_text(".venv\n.*_cache\n")
        (folder / ".venv").symlink_to(sys.prefix)
        self.git("init", "--quiet")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "somebody@example.com")
        self._run(str(Path(sys.prefix) / "bin" / "pre-commit"), "install", check=True)
        self.git("add", ".")

    def _run(self, *command: str, check: bool) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(self.folder.parent), "PRE_COMMIT_HOME": str(self.folder.parent / "cache")}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | home
        return subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=COMMAND_S, check=check
        )

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments, check=True).stdout

    def commit(self, message: str) -> tuple[bool, str]:
        """Whether git took it, and what the hooks said."""
        self.git("add", ".")
        done = self._run("git", "commit", "-m", message, check=False)
        return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("habits") / "project")
    taken, said = made.commit("Begin a project")
    assert taken, said
    return made


@pytest.fixture(autouse=True)
def undone(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "repository" in request.fixturenames:
        request.getfixturevalue("repository").git("reset", "--quiet", "--hard")


@pytest.mark.parametrize(
    ("text", "hook"),
    [
        ("figure = {'a':1}\n", "format"),
        ("import os\n", "lint"),
        ('figure: int = "one"\n', "types"),
    ],
)
def test_a_hook_refuses_what_make_lint_refuses(repository: Repository, text: str, hook: str) -> None:
    (repository.folder / "connector" / "new.py").write_text(text)
    taken, said = repository.commit("Add a figure")
    assert not taken
    (failed,) = [line for line in said.splitlines() if line.endswith("Failed")]
    assert failed.startswith(hook), said


def test_a_hook_refuses_a_message_out_of_form(repository: Repository) -> None:
    (repository.folder / "connector" / "new.py").write_text("figure = 1\n")
    taken, said = repository.commit("added a figure.")
    assert not taken
    assert "the first line ends with a full stop" in said
    taken, said = repository.commit("Add a figure")
    assert taken, said


class Dev:
    """`make dev` in a copy of the sources, with embedded servers."""

    def __init__(self, folder: Path) -> None:
        ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "var", "tests")
        self.root = Path(shutil.copytree(ROOT, folder / "sources", ignore=ignore))
        self.port, self.log = free_port(), folder / "log"
        clean = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        environ = {
            **clean,
            "HEALTH_PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            "OUTBOX_DIR": str(folder / "outbox"),
        }
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.dev"],
                cwd=self.root, env=environ, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def page(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5.0) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def says(self, text: str) -> bool:
        return text in self.log.read_text(errors="replace")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Dev]:
    made = Dev(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.terminate()
        made.process.wait(COMMAND_S)


def test_dev_starts_again_with_the_new_code_and_survives_a_slip(running: Dev) -> None:
    wait_for(running.page, COMMAND_S, "the first answer")
    version = running.root / "connector" / "core" / "version.py"
    text = version.read_text()
    version.write_text("a slip of the pen\n")
    wait_for(lambda: running.says("ended with code 1: waiting for a change"), COMMAND_S, "the end of the broken code")
    assert running.process.poll() is None
    version.write_text(text.replace('= "', '= "9.'))
    wait_for(lambda: running.says("websocket-connector 9."), COMMAND_S, "the greeting of the new code")
    wait_for(running.page, COMMAND_S, "an answer of the new code")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(COMMAND_S) == 0
    assert not running.page()
