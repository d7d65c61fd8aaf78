"""The health port in every state that a person may find it in, with the classes that serve it.

python -m harness.pages FOLDER: a picture of each in Chromium, light, dark and as wide as a telephone, to look at.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from connector.core.clock import SystemClock
from connector.core.errors import StateUnavailable
from connector.core.limit_use import LimitUse
from connector.core.metrics import Metrics, Minute
from connector.core.ports import WorkerInfo
from connector.core.settings import Settings
from connector.state.memory_state import MemoryState
from connector.streams.lifecycle import StreamState
from connector.streams.spec import StreamSpec
from connector.streams.stories import Stories
from exchanges._adapter import FailKind, GapReport
from exchanges.credentials import credentials
from harness.chromium import Chromium
from workers.health import METRICS_KEY, StateReader
from workers.health_port import HealthServer
from workers.streams_seen import StreamsSeen

SERVICE: Final = "host-a:1000"
OWNERS: Final = ("user-host-a-1001", "user-host-b-1001")
EXCHANGES: Final = ("binance", "binanceUsdm", "bybit", "bybitLinear", "kucoin", "okx")
HOUR: Final = 60
LATELY: Final = 4


class Site:
    """A deployment as its state tells it. Nothing runs; what is said is put in the words of what would."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.state: MemoryState = MemoryState(self.clock)
        self._stories = [Stories(self.clock) for _ in OWNERS]
        self._where: dict[str, tuple[int, str, StreamState]] = {}
        self.problems: tuple[str, ...] = ()
        self.unowned: list[str] = []
        self.capacity = 5_000
        self.away = False
        self.limits = list(_LIMITS)

    def streams(self, number: int, state: StreamState = StreamState.LIVE, *exchanges: str, **fail: Any) -> None:
        """So many accounts, over these exchanges and both processes."""
        for index in range(number):
            exchange = (exchanges or EXCHANGES)[index % len(exchanges or EXCHANGES)]
            place = len(self._where)
            name = f"{place:08x}-5a0f-4c0a-9a5e-{place * 7919:012x}"
            self.stream(name, exchange, state, owner=place % len(OWNERS), **fail)

    def stream(
        self,
        name: str,
        exchange: str,
        state: StreamState,
        *,
        owner: int = 0,
        reason: str = "",
        kind: FailKind | None = None,
        next_try_s: float = 0.0,
    ) -> None:
        told = self._stories[owner]
        user_id = f"64f0c2a9b1d3e4f5{len(self._where):08x}"
        spec = StreamSpec(stream_id=name, exchange=exchange, feed="user", user_id=user_id)
        self.state.open(name, exchange, user_id, credentials(f"key-{name}", f"secret-{name}"), self.clock.wall_ms())
        told.moved(spec, StreamState.LIVE)
        if state is not StreamState.LIVE:
            told.moved(spec, state, reason, kind)
        if next_try_s:
            told.planned(name, next_try_s)
        self._where[name] = (owner, exchange, state)

    def gap(self, name: str, *missing: str) -> None:
        now_ms = self.clock.wall_ms()
        self._stories[self._where[name][0]].gap(
            name, GapReport(from_ms=now_ms - 95_000, to_ms=now_ms - 60_000, missing=missing)
        )

    def noticed(self, name: str, what: str) -> None:
        self._stories[self._where[name][0]].noticed(name, what)

    def nobody_runs(self, number: int) -> None:
        for index in range(number):
            name = f"{index:08x}-0000-4c0a-9a5e-aaaaaaaaaaaa"
            self.state.open(name, "okx", "u", credentials(f"key-{name}", f"secret-{name}"), self.clock.wall_ms())
            self.unowned.append(name)

    def tell(self) -> None:
        """As the processes would with their next beat."""
        now_ms = self.clock.wall_ms()
        for number, owner in enumerate(OWNERS):
            mine = {name: row for name, row in self._where.items() if row[0] == number}
            self.state.claim(list(mine), owner, 600)
            for _ in range(len(mine) // 1_000 + 1):
                self._stories[number].tell(self.state, owner, self.unowned)
            matrix: dict[str, Counter[str]] = {}
            for _, exchange, state in mine.values():
                matrix.setdefault(exchange, Counter())[state.value] += 1
            states = Counter(state.value for _, _, state in mine.values())
            live = Counter(exchange for _, exchange, state in mine.values() if state is StreamState.LIVE)
            self.state.heartbeat(
                WorkerInfo(
                    owner=owner,
                    role="user",
                    host=owner.split("-", 1)[1].rpartition("-")[0],
                    pid=1001,
                    started_ms=now_ms - 93_000_000,
                    capacity=self.capacity,
                    streams=len(mine),
                    states=states,
                    matrix=matrix,
                    exchanges=live,
                    sinks={"rabbitmq": 3 if not self.problems else 4_211, "redis": 0},
                    service=SERVICE,
                    problems=self.problems,
                    wanted=len(self._where) + len(self.unowned),
                    unowned=len(self.unowned),
                ),
                600,
            )
            figures = _figures(now_ms, states, len(self.unowned), self.limits)
            self.state.put(METRICS_KEY + owner, figures.decode(), 600)


_LIMITS: Final = (
    LimitUse(venue="binance", kind="connect", used=2, limit=285, per_s=300.0),
    LimitUse(venue="binance", kind="rest-spot", used=340, limit=5400, per_s=60.0),
    LimitUse(venue="kucoin", kind="connect", egress="exit-2.example:8080", used=14, limit=28, per_s=60.0),
    LimitUse(venue="okx", kind="connect", used=0, limit=3, per_s=1.0),
)


def _figures(now_ms: int, states: Counter[str], unowned: int, limits: Sequence[LimitUse]) -> bytes:
    metrics = Metrics(strict=True)
    metrics.observe("publish_lag_seconds", 0.0021, sink="redis", kind="account")
    metrics.observe("publish_lag_seconds", 0.0064, sink="rabbitmq", kind="account")
    metrics.observe("budget_wait_seconds", 2.4, venue="kucoin", kind="connect")
    for venue, off_s in (("binance", 0.3), ("bybit", -0.2), ("okx", 0.6)):
        metrics.gauge("clock_off_seconds", off_s, venue=venue)
    live, minute = states[StreamState.LIVE.value], now_ms // 60_000
    blind = sum(states.values()) - live
    return metrics.dump([_minute(minute, age, live, blind, unowned) for age in reversed(range(HOUR))], limits)


def _minute(now: int, age: int, live: int, blind: int, unowned: int) -> Minute:
    """All was well until some minutes ago."""
    events = (age * 37) % 240 + live if live else 0
    well = age > LATELY
    return Minute(now - age, live + blind * well, blind * (not well), events, unowned * (not well))


class Away(MemoryState):
    """What a state says that can't be reached."""

    def workers(self, role: object = None) -> list[WorkerInfo]:  # noqa: ARG002 - as the one that can
        raise StateUnavailable("Redis: ConnectionError: Error 111 connecting to 10.0.0.7:6379. Connection refused.")


# --- the states ---


def nothing(site: Site) -> None:
    """Just installed: no account is wanted yet."""


def healthy(site: Site) -> None:
    site.streams(60)


def exchange_down(site: Site) -> None:
    site.streams(48, StreamState.LIVE, "bybit", "kucoin", "okx")
    site.streams(
        12, StreamState.WAITING, "binance", "binanceUsdm",
        reason="the upgrade was refused: HTTP 503 Service Unavailable", next_try_s=41.0,
    )  # fmt: skip
    site.streams(
        2, StreamState.COOLING, "bybit",
        reason="10003 API key is invalid.", kind=FailKind.CREDENTIAL, next_try_s=1_700.0,
    )  # fmt: skip


def redis_away(site: Site) -> None:
    site.streams(60)
    site.away = True


def broker_away(site: Site) -> None:
    site.streams(60)
    site.problems = (
        "rabbitmq: not connected: ConnectionRefusedError: [Errno 111] Connection refused",
        "commands: usersStreamAction is not consumed",
    )


def full(site: Site) -> None:
    site.capacity = 30
    site.streams(60)
    site.nobody_runs(212)
    site.problems = ("streams: 212 wanted accounts are run by nobody: every process is full (MAX_STREAMS 30)",)


def barred(site: Site) -> None:
    """All is live, and an exchange answers one address with a ban, another one with a Retry-After."""
    site.streams(60)
    now_ms = site.clock.wall_ms()
    site.limits += [
        LimitUse(
            venue="binance", kind="rest-spot", barred_until_ms=now_ms + 7_300_000, why="HTTP 418 with Retry-After"
        ),
        LimitUse(
            venue="kucoin",
            kind="connect",
            egress="exit-2.example:8080",
            barred_until_ms=now_ms + 42_000,
            why="HTTP 429 to a connection attempt",
        ),
        LimitUse(
            venue="kucoin", kind="connect", barred_until_ms=now_ms + 9_000, why="HTTP 429 to a connection attempt"
        ),
        *(
            LimitUse(
                venue="kucoin",
                kind=f"rest-{pool}",
                used=60,
                limit=1800,
                per_s=30.0,
                barred_until_ms=now_ms + 8_000,
                why="HTTP 429, without saying how long",
            )
            for pool in ("futures", "public", "spot")
        ),
    ]


def crowd(site: Site) -> None:
    site.streams(4_960)
    site.streams(40, StreamState.OPENING, "kucoin", reason="no byte for 30 s: the connection is dead")


FORMS: Final[dict[str, dict[str, Any]]] = {
    "light": {},
    "dark": {"dark": True},
    "narrow": {"width": 390, "height": 844},
    "narrow-dark": {"width": 390, "height": 844, "dark": True},
}
STATES: Final[dict[str, Callable[[Site], None]]] = {
    one.__name__: one for one in (nothing, healthy, exchange_down, redis_away, broker_away, full, barred, crowd)
}


@contextmanager
def served(prepare: Callable[[Site], None]) -> Iterator[tuple[str, Site]]:
    """The address of the port of a service in this state."""
    site = Site()
    prepare(site)
    site.tell()
    broker = socket.create_server(("127.0.0.1", 0))
    settings = Settings.from_env({"RABBIT_HOST": "127.0.0.1", "RABBIT_PORT": str(broker.getsockname()[1])})
    reader = StateReader(site.state, settings, "user", SERVICE)
    server = HealthServer(
        0,
        "127.0.0.1",
        status=reader.status,
        ready=reader.ready,
        metrics=reader.metrics,
        known_metrics=reader.known_metrics,
        known_status=reader.known_status,
        seen=StreamsSeen(site.state, "user", site.clock),
    )
    reader.status()  # what is known when Redis goes
    if site.away:
        reader._state = Away(site.clock)
    if not server.start():
        raise RuntimeError("no port for the pages")
    try:
        yield f"http://127.0.0.1:{server.port}", site
    finally:
        server.stop()
        broker.close()


def stories(site: Site) -> None:
    """Two streams with much to tell."""
    exchange_down(site)
    site.stream("kucoin-of-unknown-mode", "kucoin", StreamState.LIVE)
    site.state.last_events["kucoin-of-unknown-mode"] = site.clock.wall_ms() - 42_000
    site.noticed("kucoin-of-unknown-mode", "account mode not known, taken for classic: HTTP 404")
    site.gap("kucoin-of-unknown-mode", "fills of ETH-USDT", "balances: not asked")


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with Chromium() as browser:

        def take(url: str, name: str, **form: Any) -> None:
            browser.open(url, **form)
            (folder / f"{name}.png").write_bytes(browser.shot())

        for state, prepare in STATES.items():
            with served(prepare) as (url, _):
                for form, how in FORMS.items():
                    take(f"{url}/", f"{state}-{form}", **how)
        with served(stories) as (url, site):
            refused = next(name for name, row in site._where.items() if row[2] is StreamState.COOLING)
            for form, how in FORMS.items():
                take(f"{url}/streams", f"search-{form}", **how)
                take(f"{url}/streams/{refused}", f"refused-{form}", **how)
                take(f"{url}/streams/kucoin-of-unknown-mode", f"noticed-{form}", **how)
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
