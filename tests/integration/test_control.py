"""What the health port may change, and for whom."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from cli.main import main
from connector.core.clock import Chance
from connector.state.memory_state import MemoryState
from exchanges.credentials import credentials
from harness.servers import wait_for
from tests.clocks import Standing
from workers.control import WRONG_ALLOWED, WRONG_WITHIN_S, Control
from workers.health_port import Figures, HealthServer
from workers.status_page import summarize
from workers.streams_seen import StreamsSeen

pytestmark = pytest.mark.integration

TOKEN, READ, OWNER = "control-token-0123456789", "read-token-0123456789", "user-a-1"
STREAM = "st/1 ü"
PATH = "/streams/st%2F1%20%C3%BC"


class Bench:
    def __init__(self, *, control: bool = True, read_token: str = "") -> None:
        self.clock = Standing()
        self.state = MemoryState(self.clock)
        self.state.open(STREAM, "okx", "u", credentials("key-xxxxxxxx", "secret-xxxxxxxx"), self.clock.wall_ms())
        self.state.claim([STREAM], OWNER, 60)
        self.told: list[dict[str, str]] = []
        self.state.listen(OWNER, lambda text: self.told.append(json.loads(text)))
        self.server = HealthServer(
            0,
            "127.0.0.1",
            status=lambda: summarize([], now_ms=1, role="user", version="1"),
            ready=list,
            metrics=Figures,
            clock=self.clock,
            seen=StreamsSeen(self.state, "user", self.clock),
            control=Control(TOKEN, self.state, self.clock, Chance(1)) if control else None,
            read_token=read_token,
        )
        assert self.server.start()

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def post(self, action: str, token: str = TOKEN, **headers: str) -> int:
        form = urlencode({"token": token})
        return self.ask("POST", f"{PATH}/{action}", form, Content_Type="application/x-www-form-urlencoded", **headers)[
            0
        ]

    @property
    def generation(self) -> int:
        return self.state.wanted([STREAM])[STREAM].generation


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    assert bench.server.stop()


def test_whoever_has_the_token_restarts_a_stream(bench: Bench) -> None:
    before = bench.generation
    form = urlencode({"token": TOKEN})
    status, headers, _ = bench.ask("POST", f"{PATH}/restart", form)
    assert (status, headers["Location"]) == (303, PATH)
    assert bench.generation == before + 1
    wait_for(lambda: bench.told == [{"t": "reconcile", "id": STREAM}], 10.0, "the notification")
    assert bench.ask("GET", headers["Location"])[0] == 200


def test_a_refused_key_is_tried_now_by_whoever_runs_the_stream(bench: Bench) -> None:
    assert bench.post("try-key") == 303
    wait_for(lambda: bench.told == [{"t": "try", "id": STREAM}], 10.0, "the notification")


def test_without_the_token_nothing_changes_and_each_try_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before = bench.generation
    assert bench.post("restart", "wrong") == 403
    assert bench.ask("POST", f"{PATH}/restart", "", Authorization="Bearer wrong")[0] == 403
    assert bench.ask("POST", f"{PATH}/restart", "\xff=\xfe")[0] == 403
    assert (bench.generation, bench.told) == (before, [])
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["control refused"] * 3
    assert "wrong" not in caplog.text


def test_another_site_s_page_can_do_nothing_even_with_the_token(bench: Bench) -> None:
    assert bench.post("restart", Origin="http://evil.example") == 403
    assert bench.post("restart", Sec_Fetch_Site="cross-site") == 403
    assert bench.told == []
    assert bench.post("restart", Origin=f"http://127.0.0.1:{bench.server.port}", Sec_Fetch_Site="same-origin") == 303


def test_guessing_shuts_the_door_for_a_minute(bench: Bench) -> None:
    for _ in range(WRONG_ALLOWED):
        assert bench.post("restart", "wrong") == 403
    assert bench.post("restart") == 429
    bench.clock.now += WRONG_WITHIN_S + 1
    assert bench.post("restart") == 303


def test_only_streams_that_are_wanted_and_actions_that_there_are(bench: Bench) -> None:
    form = urlencode({"token": TOKEN})
    assert bench.ask("POST", "/streams/nobody/restart", form)[0] == 404
    assert bench.ask("POST", f"{PATH}/close", form)[0] == 404
    assert bench.ask("POST", "/restart", form)[0] == 404
    assert bench.ask("POST", f"{PATH}/restart", "x" * 5_000)[0] == 413
    assert bench.ask("PUT", f"{PATH}/restart", form)[0] == 405


def test_the_page_with_the_form_stands_still_and_says_nothing_of_the_token(bench: Bench) -> None:
    page = bench.ask("GET", f"{PATH}/control")[2]
    assert f'action="{PATH}/restart"' in page
    assert "refresh" not in page
    assert TOKEN not in page
    assert f'href="{PATH}/control"' in bench.ask("GET", PATH)[2]


def test_without_a_token_set_the_port_is_read_only() -> None:
    bench = Bench(control=False)
    try:
        assert bench.post("restart") == 405
        assert bench.ask("GET", f"{PATH}/control")[0] == 404
        assert "/control" not in bench.ask("GET", PATH)[2]
    finally:
        assert bench.server.stop()


def test_the_read_token_is_asked_for_everything_but_health_and_ready() -> None:
    bench = Bench(read_token=READ)
    basic = base64.b64encode(f"anybody:{READ}".encode()).decode()
    try:
        for path in ("/", "/metrics", "/streams", PATH, "/status.json", "/nothing", f"{PATH}/control"):
            status, headers, _ = bench.ask("GET", path)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="connector"'), path
        for given in ("Bearer wrong", f"Basic {READ}", "Basic !!", f"Digest {READ}"):
            assert bench.ask("GET", "/metrics", Authorization=given)[0] == 401
        for given in (f"Bearer {READ}", f"Basic {basic}"):
            assert bench.ask("GET", "/metrics", Authorization=given)[0] == 200
        assert bench.ask("GET", "/health")[0] == 200
        assert bench.ask("GET", "/ready")[0] == 200
    finally:
        assert bench.server.stop()


def test_the_command_line_brings_the_read_token_along(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(read_token=READ)
    url = f"http://127.0.0.1:{bench.server.port}"
    try:
        monkeypatch.delenv("READ_TOKEN", raising=False)
        assert main(["status", "--url", url]) == 2
        assert "READ_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("READ_TOKEN", READ)
        assert main(["status", "--url", url]) == 0
    finally:
        assert bench.server.stop()
