"""Faults of REST calls. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from simulator._venue import Reply
from simulator.faults import FaultBook

Scope = tuple[str, str, str, str, float]
"""Venue, host, path, account, monotonic time."""


class RestResult(NamedTuple):
    """What the server does with a REST call: answer after a delay, or reset the connection (reply None)."""

    reply: Reply | None
    delay_s: float = 0.0
    answered: bool = True
    """False: no fault decided the answer; the venue half has to."""


def rest_fault(faults: FaultBook, scope: Scope) -> RestResult:
    """What the faults make of a call; each fault that hits is used up by one."""
    slow = faults.for_request("rest_slow", *scope)
    delay = slow.number("seconds", 1.0) if slow else 0.0
    if faults.for_request("rest_reset", *scope):
        return RestResult(None, delay)
    fault = faults.for_request("rest_error", *scope)
    if fault:
        return RestResult(_error_reply(fault.params), delay)
    if faults.for_request("rest_garbage", *scope):
        return RestResult(Reply(200, b"<html>Bad gateway", {"Content-Type": "text/html"}), delay)
    return RestResult(None, delay, answered=False)


def _error_reply(params: Mapping[str, str]) -> Reply:
    status = int(params.get("status", "500"))
    headers = {"Content-Type": "application/json"}
    if params.get("retry_after"):
        headers["Retry-After"] = params["retry_after"]
    if "body" in params:
        return Reply(status, params["body"].encode(), headers)
    code = params.get("code", "-1003" if status in (418, 429) else "-1000")
    number = int(code) if code.lstrip("-").isdigit() else code
    return Reply(status, msgspec.json.encode({"code": number, "msg": params.get("text", "simulated fault")}), headers)
