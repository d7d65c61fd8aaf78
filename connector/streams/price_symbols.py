"""Whose prices are published: `PRICE_SYMBOLS` (patterns) and `SYMBOLS_FROM` (what the exchange service lists).

Prices only: account events tell every symbol, and a candle that somebody asks for is served.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.core.symbol_patterns import EVERY, Patterns
from connector.streams.rest import Rest
from exchanges._adapter import Answer, Call
from exchanges.instruments import SymbolTable

log = get_logger(__name__)

REFRESH_S: Final = 900.0
RETRY_S: Final = 20.0
TIMEOUT_S: Final = 10.0
MAX_KNOWN: Final = 20_000
"""Symbols of an exchange whose verdict is remembered."""

Allows = Callable[[str], bool]


class _Row(msgspec.Struct):
    pair: str


class _Listed(msgspec.Struct):
    status: str
    data: list[_Row] | None = None


class PriceSymbols:
    """Any thread. `on_change(exchange)` is called from a REST thread when the exchange service lists other symbols."""

    def __init__(
        self, rest: Rest, clock: Clock, patterns: Mapping[str, Patterns], service_url: str = "", *, listed: bool = False
    ) -> None:
        """`listed`: only what the exchange service lists, from its first answer on; until then everything."""
        self._rest, self._clock, self._patterns = rest, clock, patterns
        self._service_url = service_url.rstrip("/")
        self._listed_only = listed
        self._lock = threading.Lock()
        self._listed: dict[str, frozenset[str]] = {}
        self._due: dict[str, float] = {}
        self._known: dict[str, dict[str, bool]] = {}
        self.on_change: Callable[[str], None] | None = None

    def allows(self, exchange: str) -> Allows | None:
        """The test of a pair id; None = every symbol of the exchange is published."""
        if not self._patterns and not self._listed_only:
            return None
        if self._listed_only and exchange not in self._due:
            self._ask(exchange)
        return partial(self._allow, exchange)

    def version(self, exchange: str) -> int:
        """Another number whenever other symbols may pass."""
        return hash(self._listed.get(exchange))

    def of(self, exchange: str, table: SymbolTable) -> SymbolTable:
        """The table without the symbols that don't pass."""
        allows = self.allows(exchange)
        if allows is None or not len(table):
            return table
        return SymbolTable([item for item in table if allows(item.pair)], table.loaded_at_ms)

    def sweep(self) -> None:
        """Ask for the lists that are due."""
        now = self._clock.mono()
        for exchange in [exchange for exchange, due in list(self._due.items()) if due <= now]:
            self._ask(exchange)

    def _allow(self, exchange: str, pair: str) -> bool:
        known = self._known.get(exchange)
        if known is None:
            known = self._known[exchange] = {}
        verdict = known.get(pair)
        if verdict is None:
            if len(known) >= MAX_KNOWN:
                known.clear()
            verdict = known[pair] = self._judge(exchange, pair)
        return verdict

    def _judge(self, exchange: str, pair: str) -> bool:
        patterns = self._patterns.get(exchange) or self._patterns.get(EVERY)
        if patterns is not None and not patterns.allow(pair):
            return False
        listed = self._listed.get(exchange)
        return listed is None or pair in listed

    def _ask(self, exchange: str) -> None:
        with self._lock:
            self._due[exchange] = self._clock.mono() + RETRY_S
        url = f"{self._service_url}/exchange/all?exchange={exchange}"
        call = Call(tag="exchange service symbols", method="GET", url=url, timeout_s=TIMEOUT_S)
        self._rest.submit(call, "exchange-service", "", None, partial(self._answered, exchange))

    def _answered(self, exchange: str, answer: Answer) -> None:
        rows = _rows(answer)
        if rows is None:
            why = answer.error or f"HTTP {answer.status}"
            log.warning("the exchange service lists no symbols; asked again", exchange=exchange, reason=why)
            return
        listed = frozenset(rows)
        with self._lock:
            self._due[exchange] = self._clock.mono() + REFRESH_S
            changed = self._listed.get(exchange) != listed
            self._listed[exchange] = listed
            self._known.pop(exchange, None)
        if changed:
            log.info("prices of the symbols that the exchange service lists", exchange=exchange, symbols=len(listed))
            if self.on_change is not None:
                self.on_change(exchange)


def _rows(answer: Answer) -> Sequence[str] | None:
    """The pair ids of an answer; None if it lists none."""
    try:
        parsed = msgspec.json.decode(answer.body, type=_Listed) if answer.status == 200 else None
    except msgspec.DecodeError:
        return None
    return [row.pair for row in parsed.data] if parsed is not None and parsed.status == "OK" and parsed.data else None
