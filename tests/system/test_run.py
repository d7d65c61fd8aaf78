"""`connector run`: everything in one process, as the README starts it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.evidence import Evidence
from harness.servers import ROOT, free_port, wait_for
from simulator.demo import demo_key
from tests.system.support import WAIT_S

pytestmark = pytest.mark.system

END_S = 5.0
"""How soon it must be gone after Ctrl-C."""


class Run:
    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.out, self.err = folder / "run-out", folder / "run-err"
        environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        environment |= {"HEALTH_PORT": str(self.port), "OUTBOX_DIR": tempfile.mkdtemp(), "PYTHONUNBUFFERED": "1"}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "run"],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5.0) as answer:
                return answer.status, answer.read()
        except OSError:
            return 0, b""

    def lines(self) -> list[str]:
        return self.out.read_text(errors="replace").splitlines()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10.0)


@pytest.fixture
def run(evidence: Evidence, tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    evidence.watch(made.out)
    evidence.watch(made.err)
    yield made
    made.kill()


def test_run_needs_no_server_and_ends_with_ctrl_c(run: Run) -> None:
    wait_for(lambda: run.process.poll() is not None or run.get("/health")[0] == 200, WAIT_S, "/health")
    assert run.process.poll() is None, run.err.read_text()
    assert json.loads(run.get("/health")[1])["status"] == "ok"
    wait_for(lambda: sum(" order " in line for line in run.lines()) >= 3, WAIT_S, "orders of the demo accounts")
    assert any("Subscribed to user demo-okx" in line for line in run.lines())
    assert not [line for line in run.lines() if line[10:].startswith("gap")], "nothing was there that could be missed"
    assert run.get("/")[0] == run.get("/metrics")[0] == 200
    wait_for(lambda: json.loads(run.get("/status.json")[1])["uptime_s"] > 1.0, WAIT_S, "it is up for a while")
    wait_for(lambda: any(one[1] for one in json.loads(run.get("/status.json")[1])["hour"]), WAIT_S, "the hour begins")
    demo = demo_key("binance").secret.encode()
    for path in ("/", "/status.json", "/metrics"):
        assert demo not in run.get(path)[1]
    assert demo not in run.out.read_bytes() + run.err.read_bytes()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(END_S) == 0, run.err.read_text()[-2_000:]


def test_a_port_that_somebody_else_has_is_not_called_ours(run: Run, tmp_path: Path) -> None:
    """The address of a stranger's page was printed as the status page."""
    wait_for(lambda: run.get("/health")[0] == 200, WAIT_S, "/health")
    (tmp_path / "second").mkdir()
    second = Run(tmp_path / "second", run.port)
    try:
        wait_for(lambda: "Ctrl-C to stop" in second.err.read_text(), WAIT_S, "the greeting")
        assert f"no status page: another program has port {run.port} (HEALTH_PORT)" in second.err.read_text()
        assert "http://" not in second.err.read_text()
    finally:
        second.kill()
    assert f"status page http://localhost:{run.port}/" in run.err.read_text()


STREAM = "0b7e1c1e-5a0f-4c0a-9a5e-2f6d3c1b9a01"
BLOCK = re.compile(r"^    export PATH=.*?(?=\n\n)", re.MULTILINE | re.DOTALL)


def command(run: Run, line: str, **more: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    keys = {"KEY": "demo-bybit-key", "SECRET": "demo-bybit-secret", "HEALTH_PORT": str(run.port)}
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", *shlex.split(line)],
        cwd=ROOT, env=environment | keys | more, capture_output=True, text=True, timeout=60.0, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout + ended.stderr


def test_the_command_line_of_the_readme_works_inside_the_demo(run: Run) -> None:
    """It left the demo: for a real exchange with a demo key, and for whatever broker ran on this machine."""
    found = BLOCK.search((ROOT / "README.md").read_text())
    assert found is not None
    lines = [line.strip().removeprefix("connector ") for line in found[0].splitlines()[1:]]
    assert [line.split()[0] for line in lines] == ["check", "open", "why", "tail", "candle", "close"]
    wait_for(lambda: run.get("/health")[0] == 200, WAIT_S, "/health")
    for line in lines:
        if line.startswith("why"):
            wait_for(lambda: command(run, line)[0] == 0, WAIT_S, "the stream is live")  # noqa: B023 - called at once
            continue
        if line.startswith("tail"):  # the demo's orders come when they come
            wait_for(lambda: "executionReport" in command(run, line)[1], 4 * WAIT_S, "an order")  # noqa: B023
            continue
        code, told = command(run, line)
        assert code == 0, (line, told)
    wait_for(lambda: command(run, f"why {STREAM}")[0] == 1, WAIT_S, "the stream is closed")


def test_nothing_leaves_for_a_broker_or_an_exchange_that_nobody_named(run: Run) -> None:
    wait_for(lambda: run.get("/health")[0] == 200, WAIT_S, "/health")
    code, told = command(run, f"close {STREAM}")
    assert (code, "RABBIT_HOST" in told, "--demo" in told) == (1, True, True)
    code, told = command(run, "check --exchange bybitLinear --key-env KEY --secret-env SECRET")
    assert (code, "simulated exchanges" in told) == (1, True)
    for name in ("X-Nothing", "X-Connector-Demo"):
        asked = urllib.request.Request(
            f"http://127.0.0.1:{run.port}/demo/commands/nowhere", b"{}", {name: "1"}, method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=5.0)
        assert refused.value.code == (404 if name == "X-Connector-Demo" else 403)
