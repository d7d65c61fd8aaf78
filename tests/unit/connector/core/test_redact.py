"""No secret leaves the process as text, whatever it is wrapped in (bugs C9, C10)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from connector.core import redact
from connector.core.redact import MASK, Registry
from exchanges.credentials import credentials

KEY = "AKcanary0123456789key"
SECRET = "SKcanary/with+slash==9876"
PHRASE = "canary phrase 77"
PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIcanaryline1canaryline1abcd
canaryline2canaryline2
-----END PRIVATE KEY-----"""


@pytest.fixture(autouse=True)
def known_secrets(monkeypatch):
    # What other tests of this process called a secret (the word "secret" itself, say) is none here.
    monkeypatch.setattr(redact, "REGISTRY", Registry())
    credentials(KEY, SECRET, PHRASE)
    credentials("other-canary-key", PEM)


def leaks(text: str) -> list[str]:
    return [
        part for part in (KEY, SECRET, PHRASE, quote(SECRET, safe=""), "canaryline1", "canaryline2") if part in text
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"login failed for {KEY}",
        f"prefix{SECRET}suffix",
        f"https://venue/api?x=1&y={quote(SECRET, safe='')}",
        f"phrase={PHRASE}!",
        json.dumps({"a": json.dumps({"b": [SECRET, {"c": PEM}]})}),
        f"key in a text: {PEM}",
        f"flattened {PEM.replace(chr(10), ' ')}",
        f"escaped {json.dumps(PEM)}",
        repr(PEM),
    ],
)
def test_registered_values_are_masked_wherever_they_occur(text):
    assert leaks(redact.text(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "https://venue/api?timestamp=1&signature=HIDE&apiKey=HIDE",
        "wss://venue/endpoint?token=HIDE&connectId=7",
        "wss://venue/ws/" + "HIDE" * 16,
        "wss://venue/ws/" + "HIDE" * 16 + "/more",
        "amqp://user:HIDE@rabbit:5672/",
        'frame {"op":"subscribe","apiKey":"HIDE","channel":"x"}',
        '{"a":"{\\"secret\\":\\"HIDE\\"}"}',
        '"{\\"a\\":\\"{\\\\\\"listenKey\\\\\\":\\\\\\"HIDE\\\\\\"}\\"}"',
        "{'api_key': 'HIDE', 'n': 1}",
        "{'headers': {'OK-ACCESS-SIGN': 'HIDE', 'X-MBX-APIKEY': 'HIDE'}}",
        "Authorization: Bearer HIDEHIDEHIDE",
        "X-BAPI-SIGN: HIDE",
        "Authent: HIDE",
        "Command(key=HIDE, secret='HIDE', passphrase=\"HIDE\")",
        'cut off {"op":"x","secret":"HIDE',
        '{"op":"auth","args":["HIDE",1790000000000,"HIDE"]}',
        'sent {"op":"login","args":[{"apiKey":"HIDE","x":"HIDE"}]} twice',
        "{'op': 'auth', 'args': ['HIDE', 1, 'HIDE']}",
        '{"args":["HIDE"],"op":"auth","req_id":"1"',
        '{"id":1,"method":"session.logon","params":{"any":"HIDE"}}',
        '42["subscribeOrder",{"key":"HIDE","secret":"HIDE"}]',
        "jwt eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJISURFIn0.HIDEHIDE",
        "-----BEGIN EC PRIVATE KEY-----\nHIDE\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nHIDE cut off",
        '{"event":"subscribe","feed":"fills","api_key":"HIDE","original_challenge":"HIDE","signed_challenge":"HIDE"}',
        '{"method":"subscribe","params":{"channel":"executions","token":"HIDE"}}',
    ],
)
def test_unknown_values_are_masked_by_name_and_shape(text):
    cleaned = redact.text(text)
    assert "HIDE" not in cleaned
    assert MASK in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "session live stream=0b7e1c1e-5a0f-4c0a-9a5e-2f6d3c1b9a01 venue=okx",
        '{"op":"subscribe","args":[{"channel":"orders","instType":"SPOT"}]}',
        "EAPI:Invalid key",
        "wss://stream.binance.com:9443/ws/btcusdt@trade?x=1",
        "50111 Invalid OK-ACCESS-KEY.",
        "routing_key=user.okx.executionReport",
        "price 0.00001 [1, 2] {}",
    ],
)
def test_ordinary_texts_come_through_unchanged(text):
    assert redact.text(text) == text


def test_nested_data_is_scrubbed_by_name_value_and_login_frame():
    cleaned = redact.scrub(
        {
            "apiKey": "HIDE",
            "list": [{"Secret": "HIDE"}, f"x{KEY}x"],
            "frame": {"op": "auth", "args": ["HIDE"], "req": 1},
            "text": json.dumps({"passphrase": "HIDE"}),
            "bytes": SECRET.encode(),
            "error": ValueError(f"bad {SECRET}"),
            "number": 5,
            "none": None,
            3: True,
        }
    )
    text = json.dumps(cleaned)
    assert "HIDE" not in text
    assert leaks(text) == []
    assert isinstance(cleaned, dict)
    assert cleaned["number"] == 5
    assert cleaned["none"] is None
    assert cleaned["3"] is True
    assert cleaned["frame"] == {"op": "auth", "args": MASK, "req": 1}


def test_nothing_raises_for_hostile_input():
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    loop: dict[str, object] = {}
    loop["self"] = loop
    assert redact.scrub({"x": Broken(), "loop": loop})
    assert redact.text("[" * 5000)
    assert redact.text('{"a":' * 5000)
    assert len(redact.text("x" * 1_000_000)) < redact.MAX_TEXT + 100


def test_a_secret_across_the_cut_is_masked():
    text = "x" * (redact.MAX_TEXT - 5) + SECRET + "y" * 1000
    assert SECRET[:5] not in redact.text(text)


def test_the_registry_is_bounded_and_keeps_the_newest():
    registry = Registry(limit=4)
    for index in range(10):
        registry.add(f"value-number-{index}")
    assert len(registry) == 4
    assert registry.mask("value-number-9") == MASK
    assert registry.mask("value-number-2") == "value-number-2"


def test_the_longest_value_wins():
    registry = Registry()
    registry.add("abcdefgh")
    registry.add("abcdefghijkl")
    assert registry.mask("-abcdefghijkl-abcdefghx") == f"-{MASK}-{MASK}x"


def test_short_values_are_not_registered():
    redact.register("abc", "", None)
    assert redact.text("abc") == "abc"


@pytest.mark.parametrize(
    "word", ["secret", "apiKey", "API_SECRET", "listen-key", " password ", "params", "session.logon"]
)
def test_an_account_whose_secret_is_a_word_that_the_nets_look_for_hides_no_names(word):
    credentials(word, word, word)
    assert "HIDE" not in redact.text(
        "x_secret=HIDE {'my_secret': 'HIDE', 'apiKey': 'HIDE'} listen-key=HIDE API_SECRET=HIDE password=HIDE"
    )
    assert "HIDE" not in redact.text('sent {"method":"session.logon","params":["HIDE"]} twice')
    assert redact.scrub({"secret": ["HIDE"], "listenKey": "HIDE"}) == {"secret": MASK, "listenKey": MASK}


def test_names_of_secrets():
    for name in ("apiKey", "API_SECRET", "OK-ACCESS-PASSPHRASE", "listenKey", "sign", "X-Auth-Token", "jwt"):
        assert redact.secret_name(name), name
    for name in ("symbol", "routing_key", "streams", "keys_type", "digest"):
        assert not redact.secret_name(name), name


HOSTILE = [
    "\\",
    "'",
    "\\'",
    '"key":"x',
    '"key":"x\\',
    '\\"key\\":\\"x',
    '"key"' + " " * 7,
    "eyJ",
    "eyJabcdef.",
    "message a(",
    "message key=(",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "://a:b",
    "://:",
    "/ws/aaaaaaaa",
    "a",
    "key",
    "key=",
    "key= ",
    "key: ",
    "Bearer ",
    "method login args=[",
    "op:auth,args:",
    "{",
    "[",
    '{"a":',
    "[1,",
    '{"a":"{',
    " ",
    "\n",
]


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
@pytest.mark.parametrize("end", ["", "\\"], ids=repr)
def test_a_hostile_text_of_eight_times_the_length_does_not_cost_sixty_times_as_much(piece, end):
    """32,000 backslashes held up the thread that logs for 10 s: the time was quadratic."""
    short, long = (piece * (length // len(piece)) + end for length in (4_000, 32_000))
    redact.text(short)
    allowed_s = 24 * min(cpu_s(lambda: redact.text(short)) for _ in range(3)) + 0.01
    # Once is enough if it was quick: the least of three, which another program can't have slowed down all.
    assert any(cpu_s(lambda: redact.text(long)) < allowed_s for _ in range(3))


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize("escapes", [0, 1, 3, 7, 127, 255, 500])
def test_a_member_is_masked_at_any_depth_of_escaping(escapes):
    quote_ = "\\" * escapes + '"'
    text = f"msg {quote_}apiKey{quote_}: {quote_}Zq81-unregistered{quote_}, {quote_}price{quote_}: 1"
    assert redact.text(text) == text.replace("Zq81-unregistered", MASK)


def test_a_member_whose_value_is_cut_off_behind_a_backslash_is_masked():
    assert "Zq81" not in redact.text('{"apiKey": "Zq81-unregistered\\')


def test_a_task_s_arguments_are_hidden_whatever_brackets_they_hold():
    assert redact.text("failed message open('k', (1, 2), 's') at x") == "failed message open(…) at x"
    assert redact.text("message open( without an end") == "message open( without an end"
