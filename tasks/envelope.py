"""The platform's JSON envelope: bodies in, commands out, and replies back (contract 1.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from connector.core.errors import InvalidCommand
from tasks.commands import Command, Parse

MAX_BODY_BYTES: Final = 256 * 1024
"""A real command is below 8 kB, PEM secret included."""
_MAX_SHORT_TEXT: Final = 255
"""Bytes of an AMQP short string: routing keys and correlation ids."""


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where a reply goes: a queue, through the default exchange."""

    queue: str
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """One body: either a command or the reason why it is none, and who waits for a reply either way."""

    command: Command | None = None
    reply: ReplyAddress | None = None
    problem: str = ""
    """Names the wrong field, never its value."""


def read(
    body: bytes,
    parse: Parse,
    *,
    reply_to: str | None = None,
    correlation_id: str | None = None,
    limit: int = MAX_BODY_BYTES,
) -> Received:
    """Turn a body and its AMQP reply properties into a command. Never raises for what a sender wrote.

    The properties win over `replyTo` and `correlationId` in the body.
    """
    from_properties = _address(reply_to, correlation_id)
    if len(body) > limit:
        return Received(reply=from_properties, problem=f"body: longer than {limit} bytes")
    try:
        envelope = _object(body)
    except InvalidCommand as error:
        return Received(reply=from_properties, problem=str(error))
    reply = _address(
        reply_to or envelope.get("replyTo"), correlation_id if correlation_id else envelope.get("correlationId")
    )
    try:
        command = parse(envelope.get("payload"))
    except InvalidCommand as error:
        return Received(reply=reply, problem=str(error))
    return Received(command=command, reply=reply)


def _object(body: bytes) -> Mapping[str, object]:
    problem = ""
    decoded: object = None
    try:
        decoded = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        problem = "body: not UTF-8"
    except (ValueError, RecursionError):
        problem = "body: not JSON"
    # Outside the handlers: their exceptions hold the body.
    if problem:
        raise InvalidCommand(problem)
    if not isinstance(decoded, dict):
        raise InvalidCommand("body: not a JSON object")
    return decoded


def _address(queue: object, correlation_id: object) -> ReplyAddress | None:
    if not _short(queue):
        return None
    return ReplyAddress(str(queue), str(correlation_id) if _short(correlation_id) else None)


def _short(value: object) -> bool:
    """Whether AMQP can carry this as a short string."""
    if not isinstance(value, str) or not value:
        return False
    try:
        return len(value.encode()) <= _MAX_SHORT_TEXT
    except UnicodeEncodeError:
        return False


def response_body(value: object) -> bytes:
    """`{"response": value}`. Raises `TypeError` or `ValueError` for what JSON can't hold."""
    return _dump({"response": value})


# --- the other way: what the backend writes (used by the command line) ---


def open_body(
    *,
    uuid: str | None,
    user_id: str,
    provider: str,
    key: str,
    secret: str,
    passphrase: str | None = None,
    keys_type: str | None = None,
    okx_source: str | None = None,
    bybit_host: str | None = None,
) -> bytes:
    """The open command as a bot sends it: eight fields, absent ones null."""
    api = {
        "provider": provider,
        "key": key,
        "secret": secret,
        "passphrase": passphrase,
        "bybitHost": bybit_host,
        "keysType": keys_type,
        "okxSource": okx_source,
        "subaccount": False,
    }
    payload: dict[str, object] = {"event": "open stream", "data": {"userId": user_id, "api": api}}
    if uuid is not None:
        payload["uuid"] = uuid
    return _dump({"payload": payload})


def close_body(uuid: str) -> bytes:
    return _dump({"payload": {"event": "close stream", "uuid": uuid}})


def restart_body(uuid: str | None) -> bytes:
    payload = {"event": "force restart stream"} | ({"uuid": uuid} if uuid is not None else {})
    return _dump({"payload": payload})


def candle_body(*, symbol: str, exchange: str, interval: str) -> bytes:
    return _dump({"payload": {"symbol": symbol, "exchange": exchange, "interval": interval}})


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
