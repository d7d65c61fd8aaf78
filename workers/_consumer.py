"""The consumer of a platform queue: plain declaration, exclusive, never rejecting (contract 1.1 and 1.2).

Everything but `acknowledge` and `wake` runs in Dramatiq's consumer thread of this queue, which alone touches the connection.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any, Final

import pika
import pika.exceptions
from dramatiq import MessageProxy
from dramatiq.errors import ConnectionClosed

from connector.core.copies import Copy, digest
from connector.core.log import get_logger
from connector.core.traces import TRACES
from tasks.delivery import Delivery
from tasks.envelope import ReplyAddress
from workers._commands import Commands
from workers._translate import CommandConsumer, CommandMessage

PIKA_ERRORS: Final = (pika.exceptions.AMQPError, OSError, AssertionError)
"""What pika raises when a connection fails; some of its own checks are assertions."""
RELEASE_TIMEOUT_S: Final = 3.0
"""How long a release waits for the commands in hand; they take milliseconds, unless the registry hangs."""
RELEASE_POLL_S: Final = 0.02
"""Turn of I/O while a release waits."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long `close` waits for acknowledgements that are on their way."""
ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404

_log = get_logger(__name__)


class PlatformConsumer(CommandConsumer):
    """Consumes one queue. When another process holds it, this one stands by and takes over when the queue is free."""

    def __init__(self, commands: Commands, queue_name: str, timeout_ms: int) -> None:
        self.queue_name = queue_name
        self._commands = commands
        self._clock = commands.clock
        self._prefetch = commands.translator.queues[queue_name].prefetch
        self._timeout_s = timeout_ms / 1000
        self._inbox: deque[tuple[Any, Any, bytes, str]] = deque()
        self._unacknowledged: dict[int, tuple[str, Delivery]] = {}
        self._in_doubt: list[tuple[str, Delivery]] = []
        """Acknowledged, but the broker may not know yet."""
        self._tag: str | None = None
        self._cancelled = False
        self._released = commands.released
        self._release_by: float | None = None
        self._to_mark = False
        self._standby_told = False
        self._next_try = 0.0
        try:
            self._connection = commands.connect()
        except PIKA_ERRORS as error:
            raise _closed(error) from None
        try:
            self._replies = self._connection.channel()
            self._open_channel()
            self._declare()
            if not self._released:
                self._try_to_consume()
        except PIKA_ERRORS as error:
            self.close()
            raise _closed(error) from None

    # --- setting up ---

    def _open_channel(self) -> None:
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=self._prefetch)
        self._channel.add_on_cancel_callback(self._on_cancelled)

    def _declare(self) -> None:
        """Exchange, queue and binding as the platform has them. An existing queue is taken as it is: never a 406."""
        self._channel.exchange_declare(self._commands.exchange, exchange_type="direct", durable=True)
        if self._consumers() is None:
            self._channel.queue_declare(self.queue_name, durable=True)
        self._channel.queue_bind(self.queue_name, self._commands.exchange, routing_key=self.queue_name)

    def _consumers(self) -> int | None:
        """How many consumers the queue has; None if it does not exist."""
        try:
            return int(self._channel.queue_declare(self.queue_name, passive=True).method.consumer_count)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != NOT_FOUND:
                raise
        self._open_channel()
        return None

    def _try_to_consume(self) -> None:
        """Become the queue's only consumer, or stand by. Asking for the number of consumers keeps the broker's log clean."""
        self._next_try = self._clock.mono() + self._commands.standby_poll_s
        consumers = self._consumers()
        if consumers is None:
            self._declare()
        elif consumers and self._commands.exclusive:
            self._stand_by()
            return
        try:
            self._tag = self._channel.basic_consume(
                self.queue_name, on_message_callback=self._on_message, exclusive=self._commands.exclusive
            )
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != ACCESS_REFUSED or "exclusive" not in error.reply_text:
                raise
            self._open_channel()
            self._stand_by()
            return
        new = not self._marked()
        _log.info("consuming commands", queue=self.queue_name, new=new)
        self._standby_told = False
        self._commands.readiness.up(self.queue_name, created=new)

    # --- whether the senders were asked since the queue exists ---

    @property
    def _marker(self) -> str:
        """An exchange that the broker deletes together with the queue: what it is bound to is the queue of that time."""
        return f"{self.queue_name}.announced"

    def _marked(self) -> bool:
        channel = self._connection.channel()
        try:
            channel.exchange_declare(self._marker, passive=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != NOT_FOUND:
                raise
            return False
        channel.close()
        return True

    def mark(self) -> None:
        """Note with the broker that the senders were asked since this queue exists. Soon; any thread."""
        self._to_mark = True
        self.wake()

    def _mark(self) -> None:
        if not self._to_mark or self._tag is None:
            return
        channel = self._connection.channel()
        try:
            channel.exchange_declare(self._marker, exchange_type="fanout", durable=True, auto_delete=True)
            channel.queue_bind(self.queue_name, self._marker, routing_key="")
            channel.close()
        except pika.exceptions.ChannelClosedByBroker as error:
            # A queue that was deleted meanwhile is told by the cancelled consumer; a missing permission by this line.
            _log.error(
                "can't note that this queue is known: each process that takes it over will ask all senders again",
                queue=self.queue_name,
                needs=f"the permission to configure and read the exchange {self._marker}",
                reason=error.reply_text,
            )
        self._to_mark = False

    def _stand_by(self) -> None:
        self._commands.readiness.stand_by(self.queue_name)
        if not self._standby_told:
            _log.info("another process consumes this queue; standing by", queue=self.queue_name)
            self._standby_told = True
            # Whatever was lost here is with that process now.
            self._commands.unfinished(self.queue_name).clear()

    def _on_message(self, _channel: object, method: Any, properties: Any, body: bytes) -> None:
        found = digest(body)
        self._commands.in_hand.came(found)
        self._inbox.append((method, properties, body, found))

    def _on_cancelled(self, _method: object) -> None:
        self._cancelled = True

    # --- the consumer thread's loop ---

    def __next__(self) -> MessageProxy | None:
        try:
            if not self._inbox or self._commands.released:
                self._work()
            if not self._inbox or self._commands.released:
                return None
            return self._translate(*self._inbox.popleft())
        except PIKA_ERRORS as error:
            self._lost()
            raise _closed(error) from None

    def _work(self) -> None:
        """One turn of I/O: replies out, then wait for a delivery, an acknowledgement to send, or the time to be over."""
        self._send_replies()
        self._mark()
        releasing = self._commands.released and not self._released
        self._connection.process_data_events(time_limit=RELEASE_POLL_S if releasing else self._timeout_s)
        self._confirm_acknowledgements()
        if self._cancelled or not self._channel.is_open:
            raise pika.exceptions.ChannelClosed(0, "the consumer was cancelled")
        if releasing:
            self._release()
        standing_by = self._tag is None and not self._released
        if standing_by and self._clock.mono() >= self._next_try:
            self._try_to_consume()

    def _confirm_acknowledgements(self) -> None:
        """AMQP does not confirm them, but what the channel answers after them says that they arrived.

        A command whose acknowledgement is lost with the connection comes again; a close that counts twice would take the
        stream from somebody else.
        """
        if self._in_doubt and self._channel.is_open:
            self._channel.basic_qos(prefetch_count=self._prefetch)
            copies = [(delivery.copy(), delivery.nonce) for _, delivery in self._in_doubt]
            self._commands.sure([(copy, nonce) for copy, nonce in copies if copy is not None])
            self._in_doubt.clear()

    def _translate(self, method: Any, properties: Any, body: bytes, found: str) -> CommandMessage | None:
        tag = int(method.delivery_tag)
        unfinished = self._commands.unfinished(self.queue_name)
        if not method.redelivered:
            unfinished.clear()
        elif (lost := unfinished.take(found)) is not None:
            self._commands.in_hand.done(found)  # it is counted already
            lost.late = False
            self._unacknowledged[tag] = (found, lost)
            lost.when_settled(partial(self.acknowledge, tag))
            return None
        translated = self._commands.translator.platform(
            self.queue_name,
            body,
            properties.reply_to,
            properties.correlation_id,
            partial(self._copy, found, again=bool(method.redelivered)),
        )
        if translated is None:
            self._commands.in_hand.done(found)
            self._channel.basic_ack(tag)
            return None
        TRACES.came_with(translated[1].nonce, properties.headers)
        translated[1].when_settled(partial(self._commands.in_hand.done, found))
        self._unacknowledged[tag] = (found, translated[1])
        return CommandMessage(*translated, acknowledge=partial(self.acknowledge, tag))

    def _copy(self, found: str, *, again: bool) -> Copy:
        return Copy(found, self._commands.holder, again, behind=self._commands.in_hand.besides(found))

    def _send_replies(self) -> None:
        outbox = self._commands.outbox(self.queue_name)
        while outbox:
            address, body = outbox.popleft()
            self._send_reply(address, body)

    def _send_reply(self, address: ReplyAddress, body: bytes) -> None:
        if not self._replies.is_open:  # a reply queue that the broker did not like closed it
            self._replies = self._connection.channel()
        properties = pika.BasicProperties(correlation_id=address.correlation_id, content_type="application/json")
        self._replies.basic_publish("", address.queue, body, properties)

    def _release(self) -> None:
        """Give the queue up once the commands in hand are settled. Until then nobody else can overtake them.

        What was not begun, or given up because the registry is away, goes back to its place in the queue.
        """
        if self._release_by is None:
            self._release_by = self._clock.mono() + RELEASE_TIMEOUT_S
        given_up = [tag for tag, (_, delivery) in self._unacknowledged.items() if delivery.given_up]
        unfinished = len(self._unacknowledged) - len(given_up)
        if unfinished and self._clock.mono() < self._release_by:
            return
        if unfinished:
            # The channel stays for their acknowledgements, so the rest goes back one by one.
            if self._tag is not None:
                self._channel.basic_cancel(self._tag)
            for tag in [*given_up, *(method.delivery_tag for method, _, _, _ in self._inbox)]:
                self._unacknowledged.pop(tag, None)
                self._channel.basic_nack(tag, requeue=True)
        else:
            self._drop_channel()
            self._unacknowledged.clear()
            self._open_channel()
        self._inbox.clear()
        self._tag = None
        self._released = True
        _log.info("released the command queue", queue=self.queue_name, unfinished=unfinished)
        self._commands.readiness.down(self.queue_name)

    def _drop_channel(self) -> None:
        """End the channel in one step: the consumer goes and everything unacknowledged is back in its place.

        pika's `close` first cancels the consumer and then closes the channel. In between, another process could become
        the consumer and get what comes after. So let the broker close it, for asking for a queue that does not exist.
        """
        with suppress(pika.exceptions.ChannelClosedByBroker):
            self._channel.queue_declare(f"released.{self._commands.chance.new_id()}", passive=True)
        self._tag = None

    # --- acknowledging, from any thread ---

    def acknowledge(self, tag: int) -> None:
        """Acknowledge soon. Nothing is left to do if the connection is gone: the broker delivers the message again."""
        try:
            self._connection.add_callback_threadsafe(partial(self._acknowledge_now, tag))
        except PIKA_ERRORS:
            _log.debug("connection lost before an acknowledgement", queue=self.queue_name)

    def _acknowledge_now(self, tag: int) -> None:
        entry = self._unacknowledged.pop(tag, None)
        if entry is not None:
            self._in_doubt.append(entry)
            self._channel.basic_ack(tag)

    def wake(self) -> None:
        """End the consumer thread's wait, so that it sends replies or releases the queue."""
        try:
            self._connection.add_callback_threadsafe(_nothing)
        except PIKA_ERRORS:
            _log.debug("connection lost before a wake-up", queue=self.queue_name)

    # --- the end ---

    def _lost(self) -> None:
        self._commands.readiness.down(self.queue_name)
        unfinished = self._commands.unfinished(self.queue_name)
        for found, delivery in [*self._in_doubt, *self._unacknowledged.values()]:
            delivery.late = True
            if self._cancelled:
                delivery.leave()
            if delivery.given_up or self._cancelled:
                self._commands.in_hand.done(found)
            else:
                unfinished.add(found, delivery)
        for _, _, _, found in self._inbox:
            self._commands.in_hand.done(found)
        self._in_doubt.clear()
        self._unacknowledged.clear()
        self._inbox.clear()

    def close(self) -> None:
        """Send what is to be acknowledged, then close; messages that are not go back to the queue. Never raises."""
        sent = Event()
        deadline = self._clock.mono() + CLOSE_TIMEOUT_S
        try:
            self._connection.add_callback_threadsafe(sent.set)
            while not sent.is_set() and self._clock.mono() < deadline:
                self._connection.process_data_events(time_limit=0.1)
            self._send_replies()
            if self._tag is not None and self._channel.is_open:
                self._drop_channel()
            self._connection.close()
        except PIKA_ERRORS as error:
            _log.debug("the connection was closed before", queue=self.queue_name, reason=type(error).__name__)
        self._lost()


def _closed(error: BaseException) -> ConnectionClosed:
    """What makes Dramatiq come again after its restart delay."""
    return ConnectionClosed(error)  # type: ignore[no-untyped-call]


def _nothing() -> None:
    """A callback whose arrival is all it does."""
