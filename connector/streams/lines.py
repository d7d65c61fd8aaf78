"""The outgoing side of account streams: admit, encode once, submit, remember what is confirmed.

A *line* outlives sessions, so the tracker that keeps events from being published twice sees the events of every connection of
the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.messages import AccountMessage, PositionEvents, Sink, StreamClosed
from connector.core.metrics import METRICS
from connector.core.traces import TRACES
from connector.streams.line import Line
from connector.streams.messages import account_message
from connector.streams.positions import stamp_of
from connector.streams.tracker import Position, known_order
from exchanges._adapter import Emit, Resume
from exchanges._plausible import AHEAD_MS
from exchanges.events import (
    AccountPosition,
    AccountUpdate,
    BalanceUpdate,
    ExecutionReport,
    OrderTradeUpdate,
    PositionUpdate,
)
from exchanges.ids import family_of

log = get_logger(__name__)

OVERLAP_MS: Final = 5_000
"""Gap repair starts this much before the last moment that the stream was certainly live."""
MAX_HELD: Final = 20_000
MAX_ON_WAY: Final = 32
"""Orders of one account of which the state is kept until they are confirmed; that of others is read out of their bodies, so
that what waits on disk costs no memory for it."""
NO_ROOM: Final = "no sink took it"

ORDER_EVENTS: Final = frozenset({"executionReport", "ORDER_TRADE_UPDATE"})
POSITION_EVENT: Final = "positionUpdate"
_order_event = msgspec.json.Decoder(ExecutionReport | OrderTradeUpdate).decode
_position_event = msgspec.json.Decoder(PositionUpdate).decode

_GENUINE: Final = frozenset(
    {
        "executionReport",
        "outboundAccountPosition",
        "balanceUpdate",
        "ORDER_TRADE_UPDATE",
        "ACCOUNT_UPDATE",
        "ACCOUNT_CONFIG_UPDATE",
    }
)
"""Event types that prove a working key (contract 4.3)."""


class Lines:
    """Every line of a process. I/O threads call `account`, the owner and the supervisor the rest, sinks `confirmed`."""

    def __init__(
        self, sink: Sink, chance: Chance, wall_ms: Callable[[], int], positions: PositionEvents = "all"
    ) -> None:
        """`positions`: where those of the account go."""
        self._positions = positions
        self._sink, self._chance, self._wall_ms = sink, chance, wall_ms
        self._lines: dict[str, Line] = {}
        self._leaving: dict[str, Line] = {}
        self._after_reject: set[str] = set()
        self.on_genuine_event: Callable[[str], None] | None = None
        """Told once about the next event that proves a working key, after `watch_for_recovery`."""

    def __len__(self) -> int:
        return len(self._lines)

    def open(self, stream_id: str, exchange: str, position: Position | None, *, hold: bool = False) -> None:
        """Prepare a stream. `position` is where it stood in an earlier life; `hold` keeps its events back (`let_through`)."""
        line = self._lines.get(stream_id)
        if line is None or line.closed:
            line = self._lines[stream_id] = Line(exchange)
        with line.lock:
            if position is not None:
                line.load(position)
            if hold:
                line.held = []

    def close(self, stream_id: str, *, announce: bool) -> None:
        """Nothing is published for the stream from here on. `announce`: its last subscriber left (ZREM)."""
        line = self._lines.pop(stream_id, None)
        unconfirmed = line is not None and line.unconfirmed
        if line is not None:
            with line.lock:
                # An I/O thread that found the line before waits here, or has submitted: nothing follows the close.
                line.closed = True
        self._after_reject.discard(stream_id)
        if announce:
            self._sink.submit([StreamClosed(stream_id=stream_id, unconfirmed=unconfirmed)])

    def fence(self, stream_id: str) -> None:
        """Another process owns the stream: nothing more of it is taken until it is opened anew; the sinks drop the rest."""
        line = self._lines.get(stream_id)
        if line is not None:
            with line.lock:
                line.closed = True
            self._sink.revoke(stream_id)

    def fenced(self, stream_id: str) -> bool:
        line = self._lines.get(stream_id)
        return line is not None and line.closed

    def take(self, stream_id: str, live_until_ms: int) -> bytes | None:
        """Stop publishing for the stream and return its position, in one step (hand-over, drain).

        What was submitted before stays counted by `pending` until it is confirmed. None: the position that is saved stands,
        because this process did not publish yet (its events are held back) or nothing is known.
        """
        line = self._lines.pop(stream_id, None)
        if line is None:
            return None
        with line.lock:
            fenced, line.closed = line.closed, True
            if line.pending and not fenced:
                self._leaving[stream_id] = line
            if not live_until_ms or line.held is not None or fenced:
                return None
            return line.last_position(live_until_ms, self._wall_ms())

    def last_word(self, stream_id: str, position: bytes | None, *, out: bool, revoke: bool) -> bytes | None:
        """The position to leave behind after `take` gave `position` and waiting for confirmations came to its end.

        If something is still unconfirmed (the broker is away), it is what was confirmed instead: the next owner finds the
        rest by gap repair. `out`: whether every other sink has what it got; if not, the position that is saved stands (None),
        and the next owner tells everything since again, under the same ids. `revoke`: the sinks forget that rest, because the
        next owner runs already.
        """
        line = self._leaving.get(stream_id)
        pending = line.pending if line is not None else 0
        if out and not pending:
            return position
        if revoke:
            self._leaving.pop(stream_id, None)
            self._sink.revoke(stream_id)
        log.warning("a stream leaves with unconfirmed events", stream=stream_id, events=pending)
        if line is None or not out:
            return None
        with line.lock:
            return line.position(line.live_until_ms, self._wall_ms()) if line.live_until_ms else None

    def ends_unconfirmed(self, stream_id: str) -> bool:
        """The last subscriber of a stream leaves: whether the broker is away and has not all of it. Then its saved position
        stays for whoever runs the stream next, because what waits here is dropped if another process does."""
        line = self._lines.get(stream_id)
        if line is None or not line.pending or not line.live_until_ms or self._sink.status().connected:
            return False
        line.unconfirmed = not line.closed
        return line.unconfirmed

    def let_through(self, stream_id: str, position: Position | None, *, clean: bool = True) -> bool:
        """The former owner is done: take over what it published, then publish what was held back.

        If it died (`clean` False) its last position may be too old to know a balance delta that it published: deltas that
        were held back are dropped then, because the backend would add them twice (contract 2.2). Returns False if the sinks
        could not take everything.
        """
        line = self._lines.get(stream_id)
        if line is None:
            return True
        with line.lock:
            held, line.held = line.held or [], None
            if position is not None:
                line.load(position)
                line.outgoing.leave_out(position.told)
            for emit, mono in held:
                if not clean and isinstance(emit.event, BalanceUpdate):
                    continue
                if not self._publish(stream_id, line, emit, mono):
                    return False
            self._send_positions(line)
        return True

    def resume(self, stream_id: str, live_until_ms: int) -> Resume | None:
        line = self._lines.get(stream_id)
        if line is None:
            return None
        with line.lock:
            return line.tracker.resume(live_until_ms - OVERLAP_MS)

    def confirmed_until_ms(self, stream_id: str) -> int | None:
        """Until when all that the stream had is confirmed, as far as that was saved; None if it is not published here."""
        line = self._lines.get(stream_id)
        return None if line is None or line.closed else line.live_until_ms or line.began_ms

    def fall_back(self, stream_id: str, lost: int) -> None:
        """So many events of a stream will not be confirmed any more: what is not counts as not told, for a repair to find."""
        line = self._lines.get(stream_id)
        if line is not None:
            with line.lock:
                line.pending = max(0, line.pending - lost)
                line.tracker.fall_back(line.confirmed)

    def past_is_unknown(self, stream_id: str) -> None:
        """Nothing is known of where the account stood. The next position of the stream says so, too."""
        line = self._lines.get(stream_id)
        if line is not None:
            for tracker in (line.tracker, line.confirmed):
                tracker.past_unknown = tracker.behind = True

    def gap_was_read(self, stream_id: str, *, open_told: bool) -> None:
        """To its end: what was told before is known now. `open_told`: so is what was open then."""
        line = self._lines.get(stream_id)
        if line is not None:
            for tracker in (line.tracker, line.confirmed):
                tracker.behind = False
                tracker.past_unknown = tracker.past_unknown and not open_told

    def watch_for_recovery(self, stream_id: str) -> None:
        """Tell `on_genuine_event` about the next genuine account event of this stream, once."""
        self._after_reject.add(stream_id)

    def last_event_mono(self, stream_id: str) -> float | None:
        line = self._lines.get(stream_id)
        return line.last_event_mono if line is not None else None

    # --- events ---

    def account(self, emit: Emit, mono: float) -> bool:
        line = self._lines.get(emit.stream_id)
        if line is None:
            return True
        with line.lock:
            if line.closed:
                return True
            if isinstance(emit.event, PositionUpdate):
                self._publish_position(emit.stream_id, line, emit, mono)
                return True
            if line.held is not None:
                line.held.append((emit, mono))
                return len(line.held) < MAX_HELD
            return self._publish(emit.stream_id, line, emit, mono)

    def _publish(self, stream_id: str, line: Line, emit: Emit, mono: float) -> bool:
        """Under the line's lock: the order of submission is the order of the venue."""
        latest_ms = self._wall_ms() + AHEAD_MS
        if isinstance(emit.event, AccountPosition | AccountUpdate) and emit.event.event_time > latest_ms:
            METRICS.count("implausible_times_total", exchange=line.exchange, kind="balance")
        admitted = line.tracker.admit(emit.event, repaired=emit.repaired, latest_ms=latest_ms)
        if admitted is None:
            return True
        if emit.repaired and admitted.order is not None:
            METRICS.count("repaired_orders_total", venue=family_of(line.exchange))
        message = account_message(stream_id, line.exchange, admitted, mono, self._chance)
        line.pending += 1
        line.last_event_mono = mono
        if admitted.order is not None and len(line.on_way) < MAX_ON_WAY:
            line.on_way[message.event_id] = admitted.order
        if TRACES.on:
            TRACES.event(message, repaired=emit.repaired)
        taken = self._sink.submit([message])
        if not taken:
            TRACES.confirmed([message], NO_ROOM)
            # Not published: gap repair of the next session must find it again, and only it; what waits will go out.
            line.pending -= 1
            line.on_way.pop(message.event_id, None)
            line.tracker.take_back(admitted)
            log.error("an account event could not be queued", stream=stream_id, event_type=message.event_type)
        if stream_id in self._after_reject and message.event_type in _GENUINE and self.on_genuine_event is not None:
            self._after_reject.discard(stream_id)
            self.on_genuine_event(stream_id)
        return taken

    def _publish_position(self, stream_id: str, line: Line, emit: Emit, mono: float) -> None:
        """Behind everything else: where it finds no room, it waits here, and ends no session."""
        if self._positions == "none":
            return
        admitted = line.tracker.admit(emit.event, repaired=emit.repaired)
        if admitted is None or not isinstance(admitted.event, PositionUpdate):
            return
        message = account_message(stream_id, line.exchange, admitted, mono, self._chance)
        line.outgoing.put(admitted.event.key, msgspec.structs.replace(message, redis=self._positions == "all"))
        self._send_positions(line)

    def _send_positions(self, line: Line, *, all_of_them: bool = False) -> None:
        """Under the line's lock. Not before the former owner is done."""
        if line.held is not None:
            return
        for key, message in line.outgoing.ready(all_of_them=all_of_them):
            if not self._sink.submit([message]):
                return
            line.outgoing.sent(key)
            line.pending += 1
            if TRACES.on:
                TRACES.event(message, repaired=False)

    def send_waiting(self) -> None:
        """From time to time: the positions that found no room. Nothing while the receiver is away."""
        waiting = [line for line in list(self._lines.values()) if line.outgoing]
        if waiting and self._sink.status().connected:
            for line in waiting:
                with line.lock:
                    if not line.closed:
                        self._send_positions(line, all_of_them=True)

    # --- confirmations and positions ---

    def confirmed(self, messages: Sequence[AccountMessage]) -> None:
        """From the primary sink: these are safe."""
        if TRACES.on:
            TRACES.confirmed(messages)
        for message in messages:
            line = self._lines.get(message.stream_id) or self._leaving.get(message.stream_id)
            if line is None:
                continue
            with line.lock:
                order = line.on_way.pop(message.event_id, None)
                if order is None and message.event_type in ORDER_EVENTS:
                    order = known_order(_order_event(message.body))
                line.pending = max(0, line.pending - 1)
                if line.closed and not line.pending:
                    self._leaving.pop(message.stream_id, None)
                if message.event_type == POSITION_EVENT:
                    line.outgoing.confirmed()
                    line.confirmed.holdings.confirm(_position_event(message.body))
                    line.confirmed.holdings.note(message.event_id)
                else:
                    line.confirmed.confirm(message.event_id, order)
                line.dirty = True

    def dirty_positions(
        self,
        live_ms: Callable[[str], int | None],
        now_ms: int,
        every_ms: int,
        stream_ids: Sequence[str] | None = None,
    ) -> dict[str, bytes]:
        """Encoded positions that changed, or whose live time was saved longer than `every_ms` ago; of these streams only."""
        positions: dict[str, bytes] = {}
        for stream_id in list(self._lines) if stream_ids is None else stream_ids:
            line = self._lines.get(stream_id)
            if line is None or (not line.dirty and now_ms - line.saved_ms < every_ms):
                continue  # what changes now is found the next time
            with line.lock:
                stale = now_ms - line.saved_ms >= every_ms
                if (not line.dirty and not stale) or line.held is not None or line.closed:
                    continue
                until_ms = live_ms(stream_id)
                if until_ms is None and not line.dirty:
                    continue
                if line.pending or until_ms is None:
                    # Something is not confirmed yet: the live time must not pass it.
                    until_ms = line.live_until_ms
                if not until_ms:
                    continue
                positions[stream_id] = line.position(until_ms, now_ms)
                line.dirty = False
                if not line.pending:
                    line.saved_ms, line.live_until_ms = now_ms, until_ms
        return positions

    def current(self, positions: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those of the positions that are still the newest of a stream that goes on here."""
        found: dict[str, bytes] = {}
        for stream_id, position in positions.items():
            line = self._lines.get(stream_id)
            if line is not None:
                with line.lock:
                    if not line.closed and stamp_of(position) == line.stamp:
                        found[stream_id] = position
        return found

    def mark_dirty(self, stream_ids: Iterable[str]) -> None:
        """Positions that could not be saved: they are due again."""
        for stream_id in stream_ids:
            line = self._lines.get(stream_id)
            if line is not None:
                line.dirty = True

    def pending(self, stream_id: str) -> int:
        """Account messages of a stream that were submitted and are not confirmed yet."""
        line = self._leaving.get(stream_id) or self._lines.get(stream_id)
        return line.pending if line is not None else 0
