"""The platform's JSON envelope (contract 1.2)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import envelope
from tasks.commands import CandleRequest, CloseStream, OpenStream, RestartStream, parse_candle, parse_command
from tasks.envelope import ReplyAddress, read

CLOSE = b'{"payload":{"event":"close stream","uuid":"u"}}'


def body(**keys: object) -> bytes:
    return json.dumps({"payload": {"event": "close stream", "uuid": "u"}, **keys}).encode()


def test_only_the_payload_is_used() -> None:
    received = read(body(other=1, more=[2]), parse_command)
    assert received.command == CloseStream("u")
    assert received.reply is None
    assert received.problem == ""


@pytest.mark.parametrize(
    ("keys", "properties", "expected"),
    [
        ({}, ("q", "c"), ReplyAddress("q", "c")),
        ({}, ("q", None), ReplyAddress("q")),
        ({"replyTo": "b", "correlationId": "d"}, (None, None), ReplyAddress("b", "d")),
        ({"replyTo": "b", "correlationId": "d"}, ("q", "c"), ReplyAddress("q", "c")),
        ({"replyTo": "b", "correlationId": "d"}, ("q", None), ReplyAddress("q", "d")),
        ({"correlationId": "d"}, (None, "c"), None),
        ({"replyTo": None, "correlationId": None}, (None, None), None),
        ({"replyTo": 5, "correlationId": 6}, (None, None), None),
        ({"replyTo": "", "correlationId": "d"}, ("", ""), None),
        ({"replyTo": "x" * 256}, (None, None), None),
        ({"replyTo": "b", "correlationId": "x" * 256}, (None, None), ReplyAddress("b")),
        ({"replyTo": "\ud800"}, (None, None), None),
    ],
)
def test_reply_addresses(
    keys: dict[str, object], properties: tuple[str | None, str | None], expected: ReplyAddress | None
) -> None:
    received = read(body(**keys), parse_command, reply_to=properties[0], correlation_id=properties[1])
    assert received.reply == expected
    assert received.command == CloseStream("u")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "body: not JSON"),
        (b"{", "body: not JSON"),
        (b"null", "body: not a JSON object"),
        (b"[1]", "body: not a JSON object"),
        (b'"x"', "body: not a JSON object"),
        (b"\xff\xfe\x00", "body: not UTF-8"),
        ('{"payload":1}'.encode("utf-16"), "body: not UTF-8"),
        (b"\xef\xbb\xbf" + CLOSE, "body: not JSON"),
        (b"[" * 100_000, "body: not JSON"),
        (b'{"payload":' + b"9" * 5000 + b"}", "body: not JSON"),
        (b'{"payload":{"event":"close stream","uuid":"' + b"u" * 300_000 + b'"}}', "body: longer than 262144 bytes"),
        (b"{}", "payload: must be an object"),
        (b'{"payload":null}', "payload: must be an object"),
        (b'{"payload":{"event":"open stream"}}', "data: is missing"),
    ],
)
def test_bad_bodies_are_told_by_their_field_and_still_answered(raw: bytes, problem: str) -> None:
    received = read(raw, parse_command, reply_to="q", correlation_id="c")
    assert received.command is None
    assert received.problem == problem
    assert received.reply == ReplyAddress("q", "c")


def test_the_limit_is_on_the_body() -> None:
    assert read(CLOSE, parse_command, limit=len(CLOSE)).command == CloseStream("u")
    assert read(CLOSE, parse_command, limit=len(CLOSE) - 1).command is None


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_no_body_raises(raw: bytes) -> None:
    for parse in (parse_command, parse_candle):
        received = read(raw, parse)
        assert (received.command is None) == bool(received.problem)


@given(st.integers(0, len(CLOSE)), st.binary(min_size=1, max_size=3))
def test_no_damaged_body_raises(place: int, damage: bytes) -> None:
    for raw in (CLOSE[:place], CLOSE[:place] + damage + CLOSE[place:], CLOSE[:place] + damage + CLOSE[place + 1 :]):
        read(raw, parse_command)
        read(raw, parse_candle)


def test_what_the_command_line_writes_is_what_we_read() -> None:
    opened = read(
        envelope.open_body(uuid="u", user_id="n", provider="okx", key="k", secret="s", passphrase="p", okx_source="my"),
        parse_command,
    ).command
    assert isinstance(opened, OpenStream)
    assert (opened.stream_id, opened.user_id, opened.exchange) == ("u", "n", "okx")
    assert opened.credentials.okx_source == "my"
    without = read(
        envelope.open_body(uuid=None, user_id="n", provider="okx", key="k", secret="s"), parse_command
    ).command
    assert isinstance(without, OpenStream)
    assert len(without.stream_id) == 40
    assert read(envelope.close_body("u"), parse_command).command == CloseStream("u")
    assert read(envelope.restart_body("u"), parse_command).command == RestartStream("u")
    assert read(envelope.restart_body(None), parse_command).command == RestartStream(None)
    candle = envelope.candle_body(symbol="BTC-USDT", exchange="okx", interval="candle1m")
    assert read(candle, parse_candle).command == CandleRequest("okx", "BTC-USDT", "candle1m")


def test_the_open_has_the_backends_eight_fields() -> None:
    written = json.loads(envelope.open_body(uuid="u", user_id="n", provider="okx", key="k", secret="s"))
    assert written == {
        "payload": {
            "event": "open stream",
            "uuid": "u",
            "data": {
                "userId": "n",
                "api": {
                    "provider": "okx",
                    "key": "k",
                    "secret": "s",
                    "passphrase": None,
                    "bybitHost": None,
                    "keysType": None,
                    "okxSource": None,
                    "subaccount": False,
                },
            },
        }
    }


def test_replies() -> None:
    assert envelope.response_body(None) == b'{"response":null}'
    assert envelope.response_body({"accepted": True}) == b'{"response":{"accepted":true}}'
    with pytest.raises(TypeError):
        envelope.response_body(object())
    with pytest.raises(ValueError):
        envelope.response_body(float("nan"))
