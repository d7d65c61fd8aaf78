"""`connector normalise`: one answer a line, whatever the line is; and how commands are found."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli import main as cli_main
from cli import normalise
from exchanges._adapter import Instant

GOLDEN = Path(__file__).parents[2] / "golden" / "binance.jsonl"
NOW = Instant(1.0, 1_796_000_000_000)


def told(
    *lines: bytes, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> list[dict[str, object]]:
    class Stdin:
        buffer = io.BytesIO(b"\n".join(lines) + b"\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert cli_main.main(["normalise"]) == 0
    return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


def test_each_line_has_its_answer_in_order(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    lines = [line for line in GOLDEN.read_bytes().splitlines() if line]
    answers = told(*lines, monkeypatch=monkeypatch, capfdbinary=capfdbinary)
    assert [answer["case"] for answer in answers] == [json.loads(line)["case"] for line in lines]
    for line, answer in zip(lines, answers, strict=True):
        assert answer.keys() == {"case", "events"}
        assert len(answer["events"]) == len(json.loads(line)["expected"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "case"),
    [
        (b'{"case":"a","exchange":"nobody","feed":"user","frame":{}}', "a"),
        (b'{"case":"a","exchange":"binance","feed":"trades","frame":{}}', "a"),
        (b'{"case":"a","exchange":"binance","feed":"user"}', "a"),
        (b'{"case":"a","exchange":7,"feed":"user","frame":{}}', "a"),
        (b'{"case":"a","exchange":"binance","feed":"user","frame":{},"context":[]}', "a"),
        (b'{"case":"a","exchange":"binance","feed":"user","frame":{},"context":{"prior_frames":{}}}', "a"),
        (b'{"case":{"n":1},"exchange":"nobody","feed":"user","frame":{}}', {"n": 1}),
        (b'{"case":"a","exch', None),
        (b"[]", None),
        (b"nonsense", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_line_that_cannot_be_used_has_an_error(line: bytes, case: object) -> None:
    answer = normalise.normalise(line, NOW)
    assert answer.keys() == {"case", "error"}
    assert answer["case"] == case
    assert answer["error"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"case":"a","exchange":"okx","feed":"user","frame":{},"context":{"instruments":[1]}}',
        b'{"case":"a","exchange":"coinbase","feed":"candle","frame":{},"context":{"open_bucket":{"BTC-USD":null}}}',
        b'{"case":"a","exchange":"hyperliquid","feed":"user","frame":{},"context":{"user":"nobody"}}',
    ],
)
def test_a_context_that_cannot_be_used_is_named_as_the_cause(line: bytes) -> None:
    answer = normalise.normalise(line, NOW)
    assert answer["case"] == "a"
    assert "the context can't be used" in str(answer["error"])


def test_one_bad_line_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    good = GOLDEN.read_bytes().splitlines()[0]
    answers = told(b"nonsense", good, b"", good, monkeypatch=monkeypatch, capfdbinary=capfdbinary)
    assert [sorted(answer) for answer in answers] == [["case", "error"], ["case", "events"], ["case", "events"]]


def test_market_events_name_their_channel() -> None:
    frame = b'[{"e":"24hrMiniTicker","E":5,"s":"BTCUSDT","c":"1.5","v":"10","q":"15"}]'
    line = b'{"case":1,"exchange":"paperBinance","feed":"ticker","frame":%s}' % frame
    (event,) = normalise.normalise(line, NOW)["events"]  # type: ignore[misc]
    assert event["channel"] == "trade@BTCUSDT@binance"
    assert event["eventTime"] == NOW.wall_ms


def test_frames_that_are_not_json_come_as_strings() -> None:
    line = rb'{"case":1,"exchange":"paperBinance","feed":"user","frame":"42[\"order\",{\"type\":\"error\"}]"}'
    assert normalise.normalise(line, NOW) == {"case": 1, "events": []}


def test_the_script_needs_no_server_and_survives_a_closed_pipe() -> None:
    command = [sys.executable, "-m", "cli.main", "normalise", str(GOLDEN)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"case":')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0


def test_a_missing_file_is_an_error_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.main(["normalise", "nobody.jsonl"]) == 1
    assert "nobody.jsonl" in capsys.readouterr().err


# --- the dispatcher ---


def test_every_command_module_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli_main.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in cli_main._module_names():
        assert cli_main._load(name).NAME in shown


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli_main.main(["nobody"])
    assert ended.value.code == 2
    assert "nobody" in capsys.readouterr().err


def test_starting_the_dispatcher_imports_nothing_heavy() -> None:
    code = (
        "import sys, cli.main; "
        "print([m for m in ('redis','pika','dramatiq','pydantic','requests','msgspec') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"
