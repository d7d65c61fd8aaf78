"""Every command that can reach the service, validated at the trust boundary (contract 1.3-1.6).

The pydantic models below read what a sender wrote; what leaves this module are immutable values in which key material is
opaque. `InvalidCommand` names the field that is wrong and what it takes, never what it held: a secret in the wrong field
stays a secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from connector.core import redact
from connector.core.errors import InvalidCommand
from connector.core.log import get_logger
from exchanges import venue_of, venues
from exchanges.credentials import Credentials, credentials
from exchanges.ids import DEAD, KNOWN, family_of, real_id

log = get_logger(__name__)

MAX_ID_BYTES: Final = 128
"""Stream ids are part of AMQP routing keys, which end at 255 bytes; real ones have 36."""
MAX_NAME_BYTES: Final = 64
"""Symbols and intervals, for the same reason."""
MAX_SECRET_BYTES: Final = 16_384
"""The longest real secret is a PEM of an RSA key of 4096 bits, about 3.3 kB."""

ABSENT: Final = "undefined"
"""How an absent value stands in the text behind a stream id without uuid (contract 1.3)."""

# Only a value like this is repeated in an error text: no key or secret of a known venue is as short and all letters.
_PRINTABLE_ID: Final = re.compile(r"[A-Za-z]{1,24}")

_KUCOIN_INTERVALS: Final = {
    "1m": "1min",
    "3m": "3min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "1hour",
    "2h": "2hour",
    "4h": "4hour",
    "8h": "8hour",
    "1d": "1day",
    "1w": "1week",
}
"""Generic codes that are also accepted for KuCoin; the channel then carries the venue's code (contract 1.6)."""


# --- what leaves this module ---


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Somebody wants the account stream `stream_id`: one more subscriber."""

    name: ClassVar[str] = "open"
    stream_id: str
    exchange: str
    user_id: str
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class CloseStream:
    """One subscriber less."""

    name: ClassVar[str] = "close"
    stream_id: str


@dataclass(frozen=True, slots=True)
class RestartStream:
    """Replace the connection of a stream; the count stays. Without `stream_id`: of all streams."""

    name: ClassVar[str] = "restart"
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class CandleRequest:
    """Somebody wants candles: a set, there is no way back. `exchange` is a real id, `interval` the venue's own code."""

    name: ClassVar[str] = "candle"
    exchange: str
    symbol: str
    interval: str


StreamCommand = OpenStream | CloseStream | RestartStream
Command = StreamCommand | CandleRequest
Parse = Callable[[object], Command]
"""Reads a decoded payload. Raises `InvalidCommand`."""


def lane_of(command: Command) -> str | None:
    """Commands with the same key take effect in the order of their arrival; None = in any order."""
    if isinstance(command, CandleRequest):
        return None
    return command.stream_id or ""


# --- what senders write ---


def _wrong(text: str) -> PydanticCustomError:
    return PydanticCustomError("command", "{text}", {"text": text})


def _size_up_to(limit: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            size = -1
        if size < 0:  # outside the handler: its exception holds the text
            raise _wrong("is not valid Unicode text")
        if size > limit:
            raise _wrong(f"is longer than {limit} bytes")
        return value

    return check


def _text_only(value: object) -> object:
    if not isinstance(value, str):
        raise _wrong("must be text")
    return value


def _not_empty(value: str) -> str:
    if not value:
        raise _wrong("is empty")
    return value


def _trimmed(value: str) -> str:
    return value.strip()


def _text_or_absent(value: object) -> str | None:
    """Options that only steer: what is not text counts as absent, because no stream should fail for it."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME_BYTES else None


_Text = Annotated[str, BeforeValidator(_text_only), AfterValidator(_size_up_to(MAX_ID_BYTES))]
_Name = Annotated[str, BeforeValidator(_text_only), AfterValidator(_size_up_to(MAX_NAME_BYTES))]
_NonEmpty = Annotated[_Text, AfterValidator(_not_empty)]
_NonEmptyName = Annotated[_Name, AfterValidator(_not_empty)]
_Material = Annotated[
    str, BeforeValidator(_text_only), AfterValidator(_size_up_to(MAX_SECRET_BYTES)), AfterValidator(_trimmed)
]
_Option = Annotated[str | None, BeforeValidator(_text_or_absent)]


class _Body(BaseModel):
    """Unknown keys are ignored, and null is the same as absent: commands come out of a document database."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise _wrong("must be an object")
        return {name: item for name, item in value.items() if item is not None}


class _Api(_Body):
    provider: _Name
    key: _Material = ""
    secret: _Material = ""
    passphrase: _Material | None = None
    keys_type: _Option = Field(None, alias="keysType")
    okx_source: _Option = Field(None, alias="okxSource")
    bybit_host: _Option = Field(None, alias="bybitHost")
    environment: _Option = None

    @field_validator("provider")
    @classmethod
    def _has_account_streams(cls, value: str) -> str:
        if value not in KNOWN:
            shown = f" {value}" if _PRINTABLE_ID.fullmatch(value) else ""
            raise _wrong(f"unknown exchange id{shown}")
        if value in DEAD:
            raise _wrong(f"{value} has no account stream")  # bug D7
        return value


class _OpenData(_Body):
    user_id: _NonEmpty = Field(alias="userId")
    api: _Api


class _Open(_Body):
    uuid: _Text | None = None
    data: _OpenData


class _Close(_Body):
    uuid: _NonEmpty


class _Restart(_Body):
    uuid: _NonEmpty | None = None


class _Candle(_Body):
    symbol: _NonEmptyName
    exchange: _Name
    interval: _NonEmptyName

    @field_validator("interval", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("exchange")
    @classmethod
    def _has_candles(cls, value: str) -> str:
        if value not in KNOWN:
            shown = f" {value}" if _PRINTABLE_ID.fullmatch(value) else ""
            raise _wrong(f"unknown exchange id{shown}")
        if real_id(value) in DEAD:
            raise _wrong(f"{value} has no prices")
        return real_id(value)


_Model = TypeVar("_Model", bound=_Body)


def _read(model: type[_Model], payload: object) -> _Model:
    """Validate; the error is made new, outside the handler, because pydantic's holds the input."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
    first = details[0]
    field = ".".join(str(part) for part in first["loc"]) or "payload"
    text = "is missing" if first["type"] == "missing" else first["msg"]
    raise InvalidCommand(f"{field}: {text}")


# --- parsers ---


def parse_open(payload: object) -> OpenStream:
    body = _read(_Open, payload)
    api = body.data.api
    # From here on no log line can show the material, wherever it turns up.
    redact.register(api.key, api.secret, api.passphrase)
    environment = _environment(api)
    return OpenStream(
        stream_id=body.uuid or _id_without_uuid(body.data.user_id, api),
        exchange=api.provider,
        user_id=body.data.user_id,
        credentials=credentials(
            api.key,
            api.secret,
            api.passphrase,
            keys_type=_one_of(api.keys_type, "legacy", "cloud"),
            okx_source=_site("okxSource", "okx", api.okx_source, api.provider),
            bybit_host=_site("bybitHost", "bybit", api.bybit_host, api.provider),
            environment=environment,
        ),
    )


def _environment(api: _Api) -> str | None:
    """A key of a test network is used there, or not at all."""
    environment = _one_of(api.environment, "live", "sandbox")
    venue = venue_of(api.provider)
    refusal = venue.sandbox_refusal(api.provider) if venue is not None and environment == "sandbox" else None
    if refusal is not None:
        raise InvalidCommand(f"data.api.environment: {refusal}")
    return environment


def _site(option: str, family: str, value: str | None, provider: str) -> str | None:
    """A venue's site, or None for one that it does not have: its main site then, as the venue documents."""
    known = venues()[family].regions
    if value is not None and value not in known and family_of(provider) == family:
        log.warning("no such site: the venue's main site is used", option=option, exchange=provider)
    return value if value in known else None


def _one_of(value: str | None, *allowed: str) -> str | None:
    """An option, or None for what the table of contract 1.3 does not have: the default then."""
    return value if value in allowed else None


def _id_without_uuid(user_id: str, api: _Api) -> str:
    """Contract 1.3: SHA-1 over the values without separators; passphrase and options as they came, key material trimmed."""
    values = (user_id, api.key, api.secret, api.provider, api.passphrase, api.keys_type, api.okx_source)
    text = "".join(ABSENT if value is None else value for value in values)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def parse_close(payload: object) -> CloseStream:
    return CloseStream(_read(_Close, payload).uuid)


def parse_restart(payload: object) -> RestartStream:
    """Without uuid: all streams. An empty one is a sender's mistake and must not reach as far."""
    return RestartStream(_read(_Restart, payload).uuid)


def parse_candle(payload: object) -> CandleRequest:
    body = _read(_Candle, payload)
    interval = body.interval
    if family_of(body.exchange) == "kucoin":
        interval = _KUCOIN_INTERVALS.get(interval, interval)
    return CandleRequest(exchange=body.exchange, symbol=body.symbol, interval=interval)


_BY_EVENT: Final[dict[str, Callable[[object], StreamCommand]]] = {
    "open stream": parse_open,
    "close stream": parse_close,
    "force restart stream": parse_restart,
}


def parse_command(payload: object) -> StreamCommand:
    """A payload of the account queue, which names its kind in `event`."""
    if not isinstance(payload, Mapping):
        raise InvalidCommand("payload: must be an object")
    event = payload.get("event")
    parse = _BY_EVENT.get(event) if isinstance(event, str) else None
    if parse is None:
        raise InvalidCommand("event: unknown or missing")
    return parse(payload)
