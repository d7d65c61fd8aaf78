"""Removes secrets from anything that is about to leave the process as text: log lines, Sentry events, error texts (bug C9).

Three nets, because each alone has holes. Values: every secret that the process knows is registered and masked wherever it
occurs, also inside other text. Names: fields, JSON members, URL parameters and headers whose name ends like a secret's.
Shapes: login frames lose their whole argument list (some venues send it without names), PEM blocks, JWTs, listen keys in
URL paths, passwords in URLs.

Any thread. Nothing here raises for any input.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from exchanges import credentials

MASK: Final = "[redacted]"
MIN_LENGTH: Final = 6
"""Shorter values are only masked by name: masking every `test` in the log would hide more than it protects."""
MAX_REGISTERED: Final = 65_536
"""Distinct values kept, newest use wins: three a stream, so more than any process holds."""
MAX_TEXT: Final = 32_768
"""Characters of one text that are kept; a log line longer than this tells nobody anything."""
_OVERLAP: Final = 512
_MAX_DEPTH: Final = 8
_MAX_ITEMS: Final = 200
_MAX_FAILURES: Final = 64
"""Brackets of one text that may turn out not to open JSON; each costs a parse. The other nets still cover the rest."""

_SUFFIXES: Final = (
    "key",
    "secret",
    "passphrase",
    "password",
    "passwd",
    "signature",
    "sign",
    "token",
    "jwt",
    "authorization",
    "authent",
    "challenge",
    "credentials",
    "cookie",
    "dsn",
)
_HARMLESS: Final = frozenset({"routingkey", "publickey", "candlekey", "unitkey"})
_LOGIN_MARKS: Final = frozenset({"login", "auth", "logon", "authenticate", "session.logon"})
_LOGIN_VERBS: Final = ("op", "method", "event", "action", "type")
_LOGIN_ARGUMENTS: Final = frozenset({"args", "arg", "params", "data", "request", "payload"})

_WORDS: Final = frozenset(
    {*_SUFFIXES, *_LOGIN_MARKS, *_LOGIN_VERBS, *_LOGIN_ARGUMENTS, "apikey", "apisecret", "secretkey", "listenkey"}
)
"""What the nets look for. A key or secret that is such a word or a part of one (a placeholder, mostly) is no secret, and
masking it would hide the names by which the secrets of others are found."""

_SUFFIX_PATTERN: Final = "|".join(_SUFFIXES)
_NAME: Final = rf"[\w.\-]{{0,40}}?(?:{_SUFFIX_PATTERN})"
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_JWT = re.compile(r"eyJ[\w-]{6,512}\.[\w-]{6,}(?:\.[\w-]*)?")
_USERINFO = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_LISTEN_KEY = re.compile(r"(?<=/)[A-Za-z0-9]{40,}(?=$|[/?#\s\"'])")
_AUTH_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}")
# "name": "value" in JSON or repr, at any depth of escaping (the same quote with the same backslashes closes a value).
# A match begins at the quote and not at the backslashes before it, and what is never closed goes to the end of the text:
# so each character is looked at a bounded number of times, whatever the text.
_MEMBER = re.compile(rf"(?i)([\"'])({_NAME})(\\*)\1(\s*[:=]\s*)(b?\\*[\"'])(.*?)(?:(?<!\\)\5|\Z)", re.DOTALL)
# name=value and name: value outside quotes: query strings, headers, reprs of objects.
_ASSIGNED = re.compile(rf"(?i)(?<![\w.\-])({_NAME})(\s?=\s?|:\s)(?![\"'\\\[{{])([^\s&,;)\]}}\"']+)")
_QUOTED_ASSIGNED = re.compile(rf"(?i)(?<![\w.\-])({_NAME})(\s?[=:]\s?)(b?[\"'])(.*?)(?:\3|$)", re.DOTALL)
# Dramatiq prints every argument of a task that fails; commands are arguments.
_TASK = re.compile(r"\bmessage \w+\(", re.IGNORECASE)
_LOGIN_TEXT = re.compile(
    rf"(?i)(?:{'|'.join(_LOGIN_VERBS)})\W{{1,12}}(?:login|authenticate|auth|session\.logon|logon)(?![\w.])"
)
_LOGIN_ARGS_TEXT = re.compile(rf"(?i)(?<![\w.])(?:{'|'.join(sorted(_LOGIN_ARGUMENTS))})\W{{0,8}}?[:=]\s*([\[({{])")
_OPENING: Final = re.compile(r"[{\[]")
_CLOSING: Final = {"[": "]", "(": ")", "{": "}"}


class Registry:
    """Secret values, looked up by their first characters, so that a text is scanned once however many there are."""

    def __init__(self, limit: int = MAX_REGISTERED) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._values: OrderedDict[str, None] = OrderedDict()
        self._by_head: dict[str, dict[int, set[str]]] = {}

    def add(self, value: str) -> None:
        """Mask this value, its URL-encoded and JSON-escaped forms, and each line of it, from now on."""
        for form in _forms(value):
            with self._lock:
                if form in self._values:
                    self._values.move_to_end(form)
                    continue
                self._values[form] = None
                head = self._by_head.setdefault(form[:MIN_LENGTH], {})
                # Sets are replaced, not changed: `mask` reads them without the lock.
                head[len(form)] = head.get(len(form), set()) | {form}
                if len(self._values) > self._limit:
                    self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest, _ = self._values.popitem(last=False)
        head = self._by_head[oldest[:MIN_LENGTH]]
        rest = head[len(oldest)] - {oldest}
        if rest:
            head[len(oldest)] = rest
        else:
            del head[len(oldest)]
        if not head:
            del self._by_head[oldest[:MIN_LENGTH]]

    def mask(self, text: str) -> str:
        """The text with every registered value replaced; the longest value that fits is taken."""
        by_head = self._by_head
        if not by_head:
            return text
        parts: list[str] = []
        start = position = 0
        last = len(text) - MIN_LENGTH
        while position <= last:
            head = by_head.get(text[position : position + MIN_LENGTH])
            if head is not None:
                length = self._match(head, text, position)
                if length:
                    parts.append(text[start:position])
                    parts.append(MASK)
                    position = start = position + length
                    continue
            position += 1
        if not parts:
            return text
        parts.append(text[start:])
        return "".join(parts)

    @staticmethod
    def _match(head: dict[int, set[str]], text: str, position: int) -> int:
        for length, values in sorted(head.copy().items(), reverse=True):
            if text[position : position + length] in values:
                return length
        return 0

    def __len__(self) -> int:
        return len(self._values)


@lru_cache(MAX_REGISTERED)
def _forms(value: str) -> tuple[str, ...]:
    """Each stream that opens tells its material several times: as a command, as an entry of the state, with options."""
    forms = {value, value.strip(), quote(value, safe=""), json.dumps(value)[1:-1]}
    # Keys in PEM form appear with real, escaped or flattened line breaks; each line alone is secret enough.
    forms.update(line for line in re.split(r"\s+|\\n|\\r", value) if "-----" not in line and len(line) >= 16)
    return tuple(form for form in forms if len(form) >= MIN_LENGTH)


REGISTRY: Final = Registry()
"""The secrets of this process. `exchanges.credentials` and the start of a process fill it."""


def register(*values: str | None) -> None:
    """Never let these values out again. Empty and very short ones, and the words that the nets look for, are ignored."""
    for value in values:
        if value and not _harmless(value):
            REGISTRY.add(value)


@lru_cache(MAX_REGISTERED)
def _harmless(value: str) -> bool:
    plain = _plain(value)
    return len(value) < MIN_LENGTH or any(plain in word for word in _WORDS)


credentials.guard(register)


def secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: `apiKey`, `OK-ACCESS-SIGN`, `listenKey`, `jwt` …"""
    plain = _plain(name)
    return plain.endswith(_SUFFIXES) and plain not in _HARMLESS


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "")


def text(value: str) -> str:
    """A text without secrets, cut to `MAX_TEXT` characters."""
    try:
        return _text(value, _MAX_DEPTH)
    except Exception:  # noqa: BLE001 - the alternative to a masked text is none at all: it may hold a secret (A52)
        return MASK


def _text(value: str, depth: int) -> str:
    cut = value if len(value) <= MAX_TEXT else value[: MAX_TEXT + _OVERLAP]
    cleaned = REGISTRY.mask(cut)
    if depth > 0 and ("{" in cleaned or "[" in cleaned):
        cleaned = _embedded_json(cleaned, depth)
    cleaned = _login_arguments(cleaned)
    cleaned = _shapes(cleaned)
    if len(value) > MAX_TEXT:
        return f"{cleaned[:MAX_TEXT]}… ({len(value)} characters)"
    return cleaned


def _shapes(value: str) -> str:
    if "-----BEGIN" in value:
        value = _PEM.sub(MASK, value)
    if "eyJ" in value:
        value = _JWT.sub(MASK, value)
    if "://" in value or "/ws" in value:
        value = _USERINFO.sub(rf"\1:{MASK}@", value)
        value = _LISTEN_KEY.sub(MASK, value)
    if "essage " in value:
        value = _without_task_arguments(value)
    value = _AUTH_SCHEME.sub(rf"\1 {MASK}", value)
    value = _MEMBER.sub(_member, value)
    value = _QUOTED_ASSIGNED.sub(_quoted_assigned, value)
    return _ASSIGNED.sub(_assigned, value)


def _without_task_arguments(value: str) -> str:
    """From the first task to the last bracket: the arguments may hold brackets themselves."""
    task, end = _TASK.search(value), value.rfind(")")
    if task is None or end < task.end():
        return value
    return f"{value[: task.end()]}…{value[end:]}"


def _member(match: re.Match[str]) -> str:
    quote_, name, escape, between, opening, _ = match.groups()
    if not secret_name(name):
        return match.group(0)
    return f"{quote_}{name}{escape}{quote_}{between}{opening}{MASK}{opening.removeprefix('b')}"


def _quoted_assigned(match: re.Match[str]) -> str:
    name, between, opening, _ = match.groups()
    if not secret_name(name):
        return match.group(0)
    return f"{name}{between}{opening}{MASK}{opening.removeprefix('b')}"


def _assigned(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    if not secret_name(name) or value.startswith(MASK) or value in {"Bearer", "Basic"}:
        return match.group(0)
    return f"{name}{between}{MASK}"


def _embedded_json(value: str, depth: int) -> str:
    """Every JSON object or list that starts somewhere in the text, scrubbed as data and written back."""
    decoder = json.JSONDecoder()
    parts: list[str] = []
    start = position = failures = 0
    while failures < _MAX_FAILURES:
        match = _OPENING.search(value, position)
        if match is None:
            break
        position = match.start()
        try:
            data, end = decoder.raw_decode(value, position)
        except (ValueError, RecursionError):
            position += 1
            failures += 1
            continue
        if isinstance(data, dict | list) and data:
            cleaned = _scrub(data, depth - 1)
            if cleaned != data:
                parts.append(value[start:position])
                parts.append(json.dumps(cleaned, ensure_ascii=False))
                start = end
        position = end
    parts.append(value[start:])
    return "".join(parts)


def _login_arguments(value: str) -> str:
    """Login frames that are not clean JSON (reprs, cut off in the middle): everything between the argument brackets."""
    if _LOGIN_TEXT.search(value) is None:
        return value
    parts: list[str] = []
    start = 0
    for match in _LOGIN_ARGS_TEXT.finditer(value):
        if match.start() < start:
            continue
        opening = match.group(1)
        end = _closing(value, match.end(1), opening)
        parts.append(value[start : match.end(1)])
        parts.append(MASK)
        start = end
    parts.append(value[start:])
    return "".join(parts)


def _closing(value: str, position: int, opening: str) -> int:
    closing = _CLOSING[opening]
    depth = 1
    for index in range(position, len(value)):
        if value[index] == opening:
            depth += 1
        elif value[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    return len(value)


def scrub(value: object) -> object:
    """A copy of nested data without secrets, made only of what JSON can hold. Unknown objects become their text."""
    try:
        return _scrub(value, _MAX_DEPTH)
    except Exception:  # noqa: BLE001 - see `text`
        return MASK


def _scrub(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value, depth)
    if isinstance(value, bytes | bytearray):
        return _text(bytes(value[: MAX_TEXT + _OVERLAP]).decode("utf-8", "replace"), depth)
    if depth <= 0:
        return "…"
    if isinstance(value, Mapping):
        return _scrub_mapping(value, depth)
    if isinstance(value, list | tuple | Set):
        items = [_scrub(item, depth - 1) for item in list(value)[:_MAX_ITEMS]]
        return items if len(value) <= _MAX_ITEMS else [*items, f"… {len(value)} items"]
    return _text(text_of(value), depth)


def _scrub_mapping(value: Mapping[object, object], depth: int) -> dict[str, object]:
    login = _is_login(value)
    cleaned: dict[str, object] = {}
    for name, item in value.items():
        label = _text(str(name), 0)
        if (login and label.lower() in _LOGIN_ARGUMENTS) or (secret_name(label) and item not in (None, "", False)):
            cleaned[label] = MASK
        else:
            cleaned[label] = _scrub(item, depth - 1)
        if len(cleaned) >= _MAX_ITEMS and len(value) > _MAX_ITEMS:
            cleaned["…"] = f"{len(value)} items"
            break
    return cleaned


def _is_login(value: Mapping[object, object]) -> bool:
    for verb in _LOGIN_VERBS:
        said = value.get(verb)
        if isinstance(said, str) and said.lower() in _LOGIN_MARKS:
            return True
    return False


def text_of(value: object) -> str:
    """`str(value)`, or the type's name if that fails. Not redacted."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a broken __str__ must not end the caller's error handling (A52)
        return f"<{type(value).__name__}>"
