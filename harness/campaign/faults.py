"""What a scenario can do to the stack. Each fault is drawn with all its parameters, then begun and, after a while, ended."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.campaign.accounts import Account
from harness.campaign.stack import Stack
from harness.rabbit_node import RabbitNode

REJECTED: Mapping[str, str] = {
    "binance": "-2015", "bybit": "10003", "okx": "60005", "kucoin": "400003", "bitget": "40006", "coinbase": "401",
    "hyperliquid": "missing", "kraken": "EAPI:Invalid key", "whitebit": "2", "paper": "1",
}  # fmt: skip
"""How each venue says that it doesn't know a key."""

Deed = Callable[[Stack, "Planned"], None]


@dataclass(frozen=True)
class Planned:
    """One fault of a scenario. `at` and `seconds` count from the start of the run."""

    kind: str
    at: float
    seconds: float
    account: str
    venue: str
    worker: int
    dice: float
    """For choices inside the fault."""

    def __str__(self) -> str:
        where = self.account or self.venue
        return f"{self.kind}@{self.at:.1f}s" + (f"({where})" if where else "")


@dataclass(frozen=True)
class Kind:
    """A sort of fault: how it begins and ends, how often it is drawn, and what it means for the checks."""

    begin: Deed
    end: Deed | None = None
    weight: int = 2
    group: str = "venue"
    """Row of the recovery table: `venue cut`, `sigkill` …; empty = no recovery is measured."""
    scope: str = "account"
    """`account`, `venue` or empty: what a plan names."""
    seconds: tuple[float, float] = (0.5, 2.0)
    redis: bool = False
    """Whether the Redis reader may miss events because of it."""
    kills: bool = False
    needs_node: bool = False
    venues: tuple[str, ...] = ()
    """Only for these families."""


def _sim(kind: str, **fixed: Any) -> Deed:
    def begin(stack: Stack, plan: Planned) -> None:
        stack.sim.fault(kind, venue=plan.venue, account=plan.account, feed="user", **fixed)

    return begin


def _frames(kind: str) -> Deed:
    def begin(stack: Stack, plan: Planned) -> None:
        stack.sim.fault(kind, venue=plan.venue, account=plan.account, feed="user", times=1 + int(plan.dice * 12))

    return begin


def _stall(stack: Stack, plan: Planned) -> None:
    stack.sim.fault("stall", account=plan.account, feed="user", seconds=plan.seconds)


def _close(stack: Stack, plan: Planned) -> None:
    code = (1000, 1001, 1003, 1008, 1011, 1012)[int(plan.dice * 6)]
    stack.sim.fault("close", venue=plan.venue, account=plan.account, feed="user", code=code, reason="bye")


def _refuse(stack: Stack, plan: Planned) -> None:
    status: object = (503, 502, 403, 429, "reset")[int(plan.dice * 5)]
    params: dict[str, Any] = {"status": status, **({"retry_after": 1} if status == 429 else {})}
    stack.sim.fault("refuse", venue=plan.venue, for_s=plan.seconds, times=0, **params)
    stack.sim.fault("drop", venue=plan.venue, feed="user")


def _unreachable(stack: Stack, plan: Planned) -> None:
    stack.sim.fault("unreachable", for_s=plan.seconds)
    stack.sim.fault("drop", feed="user")


def _rest(kind: str, times: int = 3, **params: Any) -> Deed:
    """Trouble for the calls that follow a cut: gap repair has to live with it."""

    def begin(stack: Stack, plan: Planned) -> None:
        count = 1 + int(plan.dice * times)
        stack.sim.fault(kind, venue=plan.venue, times=count, for_s=20.0, **params)
        stack.sim.fault("drop", venue=plan.venue, feed="user")

    return begin


def _rest_slow(stack: Stack, plan: Planned) -> None:
    stack.sim.fault("rest_slow", venue=plan.venue, times=3, for_s=20.0, seconds=plan.seconds)
    stack.sim.fault("drop", venue=plan.venue, feed="user")


def _find(stack: Stack, plan: Planned) -> Account:
    return next(account for account in stack.accounts if account.stream == plan.account)


def _replace_key(stack: Stack, plan: Planned) -> None:
    """The user makes a new key; the old one dies; the backend opens with the new one."""
    account = _find(stack, plan)
    account.renew()
    stack.canaries.add(account.secrets())
    stack.sim.replace_key(account.stream, account.key, account.secret, account.passphrase)
    stack.commander.open(account)


def _reject_key(stack: Stack, plan: Planned) -> None:
    """The venue refuses the key from now on, and ends the connection."""
    stack.sim.reject_key(plan.account, REJECTED[_find(stack, plan).venue])
    stack.sim.fault("drop", account=plan.account, feed="user")


def _expire(stack: Stack, plan: Planned) -> None:
    stack.sim.fault("expire_token", venue=plan.venue, account=plan.account, feed="user")


def _kill(stack: Stack, plan: Planned) -> None:
    stack.workers[plan.worker].kill()


def _kill_one(stack: Stack, plan: Planned) -> None:
    stack.workers[plan.worker].kill_one()


def _back(stack: Stack, plan: Planned) -> None:
    worker = stack.workers[plan.worker]
    worker.restart()
    worker.service.wait_ready(60.0)


def _terminate(stack: Stack, plan: Planned) -> None:
    stack.workers[plan.worker].terminate()


def _force_restart(stack: Stack, plan: Planned) -> None:
    stack.commander.force_restart(_find(stack, plan))


def _churn(stack: Stack, plan: Planned) -> None:
    """A bot more and a bot less: only the count moves."""
    account = _find(stack, plan)
    stack.commander.open(account)
    stack.commander.close(account)


def _broker_restart(stack: Stack, plan: Planned) -> None:
    if isinstance(stack.rabbit, RabbitNode):
        stack.rabbit.restart(away_s=plan.dice)


def _broker_crash(stack: Stack, plan: Planned) -> None:
    del plan
    if isinstance(stack.rabbit, RabbitNode):
        stack.rabbit.kill()
        stack.rabbit.start()


def _redis_restart(stack: Stack, plan: Planned) -> None:
    stack.redis.restart(away_s=plan.seconds)


def _proxy(server: str, deed: str) -> Deed:
    def act(stack: Stack, plan: Planned) -> None:
        del plan
        proxy = stack.rabbit_proxy if server == "rabbit" else stack.redis_proxy
        {
            "cut": proxy.cut,
            "stall": proxy.stall,
            "resume": proxy.resume,
            "refuse": proxy.refuse,
            "accept": proxy.accept,
        }[deed]()

    return act


def _slow_broker(stack: Stack, plan: Planned) -> None:
    stack.rabbit_proxy.delay(0.05 + plan.dice / 4)


def _slow_reader(stack: Stack, plan: Planned) -> None:
    stack.rabbit_reader.pause(plan.seconds)


def _slow_subscriber(stack: Stack, plan: Planned) -> None:
    stack.redis_reader.pause(plan.seconds)


FAULTS: Mapping[str, Kind] = {
    "drop": Kind(_sim("drop"), group="venue cut", weight=5),
    "drop_venue": Kind(_sim("drop"), group="venue cut", scope="venue", weight=4),
    "close": Kind(_close, group="venue cut", weight=3),
    "close_venue": Kind(_close, group="venue cut", scope="venue"),
    "cut_24h": Kind(_sim("cut"), group="venue cut"),
    "maintenance": Kind(_sim("maintenance", seconds=1), group="maintenance", scope="venue"),
    "terminate": Kind(_sim("terminate"), group="venue cut"),
    "refuse": Kind(_refuse, group="venue refuses", scope="venue", weight=3),
    "unreachable": Kind(_unreachable, group="venue refuses", scope=""),
    "garbage": Kind(_sim("garbage"), group=""),
    "garbage_text": Kind(_sim("garbage", data='{"e":12,"data":[[]],"topic":null,"channel":{}}'), group=""),
    "garbage_binary": Kind(_sim("garbage", data="\\u0000\\u0001 not text", binary=True), group="", weight=1),
    "duplicate": Kind(_frames("duplicate"), group=""),
    "reorder": Kind(_frames("reorder"), group=""),
    "stall": Kind(_stall, group=""),
    "rest_error": Kind(_rest("rest_error", status=500), group="rest trouble", scope="venue"),
    "rest_limited": Kind(_rest("rest_error", status=429, retry_after=1), group="rest trouble", scope="venue"),
    "rest_reset": Kind(_rest("rest_reset"), group="rest trouble", scope="venue"),
    "rest_garbage": Kind(_rest("rest_garbage"), group="rest trouble", scope="venue"),
    "rest_slow": Kind(_rest_slow, group="rest trouble", scope="venue"),
    "expire_token": Kind(_expire, group="", venues=("binance", "kucoin")),
    "replace_key": Kind(_replace_key, group=""),
    "reject_then_replace_key": Kind(_reject_key, _replace_key, group="", seconds=(0.8, 2.0)),
    "force_restart": Kind(_force_restart, group=""),
    "churn": Kind(_churn, group=""),
    "sigkill": Kind(_kill, _back, group="sigkill", scope="", seconds=(0.2, 1.5), kills=True, weight=4),
    "sigkill_one": Kind(_kill_one, _back, group="sigkill", scope="", seconds=(0.2, 1.5), kills=True),
    "sigterm": Kind(_terminate, _back, group="sigterm", scope="", seconds=(0.2, 1.5), weight=4),
    "broker_cut": Kind(_proxy("rabbit", "cut"), group="", scope=""),
    "broker_stall": Kind(_proxy("rabbit", "stall"), _proxy("rabbit", "resume"), group="", scope=""),
    "broker_away": Kind(_proxy("rabbit", "refuse"), _proxy("rabbit", "accept"), group="", scope=""),
    "broker_slow": Kind(_slow_broker, _proxy("rabbit", "resume"), group="", scope=""),
    "broker_restart": Kind(_broker_restart, group="", scope="", needs_node=True),
    "broker_crash": Kind(_broker_crash, group="", scope="", needs_node=True, weight=1),
    "redis_cut": Kind(_proxy("redis", "cut"), group="", scope=""),
    "redis_stall": Kind(_proxy("redis", "stall"), _proxy("redis", "resume"), group="", scope=""),
    "redis_away": Kind(_proxy("redis", "refuse"), _proxy("redis", "accept"), group="", scope=""),
    "redis_restart": Kind(_redis_restart, group="", scope="", redis=True, seconds=(0.1, 1.0)),
    "slow_rabbit_consumer": Kind(_slow_reader, group="", scope=""),
    "slow_redis_consumer": Kind(_slow_subscriber, group="", scope=""),
}  # fmt: skip


@dataclass
class Running:
    """A fault under way: its thread carries it out, so that orders go on flowing."""

    plan: Planned
    error: str = ""
    began: float = 0.0
    ended: float = 0.0
    _thread: threading.Thread | None = field(default=None, repr=False)


def draw(
    source: random.Random, accounts: Sequence[Account], workers: int, until_s: float, *, node: bool, count: int
) -> list[Planned]:
    """`count` faults at random times before `until_s`. At most one of them is a restart of a server or a service."""
    plans: list[Planned] = []
    families = {account.venue for account in accounts}
    heavy = False
    names = [
        name
        for name, kind in FAULTS.items()
        if (node or not kind.needs_node) and (not kind.venues or families & set(kind.venues))
    ]
    while len(plans) < count:
        name = source.choices(names, [FAULTS[one].weight for one in names])[0]
        kind = FAULTS[name]
        restarts = kind.kills or kind.redis or kind.needs_node or name == "sigterm"
        if restarts and heavy:
            continue
        heavy = heavy or restarts
        fitting = [account for account in accounts if not kind.venues or account.venue in kind.venues]
        account = source.choice(fitting)
        plans.append(
            Planned(
                kind=name,
                at=round(source.uniform(0.2, until_s), 2),
                seconds=round(source.uniform(*kind.seconds), 2),
                account=account.stream if kind.scope == "account" else "",
                venue=account.venue if kind.scope == "venue" else "",
                worker=source.randrange(workers),
                dice=source.random(),
            )
        )
    return sorted(plans, key=lambda plan: plan.at)
