"""`make dev`: which services run, what counts as a change, and what follows one."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from harness import dev
from harness.dev import Service, Watch, services
from harness.servers import wait_for

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "connector" / "state").mkdir(parents=True)
    (tmp_path / "connector" / "engine.py").write_text("one = 1\n")
    (tmp_path / "connector" / "state" / "open.lua").write_text("return 1\n")
    return tmp_path


def test_nothing_changed_is_no_change(sources: Path) -> None:
    watch = Watch(sources)
    assert watch.changed() == []


@pytest.mark.parametrize("name", ["connector/engine.py", "connector/state/open.lua"])
def test_an_edited_file_is_told_once(sources: Path, name: str) -> None:
    watch = Watch(sources)
    path = sources / name
    path.write_text(path.read_text() + "\n")
    assert watch.changed() == [Path(name)]
    assert watch.changed() == []


def test_an_edit_of_the_same_length_is_seen(sources: Path) -> None:
    watch = Watch(sources)
    path = sources / "connector" / "engine.py"
    path.write_text("one = 2\n")
    os.utime(path, ns=(1, 1))
    assert watch.changed() == [Path("connector/engine.py")]


def test_new_and_removed_files_are_changes_and_others_are_not(sources: Path) -> None:
    watch = Watch(sources)
    (sources / "connector" / "new.py").write_text("")
    (sources / "connector" / "engine.py").unlink()
    (sources / "connector" / "engine.pyc").write_text("")
    (sources / "notes.py").write_text("")
    assert watch.changed() == [Path("connector/engine.py"), Path("connector/new.py")]


@pytest.mark.parametrize("environ", [{}, {"RABBIT_HOST": "r"}, {"REDIS_HOST": "r"}, {"REDIS_URL": "redis://r"}])
def test_without_both_servers_everything_runs_in_one_process(environ: dict[str, str]) -> None:
    (service,) = services(ROOT, environ)
    assert service.command[1:] == ["-m", "cli.main", "run"]


def test_on_real_servers_both_services_run_as_the_procfile_says() -> None:
    user, price = services(ROOT, {"RABBIT_HOST": "r", "REDIS_HOST": "r", "HEALTH_PORT": "4000"})
    assert f"{user.name}: {' '.join(user.command[2:])}" in (ROOT / "Procfile").read_text()
    assert f"{price.name}: {' '.join(price.command[2:])}" in (ROOT / "Procfile").read_text()
    assert (user.environ["HEALTH_PORT"], price.environ["HEALTH_PORT"]) == ("4000", "4001")
    assert user.environ["OUTBOX_DIR"] != price.environ["OUTBOX_DIR"]


class _Recorded(Service):
    """Keeps what it is told; its process is a list of exit codes that follow one after the other."""

    def __init__(self, codes: list[int | None]) -> None:
        super().__init__("service", [], Path())
        self.codes, self.calls = codes, []  # type: list[int | None], list[str]

    def start(self) -> None:
        self.calls.append("start")

    def stop(self, timeout_s: float = 0.0) -> None:
        self.calls.append("stop")

    def ended(self) -> int | None:
        return self.codes.pop(0) if self.codes else None


class _Rounds(threading.Event):
    """Is set after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        return self._left < 0


class _Changes(Watch):
    def __init__(self, changes: list[list[Path]]) -> None:
        self._changes = changes

    def changed(self) -> list[Path]:
        return self._changes.pop(0)


def test_each_change_starts_the_services_again_and_the_end_stops_them() -> None:
    service = _Recorded([])
    dev.run([service], _Changes([[], [Path("a.py")], []]), _Rounds(3))
    assert service.calls == ["start", "stop", "start", "stop"]


def test_a_service_that_ended_is_told_once_and_waits_for_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    service = _Recorded([1, None])
    dev.run([service], _Changes([[], [], [Path("a.py"), Path("b.py")]]), _Rounds(3))
    assert service.calls == ["start", "stop", "start", "stop"]
    told = capsys.readouterr().err
    assert told.count("ended with code 1") == 1
    assert "a.py and 1 more changed" in told


def test_a_service_that_does_not_end_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stubborn = (
        "import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path('ready').touch(); signal.pause()"
    )
    service = Service("stubborn", [sys.executable, "-c", stubborn], tmp_path)
    service.start()
    wait_for((tmp_path / "ready").exists, 30.0, "the program running")
    service.stop(0.2)
    assert "stubborn did not end within 0.2 s: killed" in capsys.readouterr().err
    service.stop(0.2)  # there is nothing left to stop
