"""The simulator as an object: start it on a free port, steer it from any thread, stop it.

    with Simulator(seed=7) as sim:
        account = sim.account("binance", key="K", secret="S")
        order = sim.place(account, "binance", symbol="BTCUSDT", side="BUY", quantity="0.25", price="61000")
        sim.fill(order.order_id, quantity="0.1")
        sim.fault("drop", venue="binance", feed="user")

Point a client at `sim.gateway` (`VENUE_GATEWAY`), or at `sim.url` + `/<venue host>`.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from simulator import control_api, controls
from simulator._values import Entry, Holding, Order, Side
from simulator._venue import Instant, Request, WorldSettings
from simulator.controls import Injected, OrderRef
from simulator.demo import Demo, DemoAccount
from simulator.engine import NewOrder
from simulator.faults import Fault
from simulator.firehose import Firehose
from simulator.hub import Hub
from simulator.script import Script, Step
from simulator.server import VenueServer, real_time
from simulator.tls import server_context

T = TypeVar("T")
Number = Decimal | str | int

CALL_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0


class Simulator:
    """All venues on one port, in a thread of its own. Every method may be called from any other thread.

    `settings` are the fields of `WorldSettings` (`seed`, `symbols`, `limits`, `match`, `tick_s`, `move` …).
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        tls: bool = False,
        venues: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.hub = Hub(WorldSettings(**settings), venues)
        self.host = host
        self.port = port
        self.tls = tls
        self.ca_file: Path | None = None
        """CA certificate to trust, while a TLS simulator runs."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: VenueServer | None = None
        self._stopping = asyncio.Event()

    # --- life ---

    def start(self) -> Self:
        """Listen; `port` is known afterwards. Raises OSError if the port is taken."""
        context = None
        if self.tls:
            self._folder = tempfile.TemporaryDirectory(prefix="simulator-")
            context, self.ca_file = server_context(Path(self._folder.name), self.hub.hosts)
        started: Future[int] = Future()
        self._server = VenueServer(self.hub, self.host, self.port, context)
        self._thread = threading.Thread(target=self._main, args=(started,), name="simulator", daemon=True)
        self._thread.start()
        try:
            self.port = started.result(CALL_TIMEOUT_S)
        except BaseException:
            self._clean()
            raise
        return self

    def _main(self, started: Future[int]) -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: Future[int]) -> None:
        server = self._server
        if server is None:
            return
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            started.set_result(await server.start())
        except Exception as problem:  # noqa: BLE001 - it is raised in the thread that called start()
            started.set_exception(problem)
            return
        await self._stopping.wait()
        await server.stop()

    def stop(self) -> None:
        """Drop every connection and end the thread. Harmless when it does not run."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_TIMEOUT_S)
            if self._thread.is_alive():
                raise TimeoutError("the simulator did not stop")
        self._clean()

    def _clean(self) -> None:
        self._thread = self._loop = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def gateway(self) -> str:
        """`host:port`, the value of `VENUE_GATEWAY`."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Base of HTTP addresses; the control API is below `/__control/`."""
        return f"{'https' if self.tls else 'http'}://{self.gateway}"

    @property
    def ws_url(self) -> str:
        """Base of WebSocket addresses."""
        return f"{'wss' if self.tls else 'ws'}://{self.gateway}"

    def call(self, work: Callable[[Hub, Instant], T]) -> T:
        """Run something on the simulator's thread and return its result; exceptions come through."""
        loop, server = self._loop, self._server
        if loop is None or server is None:
            return work(self.hub, real_time())
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work(self.hub, real_time()))
            except BaseException as problem:  # noqa: BLE001 - it is raised in the calling thread
                done.set_exception(problem)
            server.nudge()

        loop.call_soon_threadsafe(run)
        return done.result(CALL_TIMEOUT_S)

    # --- accounts and orders ---

    def account(
        self,
        venue: str,
        key: str,
        secret: str,
        passphrase: str = "",
        *,
        account_id: str = "",
        wallets: Mapping[str, Mapping[str, Decimal]] | None = None,
    ) -> str:
        """A new account; returns its id. `secret` may be the PEM text of a private or public key."""
        made = controls.api_key(key, secret, passphrase)
        return self.call(lambda hub, _: controls.add_account(hub, venue, made, account_id, wallets).account_id)

    def place(
        self,
        account: str,
        exchange: str,
        *,
        symbol: str,
        side: Side,
        quantity: Number = 0,
        price: Number = 0,
        order_type: str = "LIMIT",
        client_id: str = "",
        hold: bool = False,
        **more: Any,
    ) -> Order:
        """Place an order; `more` are further fields of `NewOrder`. Market orders fill at once unless `hold`."""
        new = NewOrder(
            symbol=symbol,
            side=side,
            quantity=Decimal(quantity),
            price=Decimal(price),
            order_type=order_type,
            client_id=client_id,
            **more,
        )
        return self.call(lambda hub, now: controls.place(hub, account, exchange, new, now, hold=hold))

    def fill(
        self, order_id: int, *, quantity: Number | None = None, price: Number | None = None, maker: bool = True
    ) -> Order:
        """Execute a part (`quantity`) or all that is left."""
        amount, at = _maybe(quantity), _maybe(price)
        ref = OrderRef(order_id=order_id)
        return self.call(lambda hub, now: controls.fill(hub, ref, now, quantity=amount, price=at, maker=maker))

    def cancel(self, order_id: int, *, request_id: str = "") -> Order:
        return self.call(lambda hub, now: controls.cancel(hub, OrderRef(order_id=order_id), now, request_id=request_id))

    def expire(self, order_id: int) -> Order:
        return self.call(lambda hub, now: controls.expire(hub, OrderRef(order_id=order_id), now))

    def reject(self, order_id: int, *, reason: str = "NONE") -> Order:
        return self.call(lambda hub, now: controls.reject(hub, OrderRef(order_id=order_id), now, reason=reason))

    def amend(
        self, order_id: int, *, quantity: Number | None = None, price: Number | None = None, client_id: str = ""
    ) -> Order:
        amount, at, ref = _maybe(quantity), _maybe(price), OrderRef(order_id=order_id)
        return self.call(lambda hub, now: controls.amend(hub, ref, now, quantity=amount, price=at, client_id=client_id))

    def modify(self, order_id: int, *, quantity: Number | None = None, price: Number | None = None) -> Order:
        """Change an open order as its venue does; where that makes a new order, the new one is returned."""
        amount, at, ref = _maybe(quantity), _maybe(price), OrderRef(order_id=order_id)
        return self.call(lambda hub, now: controls.modify(hub, ref, now, quantity=amount, price=at))

    def liquidate(
        self,
        account: str,
        exchange: str,
        symbol: str,
        *,
        side: Side | None = None,
        quantity: Number | None = None,
        fills: int = 1,
    ) -> Order:
        amount = _maybe(quantity)
        return self.call(
            lambda hub, now: controls.liquidate(
                hub, account, exchange, symbol, now, side=side, quantity=amount, fills=fills
            )
        )

    def transfer(self, account: str, exchange: str, asset: str, delta: Number, *, reason: str = "") -> Holding:
        """Deposit (or withdraw, when negative)."""
        amount = Decimal(delta)
        return self.call(lambda hub, now: controls.transfer(hub, account, exchange, asset, amount, now, reason=reason))

    # --- prices ---

    def set_price(self, exchange: str, symbol: str, price: Number) -> None:
        at = Decimal(price)
        self.call(lambda hub, now: controls.set_price(hub, exchange, symbol, at, now))

    def list_symbol(self, exchange: str, symbol: str, state: controls.Listing) -> None:
        """Take a symbol off its market, put it back, or make it one that has never traded."""
        self.call(lambda hub, _: controls.list_symbol(hub, exchange, symbol, state))

    def begin_candles(self, exchange: str, symbol: str, interval: str, behind: int) -> None:
        """Let candles that nobody asked for yet begin `behind` intervals ago; they stand still until they are closed."""
        self.call(lambda hub, now: controls.begin_candles(hub, exchange, symbol, interval, behind, now))

    def close_candle(self, exchange: str, symbol: str, interval: str) -> int:
        """Close the running candle now (`interval` canonical: `1m`); returns its opening time, ms."""
        return self.call(lambda hub, now: controls.close_candle(hub, exchange, symbol, interval, now))

    # --- faults ---

    def fault(
        self,
        kind: str,
        *,
        venue: str = "",
        host: str = "",
        account: str = "",
        feed: str = "",
        connection: int = 0,
        path: str = "",
        standing: bool = False,
        times: int | None = None,
        for_s: float = 0.0,
        **params: object,
    ) -> Injected:
        """Start a fault; kinds and parameters in the table of `simulator.faults`."""
        made = Fault(
            kind=kind,
            venue=venue,
            host=host,
            account=account,
            feed=feed,
            connection=connection,
            path=path,
            standing=standing,
            times=times,
            for_s=for_s,
            params={name: str(value) for name, value in params.items()},
        )
        return self.call(lambda hub, now: controls.inject(hub, made, now))

    def clear_faults(self) -> None:
        self.call(lambda hub, _: hub.faults.clear())

    def reject_key(self, account: str, code: str = "-2015") -> None:
        """Refuse the account's keys with the venue's own code, until `accept_key`."""
        self.fault("reject_key", account=account, code=code)

    def accept_key(self, account: str) -> None:
        self.fault("accept_key", account=account)

    def replace_key(self, account: str, key: str, secret: str, passphrase: str = "") -> None:
        self.fault("replace_key", account=account, key=key, secret=secret, passphrase=passphrase)

    # --- modes ---

    def demo(self, seed: int = 1) -> list[DemoAccount]:
        """Start demo mode; returns the accounts to log in with."""

        def begin(hub: Hub, _: Instant) -> list[DemoAccount]:
            demo = Demo(hub, seed=seed)
            hub.routines.append(demo)
            return demo.accounts()

        return self.call(begin)

    def firehose(self, rate: float, exchanges: Sequence[str] = ()) -> None:
        """Send all-market tickers at `rate` frames per second and market."""
        self.call(lambda hub, _: hub.routines.append(Firehose(hub, rate=rate, exchanges=exchanges)))

    def run_script(self, steps: Sequence[Step]) -> None:
        """Carry out a fault script from now on."""
        self.call(lambda hub, now: hub.routines.append(Script(hub, steps, now)))

    # --- looking ---

    def journal(self, since: int = 0) -> list[Entry]:
        """What happened to orders, oldest first: the oracle of tests."""
        return self.call(lambda hub, _: controls.journal(hub, since))

    def stats(self) -> dict[str, Any]:
        """Open sockets, connects, logins, subscriptions, REST calls (as `GET /__control/stats`)."""
        found: dict[str, Any] = self._look("stats")
        return found

    def connections(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._look("connections")
        return found

    def events(self, kind: str = "notes") -> list[dict[str, Any]]:
        """Newest rows of one kind: `upgrades`, `notes` or `calls`."""
        found: list[dict[str, Any]] = self._look("events", f"kind={kind}")
        return found

    def _look(self, name: str, query: str = "") -> Any:
        request = Request(method="GET", host="", path=f"{control_api.PREFIX}/{name}", query=query)
        return msgspec.json.decode(self.call(lambda hub, now: control_api.handle(hub, request, now)).body)

    def reset(self) -> None:
        """A new world with the same settings; every connection is dropped."""
        self.call(lambda hub, now: hub.reset(now))


def _maybe(number: Number | None) -> Decimal | None:
    return None if number is None else Decimal(number)
