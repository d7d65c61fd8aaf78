"""From what a queue delivers to what an actor gets: the same translation for RabbitMQ and for the embedded mode.

Bodies become commands here, and commands become `Delivery` objects, the only argument of an actor's message. Dramatiq
prints arguments at DEBUG and, when an actor fails, at ERROR; from this point on they are opaque.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from dramatiq import Message, MessageProxy, Middleware
from dramatiq.broker import Consumer
from dramatiq.errors import BrokerError

from connector.core.clock import Chance
from connector.core.copies import Copy
from connector.core.errors import InvalidCommand
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from tasks.commands import Parse, parse_candle, parse_close, parse_command, parse_open, parse_restart
from tasks.delivery import Delivery
from tasks.envelope import MAX_BODY_BYTES, Received, ReplyAddress, read, response_body
from tasks.lanes import Lanes

Respond = Callable[[str, ReplyAddress, bytes], None]
"""Queue that the command came from, who waits, the body for them."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlatformQueue:
    """How one of the platform's queues is served."""

    actor: str
    parse: Parse
    prefetch: int
    """Commands taken at a time. Upstream takes all of them (0); a bound keeps them with the broker until they are due."""

    def __post_init__(self) -> None:
        if not 1 <= self.prefetch <= 65_535:
            raise ValueError("prefetch takes 1 to 65535")


USER_QUEUES: Final = {"usersStreamAction": PlatformQueue("platform_command", parse_command, 200)}
PRICE_QUEUES: Final = {"candlesRequests": PlatformQueue("platform_candle", parse_candle, 50)}


def price_queues(price_role: str) -> Mapping[str, PlatformQueue]:
    """Of a price service: one for tickers has no candles, and would keep the queue from those who have (contract 1.6)."""
    return {} if price_role == "ticker" else PRICE_QUEUES


_NATIVE: Final[dict[str, Parse]] = {
    "open_stream": parse_open,
    "close_stream": parse_close,
    "restart_stream": parse_restart,
    "subscribe_candle": parse_candle,
    # Not meant to be sent, but if somebody does, their arguments are commands too.
    "platform_command": parse_command,
    "platform_candle": parse_candle,
}


class Translator:
    """Makes messages for the actors of one broker. `platform` and `native` belong to the consumer thread of the queue."""

    def __init__(
        self,
        queues: Mapping[str, PlatformQueue],
        respond: Respond,
        *,
        lanes: Lanes | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        chance: Chance | None = None,
    ) -> None:
        self._chance = chance or Chance()
        self.queues = dict(queues)
        self.lanes = Lanes() if lanes is None else lanes
        self.stopping = threading.Event()
        self._respond = respond
        self._max_body_bytes = max_body_bytes

    def platform(
        self,
        queue: str,
        body: bytes,
        reply_to: str | None,
        correlation_id: str | None,
        copy: Callable[[], Copy | None] = lambda: None,
    ) -> tuple[Message[Any], Delivery] | None:
        """The message for a body of the platform. None for a bad one: it is counted, logged and answered by then."""
        settings = self.queues[queue]
        try:
            received = read(
                body, settings.parse, reply_to=reply_to, correlation_id=correlation_id, limit=self._max_body_bytes
            )
        except Exception:  # noqa: BLE001 - a defect of ours: this body costs itself, it must not come again and again
            _log.exception("reading a command failed", queue=queue)
            received = Received(problem="body: can't be read")
        return self._message(queue, settings.actor, received, size=len(body), copy=copy)

    def native(self, queue: str, message: Message[Any]) -> tuple[Message[Any], Delivery] | None:
        """The message for a command that a Python backend sent to one of our own queues; None for a bad one."""
        parse = _NATIVE[message.actor_name]
        if len(message.args) == 1 and not message.kwargs:
            try:
                received = Received(command=parse(message.args[0]))
            except InvalidCommand as error:
                received = Received(problem=str(error))
        else:
            received = Received(problem="arguments: exactly one object is expected")
        return self._message(queue, message.actor_name, received, size=None, nonce=_named(message.message_id))

    @staticmethod
    def is_command(message: Message[Any]) -> bool:
        """Whether a message on one of our own queues is for an actor that takes a command."""
        return message.actor_name in _NATIVE

    def _message(
        self,
        queue: str,
        actor: str,
        received: Received,
        size: int | None,
        *,
        nonce: str = "",
        copy: Callable[[], Copy | None] = lambda: None,
    ) -> tuple[Message[Any], Delivery] | None:
        if received.command is None:
            METRICS.count("commands_total", command="unknown", result="invalid")
            _log.warning("command refused", queue=queue, reason=received.problem, bytes=size)
            if received.reply is not None:
                self._respond(queue, received.reply, response_body(None))
            return None
        delivery = Delivery(
            received.command,
            self.lanes,
            self.stopping,
            nonce=nonce or self._chance.new_id(),
            copy=copy,
            reply=received.reply,
            respond=partial(self._respond, queue),
        )
        # The worker acknowledges through the consumer of `queue_name`; a time of the sender's must not age our message.
        return Message(queue_name=queue, actor_name=actor, args=(delivery,), kwargs={}, options={}), delivery


def _named(message_id: str) -> str:
    """A nonce for a message that has an id: it is the same one when it comes again, to whichever process."""
    return hashlib.blake2b(message_id.encode(errors="replace"), digest_size=16).hexdigest()


def broker_error(text: str) -> BrokerError:
    return BrokerError(text)  # type: ignore[no-untyped-call]


class CommandMessage(MessageProxy):
    """A command on its way through the worker. It remembers its consumer: delivery tags repeat after a reconnect."""

    def __init__(self, message: Message[Any], delivery: Delivery, acknowledge: Callable[[], None]) -> None:
        super().__init__(message)
        self.delivery = delivery
        self.acknowledge = acknowledge


class CommandConsumer(Consumer):
    """What consumers of commands have in common: a message is acknowledged when its command is settled, however that went."""

    def ack(self, message: MessageProxy) -> None:
        if isinstance(message, CommandMessage):
            message.delivery.end()
            message.delivery.when_settled(message.acknowledge)

    def nack(self, message: MessageProxy) -> None:
        """The same: commands are never rejected (contract 1.2), and never reach a dead-letter queue with their secrets."""
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """The worker stops before these had their turn: they stay unacknowledged and go to another process."""
        for message in messages:
            if isinstance(message, CommandMessage):
                message.delivery.give_up()


class NativeConsumer(CommandConsumer):
    """Consumes one of our own queues through the stock consumer, and makes the arguments of commands opaque."""

    def __init__(self, inner: Consumer, translator: Translator, queue_name: str) -> None:
        self._inner = inner
        self._translator = translator
        self._queue_name = queue_name

    def __next__(self) -> MessageProxy | None:
        proxy = next(self._inner)
        if proxy is None:
            return None
        message = proxy._message
        if not self._translator.is_command(message):
            if message.queue_name != self._queue_name:
                # The worker looks its consumer up by this name; a wrong one would end the worker's thread.
                proxy._message = message.copy(queue_name=self._queue_name)
            return proxy
        translated = self._translator.native(self._queue_name, message)
        if translated is None:
            self._inner.ack(proxy)
            return None
        return CommandMessage(*translated, acknowledge=partial(self._inner.ack, proxy))

    def ack(self, message: MessageProxy) -> None:
        if isinstance(message, CommandMessage):
            super().ack(message)
        else:
            self._inner.ack(message)

    def nack(self, message: MessageProxy) -> None:
        if isinstance(message, CommandMessage):
            super().ack(message)
        else:
            self._inner.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        others = []
        for message in messages:
            if isinstance(message, CommandMessage):
                message.delivery.give_up()
            else:
                others.append(message)
        self._inner.requeue(others)

    def close(self) -> None:
        self._inner.close()


class StopWaiting(Middleware):
    """Ends the patience of commands that wait for Redis when the worker stops: they go to another process."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def before_worker_boot(self, _broker: object, _worker: object) -> None:
        self._stopping.clear()

    def before_worker_shutdown(self, _broker: object, _worker: object) -> None:
        self._stopping.set()
