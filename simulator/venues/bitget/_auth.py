"""Signed REST calls and socket logins. Pure."""

from __future__ import annotations

from typing import Final

from simulator._values import ApiKey
from simulator._venue import Instant, Request, World
from simulator.engine import Account
from simulator.signing import hmac_base64, public_key, same, verify_public

WINDOW_MS: Final = 30_000
UNIFIED_KEY: Final = "unified"
"""An account with such a key begins as a unified one."""
BLIND_KEY: Final = "blind"
"""Such a key may not read the account's settings."""


class Failure(Exception):
    """`{"code": …, "msg": …}`; REST and socket codes alike."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def starts_unified(account: Account) -> bool:
    return any(key.key.startswith(UNIFIED_KEY) for key in account.keys)


def may_read_settings(account: Account) -> bool:
    return not any(key.key.startswith(BLIND_KEY) for key in account.keys)


def signed(key: ApiKey, text: str, signature: str) -> bool:
    """HMAC or RSA, both base64."""
    if key.kind == "hmac":
        return same(hmac_base64(key.secret, text), signature)
    return verify_public(public_key(key.secret), text.encode(), signature)


def authenticate(world: World, request: Request, now: Instant) -> Account:
    """The account whose key signed the request. Raises `Failure` in the order in which the venue checks."""
    headers = request.headers
    for name, code in (("access-key", "40001"), ("access-sign", "40002"), ("access-passphrase", "40011")):
        if not headers.get(name):
            raise Failure(code, f"{name.upper().replace('-', '_')} cannot be empty")
    stamp = headers.get("access-timestamp", "")
    if not stamp.isdigit():
        raise Failure("40005", "Invalid ACCESS_TIMESTAMP")
    if abs(int(stamp) - now.wall_ms) > WINDOW_MS:
        raise Failure("40008", "Request timestamp expired")
    found = world.engine.find_key("bitget", headers["access-key"])
    if found is None:
        raise Failure("40006", "Invalid ACCESS_KEY")
    account, key = found
    if key.rejected:
        raise Failure(key.rejected, "the key was rejected")
    if not same(key.passphrase, headers["access-passphrase"]):
        raise Failure("40012", "apikey/password is incorrect")
    path = request.path + (f"?{request.query}" if request.query else "")
    text = f"{stamp}{request.method}{path}{request.body.decode('utf-8', 'replace')}"
    if not signed(key, text, headers["access-sign"]):
        raise Failure("40009", "sign signature error")
    return account


def log_in(world: World, arg: dict[str, object], now: Instant) -> Account:
    """The account of a socket login. Raises `Failure` with socket codes."""
    found = world.engine.find_key("bitget", str(arg.get("apiKey", "")))
    if found is None:
        raise Failure("30011", "Invalid ACCESS_KEY")
    account, key = found
    if key.rejected:
        raise Failure(key.rejected, "the key was rejected")
    stamp = str(arg.get("timestamp", ""))
    if not stamp.isdigit():
        raise Failure("30013", "Invalid ACCESS_TIMESTAMP")
    # Seconds; milliseconds are accepted, too.
    stamp_ms = int(stamp) * 1000 if len(stamp) < 12 else int(stamp)
    if abs(stamp_ms - now.wall_ms) > WINDOW_MS:
        raise Failure("30014", "Request timestamp expired")
    if not same(key.passphrase, str(arg.get("passphrase", ""))):
        raise Failure("30012", "Invalid ACCESS_PASSPHRASE")
    if not signed(key, f"{stamp}GET/user/verify", str(arg.get("sign", ""))):
        raise Failure("30015", "Invalid sign")
    return account
