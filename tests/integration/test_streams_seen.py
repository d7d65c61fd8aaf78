"""One screen, one list and one command say which account is blind, and why (review B1, B9)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import cast

import pytest

from cli import _waiting
from cli.main import main
from connector.core.ports import Role, WorkerInfo
from connector.state.memory_state import MemoryState
from connector.streams.stories import Blind
from exchanges._adapter import Fail, FailKind
from exchanges.credentials import credentials
from tests.clocks import Standing
from tests.unit.connector.streams.fakes import Bench, ticker, user
from workers.health_port import Figures, HealthServer
from workers.status_page import Status, summarize
from workers.stream_pages import story_page, story_text
from workers.streams_seen import Asked, StreamsSeen

pytestmark = pytest.mark.integration

OWNER = "user-a-1"


@pytest.fixture
def bench() -> Bench:
    """One account is live, one is refused, one nobody runs."""
    bench = Bench()
    bench.want(user("live-1"))
    bench.live("live-1")
    bench.want(user("dark-<2>"))
    bench.live("dark-<2>")
    bench.refused(Fail(kind=FailKind.KEY_TYPE, reason="10003 API key is invalid", stream_id="dark-<2>"), "dark-<2>")
    return bench


@pytest.fixture
def server(bench: Bench) -> Iterator[HealthServer]:
    clock = bench.clock
    state = MemoryState(clock)
    for stream_id in ("live-1", "dark-<2>", "lonely-3"):
        state.open(
            stream_id, "bybit", "owner", credentials(f"key-{stream_id}-xxxx", "secret-xxxxxxxx"), clock.wall_ms()
        )
    state.claim(["live-1", "dark-<2>"], OWNER, 60)
    bench.supervisor.stories.tell(state, OWNER, ["lonely-3"])
    worker = WorkerInfo(
        owner=OWNER, role="user", host="a", pid=1, started_ms=clock.wall_ms(), capacity=5, streams=2,
        states={"live": 1, "cooling": 1}, matrix={"bybit": {"live": 1, "cooling": 1}}, wanted=3, unowned=1,
    )  # fmt: skip
    state.heartbeat(worker, 60)

    def status() -> Status:
        return summarize(state.workers(), now_ms=clock.wall_ms(), role="user", version="1", uptime_s=1)

    server = HealthServer(
        0,
        "127.0.0.1",
        status=status,
        ready=list,
        metrics=Figures,
        clock=Standing(),
        seen=StreamsSeen(state, "user", clock),
    )
    assert server.start()
    yield server
    assert server.stop()


def ask(server: HealthServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_first_page_answers_with_the_number_of_blind_accounts_and_names_them(server: HealthServer) -> None:
    """The page was green while every account of an exchange was down, and the exchange was not on it."""
    code, page = ask(server, "/")
    assert code == 200
    assert "2 of 3 streams are not live" in page
    assert "Ready: all" not in page
    assert "dark-&lt;2&gt;" in page
    assert "dark-<2>" not in page
    assert "10003 API key is invalid" in page
    assert "lonely-3" in page
    assert 'href="/streams/dark-%3C2%3E"' in page
    assert ">bybit</td>" in page


def test_the_list_can_be_narrowed_and_wrong_questions_are_refused(server: HealthServer) -> None:
    code, body = ask(server, "/streams.json?exchange=bybit")
    assert code == 200
    assert [row["told"]["stream_id"] for row in json.loads(body)["rows"]] == ["lonely-3", "dark-<2>"]
    assert json.loads(body)["rows"][0]["told"]["user_id"] == "owner", "whose account nobody runs is known as well"
    assert json.loads(ask(server, "/streams.json?exchange=okx")[1])["rows"] == []
    _, body = ask(server, "/streams.json?not_live=false")
    states = {row["told"]["stream_id"]: row["told"]["state"] for row in json.loads(body)["rows"]}
    assert states == {"live-1": "live", "dark-<2>": "cooling", "lonely-3": "unowned"}
    _, body = ask(server, "/streams.json?not_live=false&limit=1")
    assert json.loads(body)["cut"] is True
    for query, words in (("limit=0", "limit"), ("not_live=maybe", "not_live"), ("excange=okx", "excange")):
        code, body = ask(server, f"/streams.json?{query}")
        assert code == 400
        assert words in json.loads(body)["error"]


def test_a_stream_has_a_page_of_its_own(server: HealthServer) -> None:
    code, page = ask(server, "/streams/dark-%3C2%3E")
    assert code == 200
    assert "Blind: cooling" in page
    assert "what to do" in page
    assert OWNER in page
    code, page = ask(server, "/streams/live-1")
    assert "Live" in page
    code, page = ask(server, "/streams/lonely-3")
    assert "Blind: no process runs this stream" in page
    assert ask(server, "/streams/nobody-4")[0] == 404


def test_the_command_line_lists_them_and_tells_the_story(
    server: HealthServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"127.0.0.1:{server.port}"
    assert main(["streams", "--not-live", "--url", url]) == 1
    told = capsys.readouterr().out
    assert "dark-<2>" in told
    assert "lonely-3" in told
    assert "live-1" not in told
    assert main(["streams", "--text", "live-1", "--url", url]) == 0
    assert main(["why", "dark-<2>", "--url", url]) == 1
    told = capsys.readouterr().out
    assert "Blind: cooling" in told
    assert "10003 API key is invalid" in told
    assert main(["why", "live-1", "--url", url]) == 0
    assert main(["why", "nobody-4", "--url", url]) == 1
    assert "no stream 'nobody-4' is known" in capsys.readouterr().err
    assert main(["status", "--url", url]) == 0
    assert "2 of 3 streams are not live" in capsys.readouterr().out


def test_a_port_where_nothing_listens_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["streams"], ["why", "one"]):
        assert main([*command, "--url", "127.0.0.1:1"]) == 2
        told = capsys.readouterr().err
        assert "nothing answers on 127.0.0.1:1 (HEALTH_PORT, --url)" in told
        assert told.count("\n") == 1


def test_what_another_version_wrote_costs_its_row_only(bench: Bench) -> None:
    state = MemoryState(bench.clock)
    state.put("story:one", '{"stream_id": 5}')
    state.put(f"blind:{OWNER}", "[]")
    state.heartbeat(
        WorkerInfo(owner=OWNER, role="user", host="a", pid=1, started_ms=0, capacity=1, streams=0), ttl_s=60
    )
    seen = StreamsSeen(state, "user", bench.clock)
    assert seen.page("one") is None
    assert seen._blind() == list[Blind]()


def test_price_streams_are_listed_and_have_pages(bench: Bench) -> None:
    """Of a price stream that was live nothing could be seen, and the list of the price service was that of the accounts."""
    clock, state, prices = bench.clock, MemoryState(bench.clock), Bench()
    for number in range(2):
        prices.want(ticker(number))
        prices.live(f"ticker:bybit#{number}")
    prices.lost(fail=Fail(kind=FailKind.TRANSIENT, reason="no byte for 30 s"))
    prices.advance(5)
    prices.live("ticker:bybit#1")
    prices.supervisor.stories.tell(state, "price-a-2")
    state.open("live-1", "bybit", "owner", credentials("key-live-1-xxxx", "secret-xxxxxxxx"), clock.wall_ms())
    worker = WorkerInfo(owner="price-a-2", role="price", host="a", pid=2, started_ms=0, capacity=5, streams=1)
    state.heartbeat(worker, 60)
    everything = Asked(not_live=False)
    listed = StreamsSeen(state, "price", clock).listed(everything)
    assert [row.told.stream_id for row in listed.rows] == ["ticker:bybit#0", "ticker:bybit#1"]
    both = StreamsSeen(state, None, clock).listed(everything)
    assert [row.told.stream_id for row in both.rows] == ["live-1", "ticker:bybit#0", "ticker:bybit#1"]
    for role in ("price", "user"):
        seen = StreamsSeen(state, cast(Role, role), clock)
        found = seen.page("ticker:bybit#1")
        assert found is not None
        page = story_page(found, control=True).decode()
        assert '<p class="answer ok">Live</p>' in page
        assert "no byte for 30 s" in page
        assert "price-a-2" in page
        assert "subscribers" not in page
        assert "/control" not in page, "what acts on accounts does nothing here"
    state.retire("price-a-2")
    found = StreamsSeen(state, "price", clock).page("ticker:bybit#1")
    assert found is not None
    assert "Blind: no process runs this stream" in story_page(found).decode()


def test_the_page_of_an_account_says_what_was_noticed(bench: Bench) -> None:
    state = MemoryState(bench.clock)
    state.open("live-1", "bybit", "owner", credentials("key-live-1-xxxx", "secret-xxxxxxxx"), bench.clock.wall_ms())
    state.claim(["live-1"], OWNER, 60)
    bench.supervisor.stories.noticed("live-1", "account mode not known, taken for <classic>")
    bench.supervisor.stories.tell(state, OWNER)
    found = StreamsSeen(state, "user", bench.clock).page("live-1")
    assert found is not None
    assert "account mode not known, taken for &lt;classic&gt;" in story_page(found).decode()
    assert "Noticed" in story_text(found)
    assert "taken for <classic>" in story_text(found)


@pytest.mark.parametrize(
    ("stream", "code", "said"),
    [
        ("live-1", 0, "live: live-1"),
        ("dark-<2>", 1, "10003 API key is invalid"),
        ("nobody", 1, "no stream 'nobody' is known"),
    ],
)
def test_whoever_opens_a_stream_can_wait_for_what_comes_of_it(
    server: HealthServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stream: str,
    code: int,
    said: str,
) -> None:
    """`connector open` said "sent", never the outcome."""
    monkeypatch.setattr(_waiting, "LOOK_S", 0.02)
    assert _waiting.wait_live(f"http://127.0.0.1:{server.port}", stream, 0.5) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_waiting_without_a_service_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert _waiting.wait_live("http://127.0.0.1:1", "live-1", 0.5) == 2
    assert "nothing answers on 127.0.0.1:1" in capsys.readouterr().err


def test_the_page_of_an_account_says_when_its_last_event_was(bench: Bench) -> None:
    """A quiet account looked like a deaf one."""
    state = MemoryState(bench.clock)
    now_ms = bench.clock.wall_ms()
    state.open("live-1", "bybit", "owner", credentials("key-live-1-xxxx", "secret-xxxxxxxx"), now_ms)
    bench.supervisor.stories.tell(state, OWNER)
    seen = StreamsSeen(state, "user", bench.clock)
    found = seen.page("live-1")
    assert found is not None
    assert "last event" not in story_text(found)
    state.last_events["live-1"] = now_ms - 90_000
    found = seen.page("live-1")
    assert found is not None
    assert "last event" in story_page(found).decode()
    assert "90 s ago" in story_text(found)
