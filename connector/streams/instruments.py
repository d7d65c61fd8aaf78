"""Symbol tables, one per exchange id, loaded in the background and refreshed; shared by all sessions of a process.

Nothing waits for a table (bug C8): adapters work with the table that is there; whoever needs symbols is told when it comes.
The venue's own list is the source, because only it has wire codes, product types and contract sizes; the platform's exchange
service fills in when the venue's list can't be had (contract section 6).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.rest import Rest
from exchanges import venue_of
from exchanges._adapter import Answer, Call
from exchanges._venue import InstrumentLoader
from exchanges.ids import family_of
from exchanges.instruments import EMPTY, Instrument, SymbolTable

log = get_logger(__name__)

REFRESH_S: Final = 900.0
RETRY_S: Final = 20.0
SERVICE_TIMEOUT_S: Final = 10.0


class _Asset(msgspec.Struct):
    name: str = ""


class _ServiceRow(msgspec.Struct, rename="camel"):
    pair: str
    code: str | None = None
    base_asset: _Asset = msgspec.field(default_factory=_Asset)
    quote_asset: _Asset = msgspec.field(default_factory=_Asset)


class _ServiceAnswer(msgspec.Struct):
    status: str
    data: list[_ServiceRow] | None = None


class _Load:
    """One run of a venue's loader, and how many of its calls are not answered yet."""

    __slots__ = ("loader", "outstanding")

    def __init__(self, loader: InstrumentLoader, outstanding: int) -> None:
        self.loader, self.outstanding = loader, outstanding


class Instruments:
    """Any thread. From a REST thread: `on_answer(exchange, answer)` with each answer of a venue, before it is read, and
    `on_table(exchange)` after a table changed."""

    def __init__(
        self,
        rest: Rest,
        clock: Clock,
        options: Mapping[str, str],
        service_url: str = "",
        on_table: Callable[[str], None] | None = None,
        egress: Callable[[str], Sequence[str]] = lambda _: ("",),
    ) -> None:
        """`egress`: by which ways a venue can be asked now, the first one first."""
        self._egress = egress
        self._rest, self._clock, self._options = rest, clock, options
        self._service_url = service_url.rstrip("/")
        self.on_table = on_table
        self.on_answer: Callable[[str, Answer], None] = lambda _exchange, _answer: None
        self._lock = threading.Lock()
        self._tables: dict[str, SymbolTable] = {}
        self._due: dict[str, float] = {}
        self._loading: dict[str, _Load | None] = {}
        """Exchanges whose list is being loaded; None while the loader is made."""

    def table(self, exchange: str) -> SymbolTable:
        """The current table; empty while it loads the first time. Starts the load on first use."""
        table = self._tables.get(exchange)
        if table is None and exchange not in self._due:
            self.refresh(exchange)
        return table if table is not None else EMPTY

    def refresh(self, exchange: str) -> None:
        """Load the list of an exchange now, unless it is being loaded."""
        venue = venue_of(exchange)
        if venue is None:
            return
        with self._lock:
            if exchange in self._loading:
                return
            self._loading[exchange] = None
            self._due[exchange] = self._clock.mono() + REFRESH_S
        try:
            loader = venue.instruments(exchange, self._options, self._tables.get(exchange, EMPTY))
            calls = list(loader.start())
        except Exception:
            log.exception("the symbol list can't be asked for", exchange=exchange)
            self._failed(exchange)
            return
        load = _Load(loader, len(calls))
        with self._lock:
            if not calls:
                del self._loading[exchange]
                return
            self._loading[exchange] = load
        self._issue(exchange, load, calls)

    def sweep(self) -> None:
        """Refresh what is due (scheduler job)."""
        now = self._clock.mono()
        for exchange, due in list(self._due.items()):
            if due <= now:
                self.refresh(exchange)

    def _issue(self, exchange: str, load: _Load, calls: list[Call]) -> None:
        venue = venue_of(exchange)
        limits = venue.limits(exchange, "ticker") if venue is not None else None
        family = family_of(exchange)
        for call in calls:
            done = partial(self._answered, exchange, load, call)
            self._rest.submit(call, family, self._egress(family)[0], limits, done)

    def _answered(self, exchange: str, load: _Load, call: Call, answer: Answer) -> None:
        self.on_answer(exchange, answer)
        result = None
        try:
            with self._lock:
                if self._loading.get(exchange) is not load:
                    return  # given up already
                calls = list(load.loader.answered(call, answer))
                load.outstanding += len(calls) - 1
                done = load.outstanding <= 0
                if done:
                    result = load.loader.result()
                    del self._loading[exchange]
        except Exception:
            log.exception("a symbol list can't be understood", exchange=exchange, call=call.tag)
            self._failed(exchange)
            return
        if not done:
            self._issue(exchange, load, calls)
        elif result is not None:
            self._store(exchange, SymbolTable(result, self._clock.wall_ms()))
        else:
            why = answer.error or f"HTTP {answer.status}"
            log.warning("the venue's symbol list could not be loaded", exchange=exchange, reason=why)
            self._failed(exchange)

    def _failed(self, exchange: str) -> None:
        """Try again soon; meanwhile the platform's service may help out."""
        with self._lock:
            self._loading.pop(exchange, None)
            self._due[exchange] = self._clock.mono() + RETRY_S
        if self._service_url and exchange not in self._tables:
            self._ask_service(exchange)

    def _ask_service(self, exchange: str) -> None:
        url = f"{self._service_url}/exchange/all?exchange={exchange}"
        if family_of(exchange) == "okx" and self._options.get("OKX_EU_ONLY", "").lower() in {"true", "1"}:
            url += "&okxsource=my"
        call = Call(tag="exchange service symbols", method="GET", url=url, timeout_s=SERVICE_TIMEOUT_S)
        self._rest.submit(call, "exchange-service", "", None, partial(self._service_answered, exchange))

    def _service_answered(self, exchange: str, answer: Answer) -> None:
        try:
            parsed = msgspec.json.decode(answer.body, type=_ServiceAnswer) if answer.status == 200 else None
        except msgspec.DecodeError as error:
            log.warning("the exchange service's answer can't be read", exchange=exchange, error=str(error))
            return
        if parsed is None or parsed.status != "OK" or not parsed.data:
            log.warning("the exchange service has no symbols", exchange=exchange, status=answer.status)
            return
        rows = [
            Instrument(wire=row.code or row.pair, pair=row.pair, base=row.base_asset.name, quote=row.quote_asset.name)
            for row in parsed.data
        ]
        if exchange not in self._tables:
            self._store(exchange, SymbolTable(rows, self._clock.wall_ms()))

    def _store(self, exchange: str, table: SymbolTable) -> None:
        before = self._tables.get(exchange)
        self._tables[exchange] = table
        METRICS.gauge("symbols", len(table.active()), exchange=exchange, kind="expected")
        if before is None or len(before) != len(table):
            log.info("symbols loaded", exchange=exchange, symbols=len(table), active=len(table.active()))
        if self.on_table is not None:
            self.on_table(exchange)
