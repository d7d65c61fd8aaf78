"""Error answers (venues/binance.md 7), and the signature check that leads to most of them. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from simulator._values import ApiKey
from simulator.engine import Account, Engine, Refused
from simulator.signing import signed_by

MAX_WINDOW_MS: Final = 60_000
DEFAULT_WINDOW_MS: Final = 5_000
_AHEAD_MS: Final = 1_000


class Failure(Exception):
    """A request ends with this error."""

    def __init__(self, status: int, code: int, text: str, retry_after_s: int = 0, until_ms: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.retry_after_s = retry_after_s
        self.until_ms = until_ms

    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "msg": self.text})


INVALID_KEY: Final = "Invalid API-key, IP, or permissions for action."

TEXTS: Final = {
    -2015: INVALID_KEY,
    -2014: "API-key format invalid.",
    -2008: "Invalid Api-Key ID.",
    -1022: "Signature for this request is not valid.",
    -1002: "You are not authorized to execute this request.",
}


def missing(name: str) -> Failure:
    return Failure(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def bad_symbol() -> Failure:
    return Failure(400, -1121, "Invalid symbol.")


def refused(problem: Refused) -> Failure:
    """An engine refusal in the venue's words."""
    match problem.reason:
        case "symbol":
            return bad_symbol()
        case "balance":
            return Failure(400, -2010, "Account has insufficient balance for requested action.")
        case "duplicate":
            return Failure(400, -2010, "Duplicate order sent.")
        case "unknown_order" | "finished":
            return Failure(400, -2011, "Unknown order sent.")
        case "would_take":
            return Failure(400, -2010, "Order would immediately match and take.")
        case _:
            return Failure(400, -1013, f"Filter failure: {problem}.")


def account_of(engine: Engine, key: str | None) -> tuple[Account, ApiKey]:
    """The owner of an API key. Raises `Failure`."""
    if not key:
        raise Failure(401, -2014, TEXTS[-2014])
    found = engine.find_key("binance", key)
    if found is None:
        raise Failure(401, -2015, INVALID_KEY)
    if found[1].rejected:
        code = int(found[1].rejected)
        raise Failure(401 if code != -1022 else 400, code, TEXTS.get(code, INVALID_KEY))
    return found


def check_signature(key: ApiKey, payload: str, signature: str | None, now_ms: int, params: dict[str, str]) -> None:
    """Time window first, then the signature over `payload`. Raises `Failure`."""
    check_time(params, now_ms)
    if not signature:
        raise missing("signature")
    if not signed_by(key, payload, signature):
        raise Failure(400, -1022, TEXTS[-1022])


def check_time(params: dict[str, str], now_ms: int) -> None:
    """`timestamp < server + 1000` and `server - timestamp <= recvWindow`. Raises `Failure`."""
    text = params.get("timestamp", "")
    if not text.isdigit():
        raise missing("timestamp")
    window = float(params.get("recvWindow") or DEFAULT_WINDOW_MS)
    if window > MAX_WINDOW_MS:
        raise Failure(400, -1131, "recvWindow must be less than 60000.")
    stamp = int(text)
    if stamp >= now_ms + _AHEAD_MS:
        raise Failure(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp > window:
        raise Failure(400, -1021, "Timestamp for this request is outside of the recvWindow.")
