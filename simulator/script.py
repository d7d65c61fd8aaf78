"""Fault scripts: JSON lines, each one control-API call at a time after the start. Pure but for reading the file.

    {"at_s": 5, "call": "faults", "body": {"kind": "drop", "venue": "binance", "feed": "user"}}
    {"at_s": 10, "call": "price", "body": {"exchange": "binance", "symbol": "BTCUSDT", "price": "60000"}}
    {"at_s": 20, "call": "faults", "method": "DELETE"}

Empty lines and lines that begin with `#` are comments. `every_s` repeats a step.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from connector.core.log import get_logger
from simulator import control_api
from simulator._venue import Instant, Request
from simulator.hub import Hub

_log = get_logger("simulator")


class ScriptError(ValueError):
    """A line can't be used; the text names it."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at_s: float
    call: str
    body: dict[str, Any] = {}
    method: str = "POST"
    every_s: float = 0.0


def read_script(path: str) -> list[Step]:
    """Raises OSError, or `ScriptError` for a bad line."""
    steps = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            step = msgspec.json.decode(text, type=Step)
        except msgspec.DecodeError as problem:
            raise ScriptError(f"line {number}: {problem}") from problem
        if not control_api.exists(step.method, step.call):
            raise ScriptError(f"line {number}: no control call {step.method} {step.call}")
        steps.append(step)
    return steps


class Script:
    """A routine of the hub that carries out a script."""

    covers: frozenset[str] = frozenset()

    def __init__(self, hub: Hub, steps: Sequence[Step], now: Instant) -> None:
        self._hub = hub
        self._waiting = [(now.mono + step.at_s, number, step) for number, step in enumerate(steps)]
        heapq.heapify(self._waiting)

    def step(self, now: Instant) -> float:
        """Do what is due; returns when to be called again, monotonic seconds."""
        while self._waiting and self._waiting[0][0] <= now.mono:
            due, number, step = heapq.heappop(self._waiting)
            if step.every_s > 0:
                heapq.heappush(self._waiting, (due + step.every_s, number, step))
            self._perform(step, now)
        return self._waiting[0][0] if self._waiting else float("inf")

    def _perform(self, step: Step, now: Instant) -> None:
        request = Request(
            method=step.method,
            host="",
            path=f"{control_api.PREFIX}/{step.call}",
            body=msgspec.json.encode(step.body),
        )
        reply = control_api.handle(self._hub, request, now)
        text = reply.body.decode("utf-8", "replace")[:200]
        log = _log.info if reply.status == 200 else _log.error
        log("script step", call=step.call, status=reply.status, answer=text)
