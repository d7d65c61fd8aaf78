"""Traces: the spans of commands, streams, gaps, hand-overs and events; in AMQP headers; over OTLP; and none when off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import exchanges
from connector import Connector
from connector.core.errors import InvalidSetting
from connector.core.messages import AccountMessage
from connector.core.otel import init_traces
from connector.core.traces import TRACES
from connector.sinks._amqp_messages import Outgoing, publishing
from simulator.simulator import Simulator
from tests.integration.api.desk import WAIT_S, Book, account, api_of, booked, place
from tests.integration.streams.exchange import EXCHANGE as SCRIPTED
from tests.integration.streams.exchange import ScriptedVenue
from tests.integration.streams.rig import until
from tests.integration.streams.test_engines import Town

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
EXCHANGE = "bybit"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    TRACES.begin(provider)
    yield exporter
    TRACES.end()
    provider.shutdown()


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    made = Town()
    venue = ScriptedVenue(made.exchange.server.url)
    monkeypatch.setattr(exchanges, "_by_exchange", lambda: {SCRIPTED: venue})
    yield made
    made.stop()


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    with Simulator(seed=17) as simulator:
        yield simulator


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def trade(exchange: Simulator, at: str, bot: Connector) -> str:
    """An order told live, one told by the repair of a gap."""
    book = Book()
    bot.on("executionReport", book)
    stream = bot.open_stream(user_id="me", api=api_of(EXCHANGE))
    bot.wait_live(stream, WAIT_S)
    exchange.fill(place(exchange, at, EXCHANGE).order_id)
    book.wait(booked(exchange.journal()))
    gaps = Book()
    bot.on("streamGap", gaps)
    bot.reconnect("me")
    gaps.wait_for(lambda: bool(gaps.heard))
    return stream


def test_a_command_its_stream_and_its_gap_are_one_trace_each(exchange: Simulator, spans: InMemorySpanExporter) -> None:
    at = account(exchange, EXCHANGE)
    with Connector(gateway=exchange.gateway) as bot:
        stream = trade(exchange, at, bot)
    (command,) = named(spans, "command open")
    first, again = named(spans, "stream open")
    assert first.parent is not None
    assert command.context is not None
    assert first.parent.span_id == command.context.span_id
    (restart,) = named(spans, "command restart")
    assert trace_of(again) == trace_of(restart)
    (gap,) = named(spans, "gap repair")
    assert trace_of(gap) == trace_of(again)
    assert dict(gap.attributes or {})["missing"] == ()
    for span in (command, first, again, gap):
        assert dict(span.attributes or {})["stream"] == stream
        assert span.status.status_code is not StatusCode.ERROR


def test_an_event_is_a_span_from_its_frame_to_its_confirmation(
    exchange: Simulator, spans: InMemorySpanExporter
) -> None:
    at = account(exchange, EXCHANGE)
    with Connector(gateway=exchange.gateway) as bot:
        confirmed = bot._sink.on_confirmed
        assert confirmed is not None
        headers: list[Any] = []

        def see(messages: Any) -> None:
            headers.extend(publishing(Outgoing(one, one.event_id, 0.0), 1)[2].headers for one in messages)
            confirmed(messages)

        bot._sink.on_confirmed = see
        stream = trade(exchange, at, bot)
    events = [span for span in named(spans, "account event") if dict(span.attributes or {})["event.type"] != "x"]
    told = {dict(span.attributes or {})["event.id"]: span for span in events}
    assert len(told) == len(events) == len(headers)
    for span, header in zip(events, headers, strict=True):
        assert span.context is not None
        assert header["traceparent"].startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
        assert header["stream"] == dict(span.attributes or {})["stream"] == stream
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time


def test_an_attempt_that_fails_says_why(exchange: Simulator, spans: InMemorySpanExporter) -> None:
    with Connector(gateway=exchange.gateway) as bot:
        bot.open_stream(user_id="me", api=api_of(EXCHANGE))
        until(lambda: bool(named(spans, "stream open")), "the attempt ends", WAIT_S)
    failed = named(spans, "stream open")[0]
    assert failed.status.status_code is StatusCode.ERROR
    assert "API key is invalid" in str(failed.status.description)


def test_a_hand_over_is_one_trace_on_both_sides(town: Town, spans: InMemorySpanExporter) -> None:
    town.engine("a")
    town.open("s")
    town.wait_live("a", "s")
    town.engine("b")
    town.leave("a")
    town.wait_live("b", "s")
    until(lambda: len(named(spans, "hand-over")) == 2, "both sides ended", WAIT_S)
    assert len({trace_of(span) for span in named(spans, "hand-over")}) == 1
    cues = {event.name for span in named(spans, "hand-over") for event in span.events}
    assert {"give", "taker ready", "confirmed", "take", "live", "released"} <= cues


def account_message() -> AccountMessage:
    return AccountMessage(
        stream_id="s", exchange="okx", event_type="executionReport", event_id="e", event_time_ms=1, body=b"{}",
        received_mono=0.0,
    )  # fmt: skip


def test_without_traces_a_message_is_as_it_was() -> None:
    assert not TRACES.on
    off = publishing(Outgoing(account_message(), "e", 0.0), 1)
    assert off[2].headers == {"schema": 1, "stream": "s", "exchange": "okx"}


def test_with_traces_only_the_header_is_added(spans: InMemorySpanExporter) -> None:
    message = account_message()
    TRACES.event(message, repaired=False)
    key, body, properties = publishing(Outgoing(message, "e", 0.0), 1)
    traced = properties.headers.pop("traceparent")
    assert (key, body) == ("user.okx.executionReport.s", b"{}")
    assert properties.headers == {"schema": 1, "stream": "s", "exchange": "okx"}
    assert len(traced) == 55
    TRACES.confirmed([message])
    assert len(named(spans, "account event")) == 1


def test_the_senders_trace_goes_on_in_its_command(spans: InMemorySpanExporter) -> None:
    TRACES.came_with("n", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    with TRACES.command("open", "s", "n"):
        carried = TRACES.carried("s")
    assert carried["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    (command,) = named(spans, "command open")
    assert f"{trace_of(command):032x}" == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": "nonsense"}, {"traceparent": b"\xff"}, {"x": 1}])
def test_an_odd_header_costs_nothing(headers: Any, spans: InMemorySpanExporter) -> None:
    TRACES.came_with("n", headers)
    with TRACES.command("open", "s", "n"):
        pass
    TRACES.continues("s", {"traceparent": 7})
    assert len(named(spans, "command open")) == 1


class Collector(ThreadingHTTPServer):
    """An OTLP receiver on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Export)
        self.spans: list[tuple[str, str]] = []
        self.told = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def end(self) -> None:
        self.shutdown()
        self._thread.join(WAIT_S)
        self.server_close()


class _Export(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        assert isinstance(server, Collector)
        for resource in request.resource_spans:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
            server.spans += [(service, span.name) for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()
        server.told.set()

    def log_message(self, *_: object) -> None: ...


PROGRAM = """
import os
from connector import Connector
from connector.core.otel import init_traces
from simulator.simulator import Simulator

provider = init_traces(os.environ)
with Simulator() as exchange, Connector(gateway=exchange.gateway) as bot:
    exchange.account("bybit", "k", "s")
    bot.wait_live(bot.open_stream(user_id="me", api={"provider": "bybit", "key": "k", "secret": "s"}), 60)
print(provider is not None)
"""


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_spans_reach_an_otlp_receiver_by_the_standard_variables(variable: str) -> None:
    collector = Collector()
    path = "/v1/traces" if "TRACES" in variable else ""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False,
            env={variable: collector.url + path, "OTEL_SERVICE_NAME": "mine", "PATH": ""},
        )  # fmt: skip
        assert done.stdout == "True\n", done.stderr
        assert collector.told.wait(WAIT_S)
    finally:
        collector.end()
    assert {("mine", "command open"), ("mine", "stream open")} <= set(collector.spans)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_traces_are_off_unless_asked_for(environ: dict[str, str]) -> None:
    assert init_traces(environ) is None
    assert not TRACES.on


def test_an_exporter_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidSetting, match="OTEL_TRACES_EXPORTER: takes otlp, console or none"):
        init_traces({"OTEL_TRACES_EXPORTER": "jaeger"})


def test_a_program_without_traces_does_not_load_the_sdk() -> None:
    code = PROGRAM + "import sys; print([name for name in sys.modules if name.startswith('opentelemetry.sdk.trace')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False, env={}
    )
    assert done.stdout == "False\n[]\n", done.stderr


def test_a_program_that_set_a_provider_has_traces() -> None:
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
""" + PROGRAM.replace("print(provider is not None)", "from connector.core.traces import TRACES; print(TRACES.on)")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False, env={}
    )
    assert done.stdout == "True\n", done.stderr
