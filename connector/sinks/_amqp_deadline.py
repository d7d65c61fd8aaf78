"""A process's time is up while messages are on their way: they must not arrive behind what its successor publishes."""

from __future__ import annotations

import math
from collections.abc import Callable

from connector.sinks._amqp_link import AmqpLink
from connector.sinks._amqp_ports import Turning
from connector.sinks._common import HOLD_S
from connector.sinks._durable_lane import DurableLane


class Deadline:
    """The publisher's loop only."""

    def __init__(self, lane: DurableLane, in_flight: Callable[[], bool]) -> None:
        """`in_flight`: whether anything is not confirmed yet."""
        self._lane, self._in_flight = lane, in_flight
        self._loop: Turning | None = None
        self._watching = False

    def begin(self, loop: Turning) -> None:
        """The publisher is turned by this loop from here on."""
        self._loop, self._watching = loop, False

    def watch(self, link: AmqpLink) -> None:
        """Something was sent over this link: if it is not confirmed when the time is up, the link ends, and what did not
        arrive never does."""
        left_s = self._lane.permitted()
        if not self._watching and self._loop is not None and left_s < math.inf:
            self._watching = True
            # A moment more, for confirms that are there already and for the beat of a process that stood still.
            self._loop.call_later(left_s + HOLD_S, lambda: self._due(link))

    def _due(self, link: AmqpLink) -> None:
        self._watching = False
        if not self._in_flight():
            return
        if self._lane.permitted() > 0:
            self.watch(link)
        else:
            link.abort("not confirmed in this process's time")
