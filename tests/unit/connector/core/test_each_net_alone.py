"""Each net of `redact` catches something that no other one does, and none eats what is harmless."""

from __future__ import annotations

import json

import pytest

from connector.core import redact
from connector.core.redact import MASK, MAX_TEXT, MIN_LENGTH, Registry

HIDE = "hide1234me"
"""Never registered: only names and shapes can find it."""
SUFFIXES = [
    "key", "secret", "passphrase", "password", "passwd", "signature", "sign", "token", "jwt", "authorization", "authent",
    "challenge", "credentials", "cookie", "dsn",
]  # fmt: skip
ARGUMENTS = ["args", "arg", "params", "data", "request", "payload"]
VERBS = ["op", "method", "event", "action", "type"]
MARKS = ["login", "auth", "logon", "authenticate", "session.logon"]


def told(text: str) -> str:
    found = redact.text(text)
    assert HIDE not in found
    return found


# --- JSON within a text: names that stand escaped are found by reading it only ---


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (rf'frame {{"api\u004bey": "{HIDE}"}} dropped', f'frame {{"apiKey": "{MASK}"}} dropped'),
        (rf'[{{"api\u004bey": "{HIDE}"}}]', f'[{{"apiKey": "{MASK}"}}]'),
        (rf'["api\u004bey={HIDE}"]', f'["apiKey={MASK}"]'),
        (rf'a {{}} b [] c {{"api\u004bey": "{HIDE}"}}', f'a {{}} b [] c {{"apiKey": "{MASK}"}}'),
        (rf'{{broken {{"api\u004bey": "{HIDE}"}}', f'{{broken {{"apiKey": "{MASK}"}}'),
        (rf'one {{"a": 1}} two {{"api\u004bey": "{HIDE}"}} three', f'one {{"a": 1}} two {{"apiKey": "{MASK}"}} three'),
        (
            rf'{{"api\u004bey": "{HIDE}"}} and {{"to\u006ben": "{HIDE}"}}',
            f'{{"apiKey": "{MASK}"}} and {{"token": "{MASK}"}}',
        ),
    ],
)
def test_json_in_a_text_is_read_as_data_and_the_rest_stays(text: str, left: str) -> None:
    assert told(text) == left


def test_json_within_json_within_a_text_is_read() -> None:
    inner = rf'{{"api\u004bey": "{HIDE}"}}'
    told(f"frame {json.dumps({'body': json.dumps({'body': inner})})}")


# --- names ---


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("prefix", ["", "x-", "my_"])
def test_every_name_of_a_secret_is_known_in_every_form(suffix: str, prefix: str) -> None:
    name = f"{prefix}{suffix}"
    assert told(f"a={name} {name}={HIDE} b=2").endswith(f"{name}={MASK} b=2")
    assert told(f"{name}: {HIDE}") == f"{name}: {MASK}"
    assert told(f"{name}='{HIDE}' b") == f"{name}='{MASK}' b"
    assert told(f"{{'{name}': '{HIDE}', 'b': 'c'}}") == f"{{'{name}': '{MASK}', 'b': 'c'}}"
    assert redact.scrub({name: HIDE, "b": "c"}) == {name: MASK, "b": "c"}
    assert redact.scrub({name.upper(): HIDE}) == {name.upper(): MASK}


@pytest.mark.parametrize("name", ["routingKey", "public_key", "candle-key", "unitKey", "keys", "signed", "tokenize"])
def test_names_that_only_look_like_it_are_left_alone(name: str) -> None:
    assert redact.text(f"{name}=hello1234 b") == f"{name}=hello1234 b"
    assert redact.text(f"{{'{name}': 'hello1234'}}") == f"{{'{name}': 'hello1234'}}"
    assert redact.text(f"{name}='hello1234' b") == f"{name}='hello1234' b"
    assert redact.scrub({name: "hello1234"}) == {name: "hello1234"}


@pytest.mark.parametrize("empty", [None, "", False])
def test_an_empty_secret_is_told_as_empty(empty: object) -> None:
    assert redact.scrub({"apiKey": empty}) == {"apiKey": empty}


def test_a_secret_that_is_a_number_or_a_list_is_masked() -> None:
    assert redact.scrub({"token": 123, "secret": [HIDE], "zero": 0}) == {"token": MASK, "secret": MASK, "zero": 0}


# --- logins: arguments without names ---


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mark", MARKS)
def test_a_login_loses_its_arguments_as_data_as_json_and_as_text(verb: str, mark: str, argument: str) -> None:
    frame = {verb: mark, argument: [HIDE, {"a": HIDE}], "id": 7}
    assert redact.scrub(frame) == {verb: mark, argument: MASK, "id": 7}
    told(json.dumps(frame))
    text = told(f"sent {frame!r} to the venue")
    assert text == f"sent {{{verb!r}: {mark!r}, {argument!r}: [{MASK}], 'id': 7}} to the venue"
    told(json.dumps(frame)[:-12])  # cut off in the middle
    assert redact.scrub({verb.lower(): mark.upper(), argument.upper(): HIDE})[argument.upper()] == MASK  # type: ignore[index]


def test_a_frame_that_is_no_login_keeps_its_arguments() -> None:
    frame = {"op": "subscribe", "args": ["orders"], "login": "no"}
    assert redact.scrub(frame) == frame
    assert redact.text(repr(frame)) == repr(frame)
    assert redact.scrub({"op": 5, "args": ["orders"]}) == {"op": 5, "args": ["orders"]}
    assert redact.text("op=subscribe args=[orders] loginname x") == "op=subscribe args=[orders] loginname x"


def test_what_stands_around_the_arguments_of_a_login_stays() -> None:
    text = f"before op='login' args=[a, [{HIDE}], b] middle params={{c: {{{HIDE}}}}} after"
    assert told(text) == f"before op='login' args=[{MASK}] middle params={{{MASK}}} after"
    assert told(f"op='login' args=({HIDE}) end") == f"op='login' args=({MASK}) end"
    assert told(f"op='login' args=[data=[{HIDE}], b] end") == f"op='login' args=[{MASK}] end"


# --- shapes ---


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"amqp://user:{HIDE}@host:5672/", f"amqp://user:{MASK}@host:5672/"),
        (f"redis://:{HIDE}@host", f"redis://:{MASK}@host"),
        ("/ws/" + "a1" * 20, f"/ws/{MASK}"),
        ("wss://venue/ws/" + "a1" * 20 + "/more", f"wss://venue/ws/{MASK}/more"),
        ("/ws/" + "a1" * 19 + "b", "/ws/" + "a1" * 19 + "b"),
        (f"Authorised by Bearer {HIDE} now", f"Authorised by Bearer {MASK} now"),
        (f"Basic {HIDE}", f"Basic {MASK}"),
        ("Bearer of news", "Bearer of news"),
        ("got eyJhbGciOi.eyJzdWIi.c2ln here", f"got {MASK} here"),
        ("eyJ alone", "eyJ alone"),
        (f"a -----BEGIN EC PRIVATE KEY-----\n{HIDE}\n-----END EC PRIVATE KEY----- b", f"a {MASK} b"),
        (f"a -----BEGIN PRIVATE KEY-----\n{HIDE}", f"a {MASK}"),
        (f"Failed to process message open_stream({HIDE}, 'x') again", "Failed to process message open_stream(…) again"),
        (f"Authorization: Bearer {HIDE}", f"Authorization: Bearer {MASK}"),
    ],
)
def test_shapes_of_secrets_are_masked_and_what_is_around_them_stays(text: str, left: str) -> None:
    assert told(text) == left


# --- values ---


def test_a_registered_value_is_masked_at_both_ends_and_twice_in_a_row() -> None:
    registry = Registry()
    registry.add(HIDE)
    assert registry.mask(HIDE) == MASK
    assert registry.mask(f"{HIDE}{HIDE}") == MASK * 2
    assert registry.mask(f"a{HIDE}b{HIDE}") == f"a{MASK}b{MASK}"
    assert registry.mask(HIDE[:-1]) == HIDE[:-1]
    assert registry.mask("") == ""
    assert Registry().mask(HIDE) == HIDE


def test_of_two_values_that_begin_alike_the_longer_one_is_masked() -> None:
    registry = Registry()
    registry.add("abcdef")
    registry.add("abcdefgh")
    assert registry.mask("abcdefgh abcdefg abcdef") == f"{MASK} {MASK}g {MASK}"


def test_the_oldest_value_is_forgotten_and_the_others_are_not() -> None:
    registry = Registry(limit=2)
    for value in ("abcdef1", "abcdef2", "abcdef1", "abcdef3"):
        registry.add(value)
    assert len(registry) == 2
    assert registry.mask("abcdef1 abcdef2 abcdef3") == f"{MASK} abcdef2 {MASK}"
    registry.add("uvwxyz9")
    registry.add("uvwxyz8")
    assert registry.mask("abcdef1 abcdef3 uvwxyz9 uvwxyz8") == f"abcdef1 abcdef3 {MASK} {MASK}"


def test_the_shortest_value_that_is_masked_has_six_characters() -> None:
    redact.register("q7w8e", None, "")
    redact.register("q7w8e9")
    assert redact.text("q7w8e q7w8e9") == f"q7w8e {MASK}"
    assert len("q7w8e9") == MIN_LENGTH


# --- bounds ---


def test_a_text_is_cut_at_its_bound_and_says_so() -> None:
    assert redact.text("a" * MAX_TEXT) == "a" * MAX_TEXT
    assert redact.text("a" * (MAX_TEXT + 1)) == "a" * MAX_TEXT + f"… ({MAX_TEXT + 1} characters)"


def test_long_lists_and_mappings_say_how_long_they_were() -> None:
    assert redact.scrub(list(range(200))) == list(range(200))
    assert redact.scrub(list(range(201))) == [*range(200), "… 201 items"]
    whole = {str(number): number for number in range(200)}
    assert redact.scrub(whole) == whole
    assert redact.scrub({**whole, "200": 200}) == {**whole, "…": "201 items"}


def test_what_is_nested_too_deep_is_left_out() -> None:
    value: object = "deep"
    for _ in range(8):
        value = [value]
    assert redact.scrub(value) == [[[[[[[["deep"]]]]]]]]
    assert redact.scrub([value]) == [[[[[[[["…"]]]]]]]]


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (f"token={HIDE}".encode(), f"token={MASK}"),
        (bytearray(b"plain"), "plain"),
        ((1, True, None, 2.5), [1, True, None, 2.5]),
        (frozenset({"one"}), ["one"]),
        (ValueError(f"token={HIDE}"), f"token={MASK}"),
        ({5: {f"token={HIDE}": 1}}, {"5": {f"token={MASK}": 1}}),
    ],
)
def test_whatever_it_is_becomes_what_json_can_hold(value: object, cleaned: object) -> None:
    assert redact.scrub(value) == cleaned


def test_an_object_that_can_not_be_told_is_named_by_its_type() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("broken")

    assert redact.scrub(Broken()) == "<Broken>"
    assert redact.text_of(Broken()) == "<Broken>"
    assert redact.text_of(7) == "7"


def test_a_passphrase_that_is_part_of_a_name_hides_no_name() -> None:
    """With a passphrase `phrase` in the process the passphrases of others stood in the log: their name was masked."""
    redact.register("phrase")
    assert told(f"a=passphrase={HIDE} b=2") == f"a=passphrase={MASK} b=2"
