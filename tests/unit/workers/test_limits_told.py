"""Bans, Retry-Afters and the use of the exchanges' limits, as the page and `connector status` tell them."""

from __future__ import annotations

from contextlib import closing
from socket import create_server

import msgspec
import pytest

from connector.core.limit_use import LimitUse, together
from connector.core.metrics import METRICS, Metrics, limits
from connector.core.ports import Role, WorkerInfo
from connector.core.settings import Settings
from connector.state.memory_state import MemoryState
from connector.streams.budget import Budget
from exchanges._venue import Rate
from tests.clocks import Standing
from workers.health import METRICS_KEY, StateReader
from workers.limits_told import MOST_BARS, MOST_ROWS, bars, limit_rows
from workers.status_page import read_status, status_json, status_page, status_text, summarize

NOW_MS = 1_790_000_000_000
BAN = LimitUse(
    venue="binance", kind="rest-spot", used=340, limit=5400, per_s=60.0,
    barred_until_ms=NOW_MS + 7_300_000, why="HTTP 418 with Retry-After",
)  # fmt: skip
PAUSE = LimitUse(
    venue="kucoin", kind="connect", egress="10.0.0.2", used=28, limit=28, per_s=60.0, barred_until_ms=NOW_MS + 42_000
)
FREE = LimitUse(venue="okx", kind="connect", used=1, limit=3, per_s=1.0)
FULL = LimitUse(venue="bybit", kind="connect", used=475, limit=475, per_s=300.0)


def test_a_ban_is_told_with_its_address_its_end_why_and_what_to_do() -> None:
    """Openings of one exchange waited for two hours, and no page said why or until when."""
    long, short = bars([PAUSE, FREE, BAN], NOW_MS)
    assert long.startswith(
        "binance takes no requests (spot) from this host's own address until 16:15:00 UTC (in 2 h): "
        "HTTP 418 with Retry-After. Live streams go on, "
    )
    assert short.startswith("kucoin takes no connections from address 10.0.0.2 until ")
    assert "(in 42 s): another process was told. Connections that are up go on, new ones wait" in short
    assert all("EGRESS_IPS" in line for line in (long, short))
    days = msgspec.structs.replace(BAN, barred_until_ms=NOW_MS + 3 * 86_400_000)
    assert "until 2026-09-24 14:13 UTC (in 3 d)" in bars([days], NOW_MS)[0]


def test_a_bar_that_is_over_is_not_told() -> None:
    assert bars([PAUSE], NOW_MS + 42_000) == []
    assert limit_rows([PAUSE], NOW_MS + 42_000)[1][0][2] == "no more connections for now"


def test_the_barred_come_first_and_then_the_fullest() -> None:
    columns, rows, red = limit_rows([FREE, FULL, BAN], NOW_MS)
    assert columns[0] == "exchange"
    assert [row[0] for row in rows] == ["binance", "bybit", "okx"]
    assert red == [True, False, False]
    assert rows[0][3] == "requests (spot) 340 of 5400 in 60 s"
    assert rows[1][1:] == ("the host's own", "no more connections for now", "connections 475 of 475 in 5 min")
    assert rows[2][2:] == ("free", "connections 1 of 3 in 1 s")
    idle = LimitUse(venue="okx", kind="connect", limit=3, per_s=1.0)
    assert limit_rows([idle], NOW_MS)[1][0][2:] == ("free", "nothing")


def test_many_addresses_do_not_fill_the_page() -> None:
    many = [
        LimitUse(venue="okx", kind="connect", egress=f"10.0.{number}.1", limit=3, barred_until_ms=NOW_MS + 1_000)
        for number in range(MOST_ROWS + 3)
    ]
    _, rows, red = limit_rows(many, NOW_MS)
    assert (len(rows), rows[-1][0], rows[-1][2], red[-1]) == (MOST_ROWS + 1, "3 more", "3 of them barred", True)
    assert len(bars(many, NOW_MS)) == MOST_BARS + 1


def test_page_terminal_and_json_tell_the_same() -> None:
    status = summarize([], now_ms=NOW_MS, role="user", version="1", limits=[BAN])
    for text in (status_page(status).decode(), status_text(status)):
        assert "HTTP 418 with Retry-After" in text
        assert "340 of 5400" in text
    assert read_status(status_json(status)).limits == [BAN]
    assert "Limits of the exchanges" not in status_text(summarize([], now_ms=0, role="user", version="1"))


def test_what_processes_took_adds_up_and_the_longest_bar_counts() -> None:
    told = LimitUse(venue="okx", kind="connect", used=1, barred_until_ms=5, why="HTTP 429")
    heard = LimitUse(venue="okx", kind="connect", used=2, limit=3, per_s=1.0, barred_until_ms=5)
    for order in ([told, heard], [heard, told]):
        assert together(order) == [
            LimitUse(venue="okx", kind="connect", used=3, limit=3, per_s=1.0, barred_until_ms=5, why="HTTP 429")
        ]


def test_the_page_counts_what_the_processes_of_the_other_service_took() -> None:
    """Both services share the limits of an exchange."""
    state, clock = MemoryState(), Standing()
    roles: tuple[Role, ...] = ("user", "price")
    for role in roles:
        info = WorkerInfo(
            owner=role, role=role, host="h", pid=1, started_ms=0, capacity=5, streams=0, service=f"h:{role}"
        )
        state.heartbeat(info, 60)
        dump = Metrics(strict=True).dump(limits=[FREE])
        state.put(METRICS_KEY + role, dump.decode(), 60)
    with closing(create_server(("127.0.0.1", 0))) as broker:
        settings = Settings.from_env({"RABBIT_PORT": str(broker.getsockname()[1])})
        status = StateReader(state, settings, "user", "h:user", clock).status()
    assert [worker.role for worker in status.workers] == ["user"]
    assert [use.used for use in status.limits] == [2]


def test_figures_of_a_version_that_knows_no_limits_can_be_read() -> None:
    assert limits([b'{"values":[],"histograms":[],"hour":[]}']) == []


# --- what a process keeps ---

RATE = Rate(10, 60.0)


@pytest.fixture
def clock() -> Standing:
    return Standing()


def test_a_process_keeps_what_it_took_and_what_bars_it(clock: Standing) -> None:
    budget = Budget(MemoryState(clock), clock)
    budget.take("okx", "connect", "", RATE, 3)
    budget.block("okx", "connect", "", 30.0, "HTTP 429 to a connection attempt")
    budget.block("okx", "connect", "", 5.0, "shorter")
    until_ms = clock.wall_ms() + 30_000
    told = LimitUse(
        venue="okx", kind="connect", used=3, limit=10, per_s=60.0, barred_until_ms=until_ms,
        why="HTTP 429 to a connection attempt",
    )  # fmt: skip
    assert budget.uses() == [told]
    labels = {"venue": "okx", "kind": "connect", "egress": ""}
    assert METRICS.value("limit_barred_until_seconds", **labels) == until_ms / 1000
    clock.now += 61
    assert budget.uses()[0].used == 0


def test_a_restarted_process_tells_a_ban_that_its_predecessor_was_told(clock: Standing) -> None:
    """Restarting is what one does first: the page must not forget the reason by that."""
    state = MemoryState(clock)
    Budget(state, clock).block("okx", "connect", "", 3_600.0, "HTTP 418")
    again = Budget(state, clock)
    assert again.take("okx", "connect", "", RATE) == pytest.approx(3_600.0)
    (use,) = again.uses()
    assert (use.barred_until_ms, use.why) == (clock.wall_ms() + 3_600_000, "")


def test_a_full_ledger_is_no_ban(clock: Standing) -> None:
    state = MemoryState(clock)
    Budget(state, clock).take("okx", "connect", "", RATE, 10)
    other = Budget(state, clock)
    assert other.take("okx", "connect", "", RATE) > 0
    assert other.uses()[0].barred_until_ms == 0
