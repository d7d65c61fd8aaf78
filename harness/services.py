"""`dramatiq workers.user` and `dramatiq workers.price` as subprocesses, as an operator starts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from harness.servers import ROOT, free_port, wait_for
from workers.status_page import Status, read_status


def _scratch(owner: object) -> Path:
    """A folder that goes when its owner goes, at the latest when the interpreter ends."""
    folder = tempfile.mkdtemp(prefix="outbox-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class Service:
    """One started service: a Dramatiq master, its worker processes and the health process."""

    def __init__(
        self,
        role: str,
        env: Mapping[str, str],
        *,
        threads: int = 8,
        processes: int = 1,
        log: Path | None = None,
        plain: bool = False,
        serve: bool = False,
        within: Sequence[str] = (),
        address: str = "127.0.0.1",
    ) -> None:
        """`plain`: without any option of Dramatiq, so with a worker process for each core. `serve`: by `connector serve`.
        `within`: a command that runs the service, on a host whose `address` is another one."""
        self.role, self.health_port, self.address = role, free_port(), address
        self.log = log or Path(tempfile.mkstemp(prefix=f"{role}-", suffix=".log")[1])
        clean = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self.outbox = Path(env["OUTBOX_DIR"]) if "OUTBOX_DIR" in env else _scratch(self)
        environment = {
            **clean,
            "PYTHONUNBUFFERED": "1",
            "OUTBOX_DIR": str(self.outbox),
            "HEALTH_PORT": str(self.health_port),
            **env,
        }
        options = [
            "--processes", str(processes), "--threads", str(threads), "--worker-shutdown-timeout", "30000",
        ]  # fmt: skip
        start = ["cli.main", "serve", role] if serve else ["dramatiq", f"workers.{role}"]
        command = [*within, sys.executable, "-m", *start, *([] if plain else options)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Until the service says that it is ready and that its workers beat."""
        wait_for(lambda: self.process.poll() is not None or self._ready(), timeout_s, f"{self.role} ready", 0.1)
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.role} ended with code {self.process.returncode}:\n{self.tail()}")

    def _ready(self) -> bool:
        return self.get("/ready")[0] == 200 and bool(self.status().workers)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://{self.address}:{self.health_port}{path}", timeout=5.0) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def status(self) -> Status:
        code, body = self.get("/status.json")
        if code != 200:
            return Status(now_ms=0, role=self.role, version="")
        try:
            return read_status(body)
        except msgspec.DecodeError:
            return Status(now_ms=0, role=self.role, version="")

    def worker_pids(self) -> list[int]:
        """Pids of this service's worker processes (not the master, not the health process)."""
        mine = {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        return [worker.pid for worker in self.status().workers if worker.pid in mine]

    def terminate(self) -> None:
        """What a deploy does: SIGTERM to the master."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything at once, like a machine that vanishes."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(10.0)

    def wait(self, timeout_s: float = 60.0) -> int:
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float = 45.0) -> None:
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
