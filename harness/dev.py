"""`make dev`: the services, started anew whenever a file of theirs changes.

With RABBIT_HOST (or RABBIT_URL) and REDIS_HOST (or REDIS_URL, REDIS_SENTINELS) the two services of the Procfile run on those
servers; without, everything runs in one process with embedded ones (`connector run`; one of the two is enough to put that
server in place). A change that does not start waits for the next change.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from connector.core.settings import Settings

FOLDERS: Final = ("connector", "exchanges", "tasks", "workers", "simulator", "cli")
SUFFIXES: Final = frozenset({".py", ".lua", ".html"})
LOOK_S: Final = 0.5
"""How often the files are looked at."""
STOP_S: Final = 40.0
"""How long a service gets for its shutdown, before it is killed: it hands its accounts over first."""
HEALTH_PORT: Final = 3000


def say(text: str) -> None:
    sys.stderr.write(f"dev: {text}\n")
    sys.stderr.flush()


class Watch:
    """What changed in the source folders since the last look. One thread."""

    def __init__(self, root: Path, folders: Iterable[str] = FOLDERS) -> None:
        self._root, self._folders = root, tuple(folders)
        self._seen = self._look()

    def _look(self) -> dict[Path, tuple[int, int]]:
        found: dict[Path, tuple[int, int]] = {}
        for folder in self._folders:
            for path in (self._root / folder).rglob("*"):
                if path.suffix in SUFFIXES:
                    try:
                        stat = path.stat()
                    except FileNotFoundError:  # an editor's temporary file, gone meanwhile
                        continue
                    found[path] = (stat.st_mtime_ns, stat.st_size)
        return found

    def changed(self) -> list[Path]:
        """Files that are new, other or gone, relative to the root."""
        before, self._seen = self._seen, self._look()
        names = before.keys() | self._seen.keys()
        return sorted(path.relative_to(self._root) for path in names if before.get(path) != self._seen.get(path))


@dataclass
class Service:
    """One command with its environment; `start` and `stop` any number of times, from one thread."""

    name: str
    command: list[str]
    root: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # A group of its own: Ctrl-C reaches this program alone, which ends the services in order.
        self._process = subprocess.Popen(
            self.command, cwd=self.root, env={**os.environ, **self.environ}, start_new_session=True
        )

    def ended(self) -> int | None:
        """The exit code of a process that ended by itself, told once."""
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            self._process = None
        return code

    def stop(self, timeout_s: float = STOP_S) -> None:
        """SIGTERM, and SIGKILL to what is left of its group after the time."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            say(f"{self.name} did not end within {timeout_s:g} s: killed")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout_s)


def services(root: Path, environ: Mapping[str, str]) -> list[Service]:
    """What to run: the Procfile's services on real servers, or everything in one process."""
    named = Settings.from_env(environ)
    if not (named.names_rabbit and named.names_redis):
        return [Service("connector run", [sys.executable, "-m", "cli.main", "run"], root)]
    found = []
    first = int(environ.get("HEALTH_PORT") or HEALTH_PORT)
    for number, line in enumerate((root / "Procfile").read_text().splitlines()):
        name, _, command = line.partition(": ")
        own = {"HEALTH_PORT": str(first + number), "OUTBOX_DIR": environ.get("OUTBOX_DIR") or f"var/outbox-{name}"}
        # With -m the folder itself comes first on the path, not another checkout that is installed.
        found.append(Service(name, [sys.executable, "-m", *shlex.split(command)], root, {"PRICEROLE": "all", **own}))
    return found


def run(running: list[Service], watch: Watch, done: threading.Event, look_s: float = LOOK_S) -> None:
    """Keep the services on the newest code until `done` is set; then stop them."""
    for service in running:
        service.start()
    try:
        while not done.wait(look_s):
            changed = watch.changed()
            if changed:
                others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
                say(f"{changed[0]}{others} changed: starting again")
                for service in running:
                    service.stop()
                for service in running:
                    service.start()
            for service in running:
                code = service.ended()
                if code is not None:
                    say(f"{service.name} ended with code {code}: waiting for a change")
    finally:
        for service in running:
            service.stop()


def main() -> int:
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    root = Path(__file__).parents[1]
    run(services(root, os.environ), Watch(root), done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
