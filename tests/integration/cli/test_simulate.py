"""`connector simulate` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

pytestmark = pytest.mark.integration

WAIT_S = 20.0


def start(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, "simulate", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("simulator at http"), line
    return line.split()[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "faults.jsonl"
    script.write_text(
        '{"at_s": 0, "call": "price", "body": {"exchange": "binance", "symbol": "BTCUSDT", "price": "1"}}\n'
    )
    process = start("--venues", "binance,paper", "--demo", "--script", str(script))
    try:
        url = url_of(process)
        end = time.monotonic() + WAIT_S
        price = ""
        while price != "1" and time.monotonic() < end:
            markets = requests.get(f"{url}/__control/markets?exchange=binance", timeout=WAIT_S).json()
            price = markets["binance"]["BTCUSDT"]
        accounts = requests.get(f"{url}/__control/accounts", timeout=WAIT_S).json()
        assert price == "1"
        assert [row["account"] for row in accounts] == ["demo-binance", "demo-paper"]
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait(WAIT_S)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "simulator ended"
    assert err == ""


def test_demo_accounts_can_be_opened_from_what_is_printed() -> None:
    """OKX, KuCoin and Bitget were printed without the passphrase that they ask for."""
    process = start("--venues", "okx,kucoin,bitget,binance", "--demo")
    try:
        url_of(process)
        assert process.stdout is not None
        told = dict(process.stdout.readline().removeprefix("demo account ").split(": ", 1) for _ in range(4))
    finally:
        process.kill()
        process.wait(WAIT_S)
    assert told.keys() == {"demo-okx", "demo-kucoin", "demo-bitget", "demo-binance"}
    for name in ("demo-okx", "demo-kucoin", "demo-bitget"):
        assert told[name].strip().endswith("passphrase demo-passphrase")


def test_a_bad_script_is_told_before_anything_starts(tmp_path: Path) -> None:
    script = tmp_path / "faults.jsonl"
    script.write_text('{"at_s": 0, "call": "nonsense"}\n')
    process = start("--script", str(script))
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out) == (2, "")
    assert "line 1" in err


def test_a_taken_port_is_an_error_of_one_line() -> None:
    process = start("--venues", "binance")
    try:
        port = url_of(process).rpartition(":")[2]
        second = start("--venues", "binance", "--port", port)
        out, err = second.communicate(timeout=WAIT_S)
        assert (second.returncode, out) == (1, "")
        assert err.count("\n") == 1
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)
