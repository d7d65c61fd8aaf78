"""`connector normalise`: raw frames in, the events they become out, through the adapters that the live service uses.

Input is one JSON object a line: `case` (a name), `exchange`, `feed`, `frame` (the message as it came from the socket) and
optionally `context`, what the adapter knows beside the frame. With `positions` true, `positionUpdate` events are shown, too:
they do not go where the others go (`POSITION_EVENTS`). Output is one JSON object a line, in the order of the input.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from connector.core.channels import candle_channel, ticker_channel
from exchanges import venue_of
from exchanges._adapter import Emit, EmitCandle, EmitTickers, Instant, Output
from exchanges._plausible import AHEAD_MS, plausible_candle
from exchanges._venue import Venue
from exchanges.events import AccountEvent, Candle, PositionUpdate, Ticker, encode
from exchanges.ids import is_paper, real_id

NAME: Final = "normalise"
HELP: Final = "turn raw frames (golden-format JSON lines on standard input) into the events they become"

Json = dict[str, object]


class _Line(msgspec.Struct):
    """One input line. Frames stay raw: not a digit of them changes on the way into the adapter."""

    exchange: str
    feed: str
    frame: msgspec.Raw
    case: object = None
    positions: bool = False
    context: dict[str, msgspec.Raw] | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_case = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_frames = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_event = msgspec.json.Decoder(dict[str, object]).decode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="*", help="files to read instead of standard input")


def run(args: argparse.Namespace) -> int:
    out = sys.stdout.buffer
    try:
        for path in args.file or ["-"]:
            if path == "-":
                _run(sys.stdin.buffer)
            else:
                with open(path, "rb") as lines:
                    _run(lines)
    except BrokenPipeError:  # `connector normalise … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    except OSError as error:
        print(f"connector: {error}", file=sys.stderr)
        return 1
    return 0


def _run(lines: Iterable[bytes]) -> None:
    out = sys.stdout.buffer
    for line in lines:
        if line.strip():
            out.write(msgspec.json.encode(normalise(line, _now())) + b"\n")
            out.flush()


def normalise(line: bytes, now: Instant, venue: Venue | None = None) -> Json:
    """The result for one input line: `{"case": …, "events": […]}`, or `{"case": …, "error": …}`. Never raises.

    `venue` overrides the registry.
    """
    try:
        case = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {"case": _case_name(line), "error": f"not a case: {error}"}
    try:
        return {"case": case.case, "events": _events_of(case, now, venue)}
    except _Unusable as unusable:
        return {"case": case.case, "error": str(unusable)}
    except Exception as error:  # noqa: BLE001 - the frame or its context defeats the adapter: the next line may not
        return {"case": case.case, "error": f"{case.exchange} {case.feed}: {type(error).__name__}: {error}"}


class _Unusable(Exception):
    """No adapter for this line, or none with this context."""


def _events_of(case: _Line, now: Instant, venue: Venue | None) -> list[Json]:
    feed, exchange = case.feed, case.exchange
    if feed != "user" and is_paper(exchange):
        exchange = real_id(exchange)  # paper accounts trade on the live prices
    found = venue or venue_of(exchange)
    if found is None:
        raise _Unusable(f"unknown exchange {exchange!r}")
    if feed not in found.feeds:
        raise _Unusable(f"{exchange} has no feed {feed!r}")
    context = case.context or {}
    prior = _decode_frames(context["prior_frames"]) if "prior_frames" in context else []
    values: Json = {key: _decode_any(raw) for key, raw in context.items() if key != "prior_frames"}
    try:
        adapter, _ = found.replay(exchange, feed, values)
    except Exception as error:  # what a context may hold differs by venue
        raise _Unusable(f"{exchange} {feed}: the context can't be used: {type(error).__name__}: {error}") from error
    for frame in prior:
        adapter.received(_frame_bytes(frame), now)
    outputs = adapter.received(_frame_bytes(case.frame), now)
    if not case.positions:
        outputs = [one for one in outputs if not (isinstance(one, Emit) and isinstance(one.event, PositionUpdate))]
    return list(_published(outputs, now.wall_ms))


def _frame_bytes(frame: msgspec.Raw) -> bytes:
    """A frame that stands as a JSON string is text that is not JSON on the wire (`pong`)."""
    raw = bytes(frame).strip()
    return str(_decode_any(raw)).encode() if raw.startswith(b'"') else raw


def _published(outputs: Sequence[Output], now_ms: int) -> Iterator[Json]:
    """What leaves the service: no price of the future, no candle whose time can't be true (`exchanges._plausible`)."""
    for output in outputs:
        if isinstance(output, Emit):
            yield _fields(output.event)
        elif isinstance(output, EmitTickers):
            for ticker in output.tickers:
                if ticker.time <= now_ms + AHEAD_MS:
                    yield _fields(ticker, ticker_channel(ticker.symbol, output.exchange))
        elif isinstance(output, EmitCandle) and plausible_candle(output.candle.start, output.length_ms, now_ms):
            yield _fields(output.candle, candle_channel(output.symbol, output.exchange, output.interval))


def _fields(event: AccountEvent | Ticker | Candle, channel: str | None = None) -> Json:
    fields = _decode_event(encode(event))
    return fields if channel is None else {"channel": channel, **fields}


def _case_name(line: bytes) -> object:
    """The name of a case whose other fields are wrong, if it can be read."""
    try:
        return _decode_any(_decode_case(line)["case"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None


def _now() -> Instant:
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)
