"""Requests and answers of the spot WebSocket API."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Send
from exchanges.binance import _errors

SUBSCRIBE: Final = "userDataStream.subscribe.signature"
UNSUBSCRIBE: Final = "userDataStream.unsubscribe"
LIST: Final = "session.subscriptions"


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""
    data: object = None


class Frame(msgspec.Struct, rename="camel"):
    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None
    subscription_id: int | None = None
    event: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct, rename="camel"):
    subscription_id: int


decode = msgspec.json.Decoder(Frame).decode
decode_result = msgspec.json.Decoder(_Result).decode
decode_list = msgspec.json.Decoder(list[_Result]).decode


def error_of(frame: Frame) -> _errors.VenueError:
    error = frame.error or _Error()
    until = error.data.get("retryAfter") if isinstance(error.data, dict) else None
    return _errors.of_frame(frame.status, error.code, error.msg, until if isinstance(until, int) else None)


def request(request_id: str, method: str, params: dict[str, str | int] | None) -> Send:
    body: dict[str, object] = {"id": request_id, "method": method}
    if params:
        body["params"] = params
    return Send(msgspec.json.encode(body).decode())
