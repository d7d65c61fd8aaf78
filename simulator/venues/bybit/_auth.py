"""Who signed a call to Bybit, and how a key is refused. Pure."""

from __future__ import annotations

from simulator._values import ApiKey
from simulator._venue import Instant, Request, World
from simulator.engine import Account
from simulator.signing import signed_by
from simulator.venues.bybit._symbols import site_fits


class Failure(Exception):
    """The venue declines: a code in the envelope, or an HTTP status of its own."""

    def __init__(self, code: int, text: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.status, self.headers = code, text, status, headers or {}


def authenticate(world: World, request: Request, now: Instant) -> tuple[Account, ApiKey]:
    """Who signed a call. Raises `Failure`."""
    headers = request.headers
    found = world.engine.find_key("bybit", headers.get("x-bapi-api-key", ""))
    if found is None:
        raise Failure(10003, "API key is invalid.")
    account, key = found
    if key.rejected:
        raise rejected(key)
    if not site_fits(key.key, request.host, headers):
        raise Failure(10003, "API key is invalid.")
    stamp, window = headers.get("x-bapi-timestamp", ""), headers.get("x-bapi-recv-window") or "5000"
    if not stamp.isdigit() or not window.isdigit():
        raise Failure(10001, "params error: timestamp invalid")
    if not now.wall_ms - int(window) <= int(stamp) < now.wall_ms + 1000:
        text = f"req_timestamp[{stamp}],server_timestamp[{now.wall_ms}],recv_window[{window}]"
        raise Failure(10002, f"invalid request, please check your server timestamp or recv_window param. {text}")
    payload = request.query if request.method == "GET" else request.body.decode("utf-8", "replace")
    if not signed_by(key, f"{stamp}{key.key}{window}{payload}", headers.get("x-bapi-sign", "")):
        raise Failure(10004, "Error sign, please check your signature generation algorithm.")
    return account, key


def rejected(key: ApiKey) -> Failure:
    """How a refused key is refused: with the code that was asked for, where it is one of this venue's."""
    code = int(key.rejected) if key.rejected.lstrip("-").isdigit() else 10003
    if code == 401:
        return Failure(10003, "Unauthorized", 401)
    texts = {
        33004: "Your api key has expired.",
        10004: "Error sign, please check your signature.",
        10010: "Unmatched IP",
    }
    return Failure(code, texts.get(code, "API key is invalid."))
