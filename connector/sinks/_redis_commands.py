"""Messages as Redis commands (contract section 2), and what the replies to them mean. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from connector.core.channels import (
    LAST_EVENT_TIME,
    ORDERS,
    SERVICE_LOG,
    candle_channel,
    subscribed_text,
    ticker_channel,
    user_info_channel,
)
from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, ServiceMessage, TickerMessage
from connector.sinks._common import utf8
from connector.sinks._redis_lanes import AccountItem
from connector.sinks._redis_link import EXPIRY_KEY, bulk, command, forbidden, passing

MAX_CHANNELS: Final = 100_000
"""Cached channel names of one exchange; its cache starts over beyond that."""

_LAST = LAST_EVENT_TIME.encode()
_ORDERS = ORDERS.encode()


class Outcome(enum.Enum):
    DONE = enum.auto()
    REFUSED = enum.auto()
    """The server answered that it can't now: it did not happen."""
    FORBIDDEN = enum.auto()
    """The server will never take it."""
    UNKNOWN = enum.auto()
    """No answer."""


class AccountBatch:
    """A few account items as one write, and the replies assigned to them.

    Each item's last command decides about the item; for events that is the PUBLISH. The rest (`lastEventTime`, the
    `orders` hash) comes before it and may be repeated without harm.
    """

    def __init__(
        self, items: Sequence[AccountItem], now_ms: int, has_hexpire: bool, expiry_key: str = EXPIRY_KEY
    ) -> None:
        self.items = items
        self.side_errors: list[str] = []
        """Errors of commands that don't decide: the event itself went out."""
        self.reconnect = False
        """Whether a side command says that this server takes no writes."""
        self._deciders: list[tuple[int, int]] = []
        commands: list[bytes] = []
        now = b"%d" % now_ms
        for index, item in enumerate(items):
            if isinstance(item, AccountMessage):
                commands += _event(item, now, now_ms, None if has_hexpire else expiry_key.encode())
            elif isinstance(item, InfoMessage):
                text = utf8(subscribed_text(item.stream_id))
                commands.append(command(b"PUBLISH", utf8(user_info_channel(item.stream_id)), text))
            else:
                commands.append(command(b"ZREM", _LAST, utf8(item.stream_id)))
            self._deciders.append((len(commands) - 1, index))
        self.count = len(commands)
        self.packed = b"".join(commands)

    def outcomes(self, replies: Sequence[object]) -> list[Outcome]:
        """One per item; `replies` may end early."""
        outcomes = [Outcome.UNKNOWN] * len(self.items)
        deciders = dict(self._deciders)
        for position, reply in enumerate(replies):
            failed = isinstance(reply, Exception)
            index = deciders.get(position)
            if index is None:
                if failed:
                    self.side_errors.append(str(reply))
                    self.reconnect = self.reconnect or passing(reply)
            elif not failed:
                outcomes[index] = Outcome.DONE
            else:
                outcomes[index] = Outcome.FORBIDDEN if forbidden(reply) else Outcome.REFUSED
        return outcomes


def _event(item: AccountMessage, now: bytes, now_ms: int, expiry_key: bytes | None) -> list[bytes]:
    """`expiry_key`: of a server without HEXPIRE."""
    stream = utf8(item.stream_id)
    commands = [command(b"ZADD", _LAST, b"GT", now, stream)]
    if item.order_field is not None:
        field = utf8(item.order_field)
        if expiry_key is None:
            commands.append(command(b"HSET", _ORDERS, field, item.body))
            commands.append(command(b"HEXPIRE", _ORDERS, b"%d" % item.order_ttl_s, b"FIELDS", b"1", field))
        else:
            # The deadline first: a deadline without a field is harmless, a field without a deadline stays for ever.
            commands.append(command(b"ZADD", expiry_key, b"%d" % (now_ms + item.order_ttl_s * 1000), field))
            commands.append(command(b"HSET", _ORDERS, field, item.body))
    commands.append(command(b"PUBLISH", stream, item.body))
    return commands


class Settled:
    """The items of a batch by what becomes of them."""

    __slots__ = ("again", "done", "forbidden", "infos", "unknown")

    def __init__(self, items: Sequence[AccountItem], outcomes: Sequence[Outcome]) -> None:
        self.done: list[AccountMessage] = []
        self.infos = 0
        self.again: list[AccountItem] = []
        """To be sent (again), in order."""
        self.forbidden = 0
        self.unknown = 0
        """Balance deltas that may have arrived, so that they must not be repeated."""
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome is Outcome.DONE:
                if isinstance(item, AccountMessage):
                    self.done.append(item)
                self.infos += isinstance(item, InfoMessage)
            elif outcome is Outcome.FORBIDDEN:
                self.forbidden += isinstance(item, AccountMessage)
            elif outcome is Outcome.UNKNOWN and isinstance(item, AccountMessage) and not item.repeatable:
                self.unknown += 1
            else:
                self.again.append(item)


class ChannelNames:
    """Ticker channels as they stand in a command, kept because each is used thousands of times."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, bytes]] = {}

    def pairs(self, frame: TickerMessage) -> list[bytes]:
        """Channel and payload of each row, for `RedisLink.publish`."""
        names = self._names.setdefault(frame.exchange, {})
        if len(names) > MAX_CHANNELS:
            names.clear()
        pairs = []
        for symbol, body in zip(frame.symbols, frame.bodies, strict=True):
            name = names.get(symbol)
            if name is None:
                name = names[symbol] = bulk(utf8(ticker_channel(symbol, frame.exchange)))
            pairs.append(b"%b$%d\r\n%b\r\n" % (name, len(body), body))
        return pairs


def candle_pair(message: CandleMessage) -> bytes:
    return bulk(utf8(candle_channel(message.symbol, message.exchange, message.interval))) + bulk(message.body)


def service_pair(message: ServiceMessage) -> bytes:
    return bulk(SERVICE_LOG.encode()) + bulk(message.body)
