"""The snapshot of the service, as JSON, page and table."""

from __future__ import annotations

import pytest

from connector.core.ports import WorkerInfo
from connector.streams.stories import Blind
from exchanges.credentials import credentials
from workers.status_page import read_status, status_json, status_page, status_text, summarize
from workers.streams_seen import Row, StreamList

WORKERS = [
    WorkerInfo(
        owner="user-b-2",
        role="user",
        host="b<script>",
        pid=2,
        started_ms=1_790_000_000_000,
        capacity=100,
        streams=3,
        states={"live": 2, "cooling": 1},
        sinks={"redis": 4},
        exchanges={"okx": 2},
        old_keys={"krakenUsdm": 1},
    ),
    WorkerInfo(
        owner="user-a-1",
        role="user",
        host="a",
        pid=1,
        started_ms=1_790_000_000_000,
        capacity=100,
        streams=5,
        draining=True,
        states={"live": 5},
        sinks={"redis": 1, "rabbitmq": 2},
        exchanges={"okx": 1, "bybit": 4},
        old_keys={"krakenUsdm": 2},
    ),
]


@pytest.fixture
def status():
    return summarize(
        WORKERS, now_ms=1_790_000_600_000, role="user", version="0.1.0", uptime_s=601.5, lag_s={"redis": 0.0021}
    )


def test_the_sums_cover_all_processes(status):
    assert status.states == {"cooling": 1, "live": 7}
    assert status.exchanges == {"bybit": 4, "okx": 3}
    assert status.sinks == {"rabbitmq": 2, "redis": 5}
    assert [worker.owner for worker in status.workers] == ["user-a-1", "user-b-2"]


def test_the_page_counts_the_accounts_whose_keys_the_exchange_will_refuse(status):
    assert status.old_keys == {"krakenUsdm": 3}
    for text in (status_page(status).decode(), status_text(status)):
        assert "Keys that the exchange will refuse one day" in text
    none = summarize([], now_ms=0, role="user", version="1")
    assert "will refuse" not in status_page(none).decode()


def test_json_comes_back_equal(status):
    assert status_json(read_status(status_json(status))) == status_json(status)


def test_the_page_escapes_and_renews_itself(status):
    page = status_page(status).decode()
    assert "<script>" not in page
    assert "b&lt;script&gt;" in page
    assert 'http-equiv="refresh"' in page
    assert "Ready" in page
    assert "2.1 ms" in page


def test_problems_are_shown_without_secrets():
    credentials("AKstatuscanary0123", "SKstatuscanary9876")
    status = summarize([], now_ms=0, role="price", version="1", problems=["redis: refused SKstatuscanary9876 <b>"])
    for text in (status_page(status).decode(), status_text(status), status_json(status).decode()):
        assert "SKstatuscanary9876" not in text
        assert "redis: refused" in text
    assert "<b>" not in status_page(status).decode()


def test_the_table_lists_processes_and_counts(status):
    text = status_text(status)
    assert "user 0.1.0: ready" in text
    assert "user-a-1" in text
    assert "draining" in text
    assert "10 min" in text
    (head,) = [line.split() for line in text.splitlines() if "pid" in line]
    assert "owns" in head
    assert "streams" not in head, "a process owns units, which are more than its live streams where there are candles"
    assert "5 of 100" in text


def test_the_page_shows_which_symbols_have_prices():
    chosen = {"PRICE_SYMBOLS": "okx=BTC-*", "SYMBOLS_FROM": "service"}
    status = summarize([], now_ms=0, role="price", version="1", prices=chosen)
    page = status_page(status).decode()
    assert "okx=BTC-*" in page
    assert "SYMBOLS_FROM" in page
    assert "PRICE_SYMBOLS" not in status_page(summarize([], now_ms=0, role="price", version="1")).decode()


def test_the_page_is_never_green_above_streams_that_are_not_live() -> None:
    """The list is a moment newer than the heartbeats, of which the figures are."""
    well = WorkerInfo(
        owner="w", role="user", host="h", pid=1, started_ms=0, capacity=5, streams=2, matrix={"okx": {"live": 2}}
    )
    listed = StreamList(now_ms=1, rows=(Row(told=Blind(stream_id="s-1", exchange="okx", state="cooling")),))
    page = status_page(summarize([well], now_ms=1, role="user", version="1"), listed).decode()
    assert "1 of 2 streams are not live" in page
    assert "all 2 streams are live" not in page


def test_clocks_and_waits_for_rate_limits_are_told():
    status = summarize(
        [], now_ms=0, role="user", version="1", clock_off_s={"okx": 0.4, "bybit": -31.2}, limit_wait_s={"kucoin": 2.44}
    )
    for text in (status_page(status).decode(), status_text(status)):
        assert "31.2 s behind: check NTP" in text
        assert "agrees" in text
        assert "2.4 s" in text
