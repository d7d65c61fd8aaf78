"""Who signed: login frames and REST headers are checked the way OKX does, with its codes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from simulator._venue import Instant, Request, World
from simulator.engine import Account
from simulator.signing import hmac_base64, same

VENUE: Final = "okx"
WINDOW_MS: Final = 30_000
_LOGIN_FAILED: Final = "60009"


class Failure(Exception):
    """A request is refused: the venue's code and text, and the HTTP status of a REST answer."""

    def __init__(self, code: str, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def login(world: World, argument: Mapping[str, Any], now: Instant) -> Account:
    """The account of a login frame's argument. Raises `Failure`."""
    key, passphrase, timestamp, sign = (
        str(argument.get(name, "")) for name in ("apiKey", "passphrase", "timestamp", "sign")
    )
    try:
        moment_ms = float(timestamp) * 1000
    except ValueError:
        raise Failure("60004", "Invalid timestamp") from None
    if abs(now.wall_ms - moment_ms) > WINDOW_MS:
        raise Failure("60006", "Timestamp request expired")
    found = world.engine.find_key(VENUE, key)
    if found is None:
        raise Failure("60032", "API key doesn't exist")
    account, api_key = found
    if api_key.rejected:
        raise Failure(_code(api_key.rejected, "60", "60005"), "Invalid apiKey")
    if not same(api_key.passphrase, passphrase):
        raise Failure("60024", "Wrong passphrase")
    if not same(hmac_base64(api_key.secret, f"{timestamp}GET/users/self/verify"), sign):
        raise Failure("60007", "Invalid sign")
    return account


def signer(world: World, request: Request, now: Instant) -> Account:
    """The account that signed a REST request. Raises `Failure`."""
    headers = request.headers
    key, moment = headers.get("ok-access-key", ""), headers.get("ok-access-timestamp", "")
    if not key:
        raise Failure("50103", 'Request header "OK-ACCESS-KEY" can not be empty.', 401)
    try:
        moment_ms = datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(UTC).timestamp() * 1000
    except ValueError:
        raise Failure("50112", "Invalid OK-ACCESS-TIMESTAMP", 401) from None
    if abs(now.wall_ms - moment_ms) > WINDOW_MS:
        raise Failure("50102", "Timestamp request expired", 401)
    found = world.engine.find_key(VENUE, key)
    if found is None:
        raise Failure("50119", "API key doesn't exist", 401)
    account, api_key = found
    # 60009 on the stream alone proves nothing about a key: REST goes on accepting it.
    if api_key.rejected and api_key.rejected != _LOGIN_FAILED:
        raise Failure(_code(api_key.rejected, "50", "50111"), "Invalid OK-ACCESS-KEY", 401)
    if not same(api_key.passphrase, headers.get("ok-access-passphrase", "")):
        raise Failure("50105", 'Request header "OK-ACCESS-PASSPHRASE" incorrect.', 401)
    path = request.path + (f"?{request.query}" if request.query else "")
    text = f"{moment}{request.method}{path}{request.body.decode('utf-8', 'replace')}"
    if not same(hmac_base64(api_key.secret, text), headers.get("ok-access-sign", "")):
        raise Failure("50113", "Invalid Sign", 401)
    return account


def _code(wanted: str, prefix: str, otherwise: str) -> str:
    """The code that a fault asks for, if it is one of this door's."""
    return wanted if wanted.startswith(prefix) and len(wanted) == 5 else otherwise
