"""Every line of the venue's error table leads to the right next step."""

from __future__ import annotations

import pytest

from exchanges._adapter import Answer, FailKind
from exchanges.binance import _errors
from exchanges.binance._errors import VenueError
from tests.unit.exchanges.binance.support import NOW, refused

TABLE = [
    (401, -2015, "Invalid API-key, IP, or permissions for action.", FailKind.CREDENTIAL),
    (400, -2014, "API-key format invalid.", FailKind.CREDENTIAL),
    (400, -2008, "Invalid Api-Key ID", FailKind.CREDENTIAL),
    (401, 0, "", FailKind.CREDENTIAL),
    (400, -1022, "Signature for this request is not valid.", FailKind.CREDENTIAL),
    (401, -1002, "You are not authorized", FailKind.CREDENTIAL),
    (400, -1193, "?", FailKind.CREDENTIAL),
    (400, -1100, "Illegal characters found in parameter 'apiKey'; legal range is …", FailKind.CREDENTIAL),
    (400, -4056, "HMAC_SHA256 API key is not supported.", FailKind.KEY_TYPE),
    (400, -1021, "Timestamp for this request is outside of the recvWindow.", FailKind.TRANSIENT),
    (429, -1003, "Too much request weight used", FailKind.RATE_LIMITED),
    (429, 0, "", FailKind.RATE_LIMITED),
    (418, -1003, "Way too much request weight used; IP banned until 1795000120000.", FailKind.RATE_LIMITED),
    (403, 0, "", FailKind.RATE_LIMITED),
    (400, -1034, "Too many connections", FailKind.RATE_LIMITED),
    (400, -1000, "unknown", FailKind.TRANSIENT),
    (400, -1001, "internal", FailKind.TRANSIENT),
    (400, -1006, "unexpected response", FailKind.TRANSIENT),
    (400, -1007, "timeout", FailKind.TRANSIENT),
    (400, -1008, "overloaded", FailKind.TRANSIENT),
    (400, -1016, "shutting down", FailKind.TRANSIENT),
    (500, 0, "", FailKind.TRANSIENT),
    (503, 0, "", FailKind.TRANSIENT),
    (0, 0, "timeout", FailKind.TRANSIENT),
    (400, -1125, "This listenKey does not exist.", FailKind.TRANSIENT),
    (400, -2042, "ids used up", FailKind.TRANSIENT),
    (400, -1121, "Invalid symbol.", FailKind.REQUEST),
    (400, -4120, "use the algo endpoint", FailKind.REQUEST),
]


@pytest.mark.parametrize(("status", "code", "text", "kind"), TABLE, ids=[f"{s} {c}" for s, c, _, _ in TABLE])
def test_the_table(status: int, code: int, text: str, kind: FailKind) -> None:
    error = _errors.of_answer(refused(status, code, text))
    assert error is not None
    assert _errors.fail(error, NOW).kind is kind


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (refused(429, -1003, "Too much request weight used", retry_after="17"), 17.0),
        (refused(429, -1003, "Too much request weight used"), 60.0),
        (refused(429, -1003, "Too much", retry_after="soon"), 60.0),
        (refused(418, -1003, f"IP(1.2.3.4) banned until {NOW.wall_ms + 90_000}. Use websockets."), 90.0),
        (refused(418, -1003, f"IP banned until {NOW.wall_ms - 5}."), 1.0),
        (refused(418, -1003, "banned", retry_after="120"), 120.0),
        (refused(403, 0), 300.0),
        (refused(400, -1034), 300.0),
    ],
)
def test_how_long_a_limit_lasts(answer: Answer, wait_s: float) -> None:
    error = _errors.of_answer(answer)
    assert error is not None
    assert _errors.fail(error, NOW).retry_after_s == wait_s


def test_codes_count_towards_the_threshold_and_the_text_is_fatal_at_once() -> None:
    assert not _errors.fail(VenueError(status=401, code=-2015, text="Invalid API-key"), NOW).first_sight
    assert _errors.fail(VenueError(status=400, text="WebSocket session not authenticated"), NOW).first_sight
    assert _errors.fail(
        VenueError(status=400, code=-4056, text="HMAC_SHA256 API key is not supported."), NOW
    ).first_sight


def test_success_is_no_error_and_html_is_one() -> None:
    assert _errors.of_answer(Answer(200, {}, b"<html>")) is None
    error = _errors.of_answer(Answer(403, {}, b"<html>forbidden</html>"))
    assert error is not None
    assert _errors.describe(error) == "status 403"


def test_addresses_are_cut_out_of_the_reason() -> None:
    error = VenueError(status=418, code=-1003, text="Way too much; IP(203.0.113.9) banned until 1795000120000.")
    assert "203.0.113.9" not in _errors.describe(error)
