"""Every rule of contract 1.3-1.6 about what a command may look like."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.errors import InvalidCommand
from exchanges.bybit._hosts import REGIONS
from exchanges.ids import DEAD, KNOWN, PAPER_TO_REAL
from tasks.commands import (
    CandleRequest,
    CloseStream,
    OpenStream,
    Parse,
    RestartStream,
    lane_of,
    parse_candle,
    parse_close,
    parse_command,
    parse_open,
    parse_restart,
)

CANARY = "CANARY-9f2c71aa-secret"
UUID = "0b7e1c1e-5a0f-4c0a-9a5e-2f6d3c1b9a01"


def open_payload(**api: Any) -> dict[str, Any]:
    return {
        "event": "open stream",
        "uuid": UUID,
        "data": {
            "userId": "64f0c2a9b1d3e4f5a6b7c8d9",
            "api": {
                "provider": "bybitLinear",
                "key": "AKexample0001",
                "secret": "SKexample0001",
                "passphrase": None,
                "bybitHost": "eu",
                "keysType": None,
                "okxSource": None,
                "subaccount": False,
                **api,
            },
        },
    }


def refusal(parse: Parse, payload: object) -> InvalidCommand | None:
    try:
        parse(payload)
    except InvalidCommand as error:
        return error
    return None


def opened(payload: object) -> OpenStream:
    command = parse_command(payload)
    assert isinstance(command, OpenStream)
    return command


def test_the_open_of_the_contract_is_read_completely() -> None:
    command = opened(open_payload())
    assert (command.stream_id, command.exchange, command.user_id) == (UUID, "bybitLinear", "64f0c2a9b1d3e4f5a6b7c8d9")
    assert command.credentials.key.reveal() == "AKexample0001"
    assert command.credentials.secret.reveal() == "SKexample0001"
    assert command.credentials.passphrase is None
    assert command.credentials.bybit_host == "eu"
    assert command.credentials.keys_type is None
    assert command.credentials.okx_source is None


def test_key_secret_and_passphrase_are_trimmed_on_both_ends_only() -> None:
    command = opened(open_payload(key=" a b\n", secret="\t-----BEGIN\n x \n", passphrase=" pass phrase "))
    assert command.credentials.key.reveal() == "a b"
    assert command.credentials.secret.reveal() == "-----BEGIN\n x"
    assert command.credentials.passphrase is not None
    assert command.credentials.passphrase.reveal() == "pass phrase"


@pytest.mark.parametrize("field", ["key", "secret"])
@pytest.mark.parametrize("absent", ["null", "missing"])
def test_absent_key_or_secret_is_empty(field: str, absent: str) -> None:
    payload = open_payload(**{field: None})
    if absent == "missing":
        del payload["data"]["api"][field]
    assert getattr(opened(payload).credentials, field).reveal() == ""


@pytest.mark.parametrize("field", ["passphrase", "keysType", "okxSource", "bybitHost", "environment", "subaccount"])
def test_null_and_absent_options_are_the_same(field: str) -> None:
    null, missing = open_payload(**{field: None}), open_payload()
    missing["data"]["api"].pop(field, None)
    assert opened(null) == opened(missing)


@pytest.mark.parametrize(
    ("field", "attribute", "values"),
    [
        ("keysType", "keys_type", ["legacy", "cloud"]),
        ("okxSource", "okx_source", ["my", "app", "com"]),
        ("bybitHost", "bybit_host", sorted(REGIONS)),
        ("environment", "environment", ["live", "sandbox"]),
    ],
)
def test_options_are_taken_from_their_table_and_anything_else_is_the_default(
    field: str, attribute: str, values: list[str]
) -> None:
    for value in values:
        assert getattr(opened(open_payload(**{field: value})).credentials, attribute) == value
    for other in ["other", "", "COM", 7, True, [], {}, "x" * 500]:
        assert getattr(opened(open_payload(**{field: other})).credentials, attribute) is None


@pytest.mark.parametrize("provider", ["kucoin", "kucoinLinear", "kraken", "krakenUsdm", "coinbase", "binanceUS"])
def test_a_sandbox_that_the_venue_does_not_have_is_refused_and_never_sent_to_the_live_site(provider: str) -> None:
    with pytest.raises(InvalidCommand, match=r"^data\.api\.environment: .*sandbox"):
        opened(open_payload(provider=provider, environment="sandbox"))
    assert opened(open_payload(provider=provider, environment="live")).credentials.environment == "live"


@pytest.mark.parametrize(
    "provider", ["binance", "binanceCoinm", "bybit", "okx", "bitget", "hyperliquid", "paperKucoin"]
)
def test_a_sandbox_that_the_venue_has_is_used(provider: str) -> None:
    assert opened(open_payload(provider=provider, environment="sandbox")).credentials.environment == "sandbox"


@pytest.mark.parametrize("provider", sorted(KNOWN - DEAD))
def test_every_known_exchange_id_can_be_opened(provider: str) -> None:
    assert opened(open_payload(provider=provider)).exchange == provider


@pytest.mark.parametrize(
    "provider", [*sorted(DEAD), "whitebitCoinm", "krakenCoinm", "", "BINANCE", "binance ", None, 5, []]
)
def test_other_providers_are_refused_naming_the_field(provider: object) -> None:
    with pytest.raises(InvalidCommand, match=r"^data\.api\.provider: "):
        parse_command(open_payload(provider=provider))


@pytest.mark.parametrize("user_id", [None, "", 7, ["a"], {"a": 1}, True, "\ud800", "x" * 129])
def test_a_user_id_that_is_no_text_is_refused(user_id: object) -> None:
    payload = open_payload()
    payload["data"]["userId"] = user_id
    with pytest.raises(InvalidCommand, match=r"^data\.userId: "):
        parse_command(payload)


@pytest.mark.parametrize("uuid", [5, True, [], {}, "\ud800", "é" * 65])
def test_a_uuid_that_can_not_be_echoed_is_refused(uuid: object) -> None:
    for event in ("open stream", "close stream", "force restart stream"):
        with pytest.raises(InvalidCommand, match=r"^uuid: "):
            parse_command({**open_payload(), "event": event, "uuid": uuid})


@pytest.mark.parametrize("uuid", ["ÄÖ Ü", " 0b7e ", "a.b*#", "UPPER", "\u0000x"])
def test_a_uuid_is_opaque(uuid: str) -> None:
    assert opened({**open_payload(), "uuid": uuid}).stream_id == uuid
    assert parse_close({"uuid": uuid}).stream_id == uuid


def sha1(*parts: str) -> str:
    return hashlib.sha1("".join(parts).encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("uuid", [None, ""])
def test_the_id_without_uuid_is_the_sha1_of_the_contract(uuid: str | None) -> None:
    payload = {**open_payload(key=" K ", secret=" S\n", provider="okx"), "uuid": uuid}
    assert opened(payload).stream_id == sha1("64f0c2a9b1d3e4f5a6b7c8d9", "K", "S", "okx", *["undefined"] * 3)
    payload = {**open_payload(key=None, secret="", provider="okx", passphrase=" P ", okxSource="my"), "uuid": uuid}
    assert opened(payload).stream_id == sha1("64f0c2a9b1d3e4f5a6b7c8d9", "", "", "okx", "P", "undefined", "my")
    payload = {**open_payload(provider="coinbase", keysType="odd"), "uuid": uuid}
    expected = sha1(
        "64f0c2a9b1d3e4f5a6b7c8d9", "AKexample0001", "SKexample0001", "coinbase", "undefined", "odd", "undefined"
    )
    assert opened(payload).stream_id == expected


def test_the_two_senders_of_one_account_have_the_same_digest() -> None:
    bot = opened(open_payload())
    listener = open_payload()
    listener["data"]["api"] = {
        "key": "AKexample0001 ",
        "secret": "SKexample0001",
        "provider": "bybitLinear",
        "keysType": None,
        "okxSource": None,
        "bybitHost": "eu",
        "more": {"x": 1},
    }
    assert opened(listener).credentials.digest == bot.credentials.digest


def test_unknown_keys_are_ignored_on_every_level() -> None:
    payload = open_payload(extra=[1])
    payload["more"] = {"a": 1}
    payload["data"]["more"] = "x"
    assert opened(payload) == opened(open_payload())


def test_commands_are_immutable_and_opaque() -> None:
    command = opened(open_payload(key=CANARY, secret=CANARY, passphrase=CANARY))
    with pytest.raises(FrozenInstanceError):
        command.stream_id = "other"  # type: ignore[misc]
    for text in (repr(command), str(command), f"{command}", repr(command.credentials), repr((command,))):
        assert CANARY not in text


def test_a_payload_is_not_changed_by_reading_it() -> None:
    """Bug B6: the fingerprint was taken after the secret had been reformatted in place."""
    payload = open_payload(secret=" S ")
    before = copy.deepcopy(payload)
    parse_command(payload)
    assert payload == before


@pytest.mark.parametrize(
    "place",
    ["event", "uuid", "userId", "provider", "key", "secret", "passphrase", "data", "api", "symbol", "interval"],
)
@pytest.mark.parametrize("shape", [CANARY, [CANARY], {"x": CANARY}, CANARY * 1000, "\ud800" + CANARY])
def test_no_error_text_repeats_a_value(place: str, shape: object) -> None:
    payload = open_payload()
    if place in {"event", "uuid", "data"}:
        payload[place] = shape
    elif place in {"userId", "api"}:
        payload["data"][place] = shape
    else:
        payload["data"]["api"][place] = shape
    candle = {"symbol": "BTCUSDT", "exchange": "binance", "interval": "1m", place: shape}
    for parse, body in ((parse_command, payload), (parse_candle, candle)):
        error = refusal(parse, body)
        if error is not None:
            assert CANARY not in str(error)
            assert error.__context__ is None
            assert error.__cause__ is None


@pytest.mark.parametrize("event", [None, "", "open", "Open stream", 5, [], {}, "heartbeat"])
def test_unknown_events_are_refused(event: object) -> None:
    with pytest.raises(InvalidCommand, match=r"^event: "):
        parse_command({**open_payload(), "event": event})


@pytest.mark.parametrize("payload", [None, 5, "x", [], [1], True])
def test_a_payload_that_is_no_object_is_refused(payload: object) -> None:
    for parse in (parse_command, parse_open, parse_close, parse_restart, parse_candle):
        with pytest.raises(InvalidCommand, match=r"^payload: "):
            parse(payload)


@pytest.mark.parametrize("payload", [{}, {"uuid": None}, {"uuid": ""}])
def test_a_close_needs_a_uuid(payload: object) -> None:
    with pytest.raises(InvalidCommand, match=r"^uuid: "):
        parse_close(payload)


def test_close_and_restart_are_read() -> None:
    assert parse_command({"event": "close stream", "uuid": UUID}) == CloseStream(UUID)
    assert parse_command({"event": "force restart stream", "uuid": UUID}) == RestartStream(UUID)


def test_a_restart_with_an_empty_uuid_does_not_mean_all() -> None:
    with pytest.raises(InvalidCommand, match=r"^uuid: is empty"):
        parse_restart({"uuid": ""})


@pytest.mark.parametrize("payload", [{}, {"uuid": None}])
def test_a_restart_without_uuid_means_all_streams(payload: dict[str, object]) -> None:
    assert parse_command({"event": "force restart stream", **payload}) == RestartStream(None)


# --- candles ---


def test_a_candle_request_keeps_its_interval_byte_for_byte() -> None:
    for interval in ("candle1Dutc", "1m", "D", "candle1H", "8hour"):
        request = parse_candle({"symbol": "BTC-USDT", "exchange": "okxLinear", "interval": interval, "x": 1})
        assert request == CandleRequest("okxLinear", "BTC-USDT", interval)


@pytest.mark.parametrize(("paper", "real"), sorted(PAPER_TO_REAL.items()))
def test_candles_of_a_paper_id_are_those_of_the_real_one(paper: str, real: str) -> None:
    body = {"symbol": "BTCUSDT", "exchange": paper, "interval": "15m"}
    if real in DEAD:
        with pytest.raises(InvalidCommand, match=r"^exchange: "):
            parse_candle(body)
    else:
        assert parse_candle(body).exchange == real


@pytest.mark.parametrize(
    ("generic", "own"),
    [
        ("1m", "1min"),
        ("3m", "3min"),
        ("5m", "5min"),
        ("15m", "15min"),
        ("30m", "30min"),
        ("1h", "1hour"),
        ("2h", "2hour"),
        ("4h", "4hour"),
        ("8h", "8hour"),
        ("1d", "1day"),
        ("1w", "1week"),
    ],
)
@pytest.mark.parametrize("exchange", ["kucoin", "kucoinLinear", "kucoinInverse", "paperKucoin"])
def test_kucoin_takes_generic_codes_and_turns_them_into_its_own(exchange: str, generic: str, own: str) -> None:
    for interval in (generic, own):
        assert parse_candle({"symbol": "BTC-USDT", "exchange": exchange, "interval": interval}).interval == own


def test_generic_codes_of_other_venues_stay() -> None:
    assert parse_candle({"symbol": "BTC-USD", "exchange": "krakenUsdm", "interval": "1h"}).interval == "1h"


def test_a_number_as_interval_is_its_text() -> None:
    assert parse_candle({"symbol": "BTC-USD", "exchange": "kraken", "interval": 60}).interval == "60"


@pytest.mark.parametrize("field", ["symbol", "exchange", "interval"])
@pytest.mark.parametrize("value", [None, "", [], {}, True, 1.5, "\ud800", "x" * 65])
def test_a_candle_request_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidCommand, match=f"^{field}: "):
        parse_candle({"symbol": "BTCUSDT", "exchange": "binance", "interval": "1m", field: value})


def test_lanes_are_uuids_and_candles_need_none() -> None:
    assert lane_of(CloseStream("u")) == lane_of(RestartStream("u")) == "u"
    assert lane_of(RestartStream(None)) == ""
    assert lane_of(CandleRequest("okx", "A", "1m")) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"event": st.sampled_from(["open stream", "close stream", "force restart stream"]) | JSON},
        optional={
            "uuid": JSON,
            "symbol": JSON,
            "exchange": JSON,
            "interval": JSON,
            "data": JSON
            | st.fixed_dictionaries(
                {},
                optional={
                    "userId": JSON,
                    "api": JSON
                    | st.fixed_dictionaries(
                        {},
                        optional={
                            "provider": st.sampled_from(sorted(KNOWN)) | JSON,
                            "key": JSON,
                            "secret": JSON,
                            "passphrase": JSON,
                            "keysType": JSON,
                        },
                    ),
                },
            ),
        },
    )
    | JSON
)
def test_whatever_is_sent_is_a_command_or_refused(payload: object) -> None:
    for parse in (parse_command, parse_open, parse_close, parse_restart, parse_candle):
        error = refusal(parse, payload)
        assert error is None or ": " in str(error)
