"""What a command does: change the wanted state, then wake whoever has to act on it."""

from __future__ import annotations

import json

from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.messages import StreamClosed
from connector.core.ports import Applied, CandleKey
from connector.core.traces import TRACES
from connector.streams.accounts import Accounts
from connector.streams.engine import Engine
from exchanges import venue_of
from exchanges.ids import real_id
from tasks.commands import CandleRequest, CloseStream, Command, OpenStream, RestartStream

log = get_logger(__name__)


class Service:
    """The `CommandService` of one process. Worker threads, in order per stream; never waits for a venue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.state
        self._told: set[tuple[str, str, str]] = set()

    def apply(self, command: Command, nonce: str = "", copy: Copy | None = None) -> object:
        """Carry out one command; the reply's value is always null. Raises `StateUnavailable` if it is not known to have
        taken effect; called again with the same `nonce` it counts once."""
        with TRACES.command(command.name, getattr(command, "stream_id", None), nonce):
            match command:
                case OpenStream():
                    self._open(command, nonce, copy)
                case CloseStream(stream_id):
                    self._close(stream_id, nonce, copy)
                case RestartStream(stream_id):
                    for one in [stream_id] if stream_id is not None else sorted(self._state.wanted_ids()):
                        self._restart(one, self._state.restart(one, nonce=nonce and f"{nonce}:{one}"))
                case CandleRequest():
                    self._candle(command)
        return None

    def reconcile(self, stream_id: str) -> None:
        self._state.notify("*", _reconcile(stream_id))

    def _open(self, command: OpenStream, nonce: str, copy: Copy | None) -> None:
        exchange = command.exchange
        if venue_of(exchange) is None:
            log.warning("open dropped: this exchange has no stream here", exchange=exchange, stream=command.stream_id)
            return
        if not self._engine.enabled(exchange):
            log.info("open dropped: the exchange is switched off", exchange=exchange, real=real_id(exchange))
            return
        now_ms = self._engine.clock.wall_ms()
        applied = self._state.open(
            command.stream_id, exchange, command.user_id, command.credentials, now_ms, nonce=nonce, copy=copy
        )
        if not applied.changed and self._engine.breaker.blocked_until_ms(command.stream_id, command.credentials.digest):
            self._engine.breaker.skipped(command.stream_id)
        self._wake(command.stream_id, applied)

    def _close(self, stream_id: str, nonce: str, copy: Copy | None) -> None:
        applied = self._state.close(stream_id, nonce=nonce, copy=copy)
        if applied.wanted is None and applied.owner != self._engine.owner:
            # Also for an unknown id (contract 1.4), and where an owner is known: it may be dead and say nothing any more.
            self._engine.pipeline.submit([StreamClosed(stream_id=stream_id)])
        self._wake(stream_id, applied)

    def _restart(self, stream_id: str, applied: Applied) -> None:
        if applied.wanted is None:
            # Redis may have forgotten it: whoever runs it writes it again.
            self.reconcile(stream_id)
        self._wake(stream_id, applied)

    def _candle(self, command: CandleRequest) -> None:
        key = CandleKey(exchange=command.exchange, symbol=command.symbol, interval=command.interval)
        refusal = self._refusal(key)
        if refusal is not None:
            told = (key.exchange, key.symbol, key.interval)
            if told not in self._told and len(self._told) < 10_000:
                self._told.add(told)
                log.warning("candle request refused", exchange=key.exchange, symbol=key.symbol, reason=refusal)
            return
        if self._state.add_candle(key):
            self._state.notify("*", f"candle:{key.exchange}")

    def _refusal(self, key: CandleKey) -> str | None:
        """Why a candle request can't be served by this deployment, or None."""
        venue = venue_of(key.exchange)
        if venue is None or "candle" not in venue.feeds:
            return "this exchange has no candles"
        if not self._engine.enabled(key.exchange):
            return "the exchange is switched off by the admin config"
        table = self._engine.instruments.table(key.exchange)
        return venue.candle_refusal(key.exchange, key.symbol, key.interval, table)

    def _wake(self, stream_id: str, applied: Applied) -> None:
        """Tell the owner, or everybody if there is none. A lost notification is made up for by the next sweep.

        The owner hears of every count: it writes the stream again when Redis forgets it.
        """
        if not applied.changed and applied.owner is None:
            return
        if applied.owner == self._engine.owner and isinstance(self._engine.units, Accounts):
            self._engine.units.reconcile(stream_id)
            return
        try:
            self._state.notify(applied.owner or "*", _reconcile(stream_id))
        except StateUnavailable:
            log.debug("nobody was told; the sweep finds it", stream=stream_id)


def _reconcile(stream_id: str) -> str:
    """The notification: what is wanted of this stream may have changed."""
    return json.dumps({"t": "reconcile", "id": stream_id, **TRACES.carried(stream_id)})
