"""Whether an account is classic (v2) or unified (v3), asked by REST (venues/bitget.md last section, "Account mode").

The settings call names the mode. Where it may not be asked, or says something else, the classic calls tell: a unified
account refuses them with a code of its own. What could not be asked is never "classic".
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, Call, Fail, FailKind
from exchanges._frames import RETRYABLE, UNREADABLE
from exchanges.bitget import _errors, _hosts

TAG: Final = "account mode"
SETTINGS: Final = "/api/v3/account/settings"
_UNIFIED: Final = frozenset({"unified", "hybrid", "upgrading"})
_CLASSIC: Final = frozenset({"switching", "classic"})


class _Settings(msgspec.Struct, rename="camel"):
    account_mode: str | None = None


_settings = msgspec.json.Decoder(_Settings).decode


class Stage(NamedTuple):
    """What a call asks, and what was found out before it."""

    asks: str
    """`settings`, then `balances` and `orders` of the classic API."""
    denied: bool = False
    """The key may not read the settings, so they said nothing."""


class Finding(NamedTuple):
    """What an answer says: the mode, or what to ask next, or why it is not known."""

    unified: bool | None = None
    ask: Call | None = None
    note: str = ""
    fail: Fail | None = None
    clock: str = ""
    """The venue refused our timestamp, for this reason."""


def first() -> Call:
    return _call(SETTINGS, Stage("settings"))


def _call(path: str, stage: Stage) -> Call:
    return Call(tag=TAG, method="GET", url=_hosts.REST + path, pool="private", context=stage)


def _classic_balances(exchange: str, *, denied: bool) -> Call:
    product = _hosts.PRODUCTS[exchange][0]
    spot = "/api/v2/spot/account/assets?coin=USDT"
    path = spot if _hosts.is_spot(exchange) else f"/api/v2/mix/account/accounts?productType={product}"
    return _call(path, Stage("balances", denied))


def _classic_orders(exchange: str, *, denied: bool) -> Call:
    product = _hosts.PRODUCTS[exchange][0]
    spot = "/api/v2/spot/trade/unfilled-orders?limit=1"
    path = spot if _hosts.is_spot(exchange) else f"/api/v2/mix/order/orders-pending?limit=1&productType={product}"
    return _call(path, Stage("orders", denied))


def found(exchange: str, call: Call, answer: Answer) -> Finding:
    """What the answer to a call of this module says."""
    stage = call.context if isinstance(call.context, Stage) else Stage("settings")
    envelope = _errors.read(answer)
    code = str(envelope.code)
    if _errors.succeeded(answer, envelope):
        return _word(envelope) if stage.asks == "settings" else Finding(unified=False)
    if code == _errors.UNIFIED:
        return Finding(unified=True)
    if _errors.late(envelope):
        return Finding(clock=f"{code} {envelope.msg or ''}".strip())
    if _errors.denied(envelope):
        return _denied(exchange, stage)
    fail = _errors.failure(answer, envelope)
    passing = not code or answer.status in RETRYABLE or code in _errors.PASSING
    if fail.kind is not FailKind.TRANSIENT or passing or stage.asks != "settings":
        return Finding(fail=fail)
    return Finding(ask=_classic_balances(exchange, denied=False))


def _word(envelope: _errors.Envelope) -> Finding:
    try:
        told = _settings(envelope.data).account_mode or ""
    except UNREADABLE:
        told = ""
    mode = told.lower()
    if mode in _UNIFIED:
        return Finding(unified=True)
    return Finding(unified=False, note=f"account mode {told[:40]}" if told and mode not in _CLASSIC else "")


def _denied(exchange: str, stage: Stage) -> Finding:
    """The key may not ask this. Another question may tell; when none does, unified is the likelier one."""
    if stage.asks == "settings":
        return Finding(ask=_classic_balances(exchange, denied=True))
    if not stage.denied:
        return Finding(unified=False)  # the settings call was refused for another reason than the key's rights
    if stage.asks == "balances":
        return Finding(ask=_classic_orders(exchange, denied=True))
    return Finding(unified=True, note="the key may read neither settings nor orders: taken for a unified account")
