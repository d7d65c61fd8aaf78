"""HTTP control API under `/__control/`: JSON in, JSON out. Pure: the server hands requests in.

=========================== ==========================================================================================
`GET  /__control/`           this list
`GET  /__control/health`     `{"status":"ok"}`
`GET  /__control/stats`      open sockets, connects, logins, subscriptions, REST calls by path
`GET  /__control/events`     newest rows: `?kind=upgrades|notes|calls`
`GET  /__control/connections` open connections with their accounts
`GET  /__control/markets`    symbols and prices, `?exchange=`
`GET  /__control/journal`    order transitions, `?since=<seq>`
`GET  /__control/accounts`   accounts and balances (no secrets)
`POST /__control/accounts`   `{venue, key, secret, passphrase?, account_id?, wallets?}`
`GET  /__control/orders`     `?account=&exchange=`
`POST /__control/orders`     `{account, exchange, symbol, side, quantity, price?, order_type?, client_id?, hold? …}`
`POST /__control/fill`       `{order_id | account, exchange, client_id; quantity?, price?, maker?}`
`POST /__control/cancel`     same reference, `request_id?`; likewise `expire`, `reject` (`reason?`), `amend`,
                             and `modify`, which changes the order as its venue does
`POST /__control/liquidate`  `{account, exchange, symbol, side?, quantity?, fills?}`
`POST /__control/transfer`   `{account, exchange, asset, delta, reason?}`
`POST /__control/price`      `{exchange, symbol, price}`
`POST /__control/listing`    `{exchange, symbol, state}`: `delisted`, `listed` again, or `untraded` (all figures 0)
`POST /__control/candle`     `{exchange, symbol, interval}`: close the running candle now
`GET  /__control/faults`     the faults that wait
`POST /__control/faults`     `{kind, venue?, host?, account?, feed?, connection?, path?, standing?, times?, for_s?, params?}`
`DELETE /__control/faults`   all, or `?id=`
`POST /__control/demo`       `{accounts?, seconds?}` start, `DELETE` stop
`POST /__control/firehose`   `{rate, exchanges?}` start, `DELETE` stop
`POST /__control/reset`      forget everything, drop every connection
=========================== ==========================================================================================

Errors: 400 `{"error": …}` for what can't be done, 404 for unknown paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from simulator import controls
from simulator._values import Side
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.controls import OrderRef
from simulator.demo import Demo
from simulator.engine import NewOrder, Refused
from simulator.faults import Fault
from simulator.firehose import Firehose
from simulator.hub import Hub
from simulator.markets import wallets_from_text

PREFIX: Final = "/__control"


class AccountBody(msgspec.Struct, forbid_unknown_fields=True):
    venue: str
    key: str
    secret: str
    passphrase: str = ""
    account_id: str = ""
    wallets: dict[str, dict[str, str]] | None = None


class PlaceBody(NewOrder, frozen=True, kw_only=True):
    account: str
    exchange: str
    hold: bool = False


class ChangeBody(OrderRef, frozen=True, kw_only=True):
    quantity: Decimal | None = None
    price: Decimal | None = None
    maker: bool = True
    request_id: str = ""
    reason: str = "NONE"
    new_client_id: str = ""

    def ref(self) -> OrderRef:
        return OrderRef(order_id=self.order_id, account=self.account, exchange=self.exchange, client_id=self.client_id)


class LiquidateBody(msgspec.Struct):
    account: str
    exchange: str
    symbol: str
    side: Side | None = None
    quantity: Decimal | None = None
    fills: int = 1


class TransferBody(msgspec.Struct):
    account: str
    exchange: str
    asset: str
    delta: Decimal
    reason: str = ""


class PriceBody(msgspec.Struct):
    exchange: str
    symbol: str
    price: Decimal


class ListingBody(msgspec.Struct):
    exchange: str
    symbol: str
    state: controls.Listing


class CandleBody(msgspec.Struct):
    exchange: str
    symbol: str
    interval: str


class DemoBody(msgspec.Struct):
    seed: int = 1


class FirehoseBody(msgspec.Struct):
    rate: float
    exchanges: list[str] = []


class Empty(msgspec.Struct):
    pass


def _stats(hub: Hub, _: Request, __: Instant) -> Any:
    open_now: dict[str, int] = {}
    for link in hub.links.values():
        name = f"{link.venue}:{link.peer.feed or 'new'}"
        open_now[name] = open_now.get(name, 0) + 1
    return {"open": open_now, **hub.stats.as_json()}


def _events(hub: Hub, request: Request, _: Instant) -> Any:
    rows: Mapping[str, Sequence[Any]] = {
        "upgrades": hub.stats.upgrades,
        "notes": hub.stats.notes,
        "calls": hub.stats.calls,
    }
    found: Sequence[Any] = rows.get(request.params().get("kind", "notes"), hub.stats.notes)
    return list(found)


def _connections(hub: Hub, _: Request, __: Instant) -> Any:
    return [
        {
            "connection": link.link_id,
            "venue": link.venue,
            "host": link.host,
            "path": link.path,
            "feed": link.peer.feed,
            "accounts": sorted(link.accounts),
            "opened_ms": link.opened_ms,
        }
        for link in hub.links.values()
    ]


def _markets(hub: Hub, request: Request, _: Instant) -> Any:
    wanted = request.params().get("exchange")
    return {
        exchange: {quote.symbol.wire: str(quote.price) for quote in hub.world.markets.quotes(exchange)}
        for exchange in hub.world.markets.exchanges()
        if wanted in {None, exchange}
    }


def _journal(hub: Hub, request: Request, _: Instant) -> Any:
    return controls.journal(hub, int(request.params().get("since", "0")))


def _accounts(hub: Hub, _: Request, __: Instant) -> Any:
    return [
        {
            "account": account.account_id,
            "venue": account.venue,
            "keys": [key.key for key in account.keys],
            "wallets": {name: account.holdings(name) for name in account.ledger.wallets()},
        }
        for account in hub.world.engine.accounts()
    ]


def _orders(hub: Hub, request: Request, _: Instant) -> Any:
    params = request.params()
    return hub.world.engine.orders(params.get("account", ""), params.get("exchange", ""))


def _list_faults(hub: Hub, _: Request, now: Instant) -> Any:
    return hub.faults.all(now.mono)


def _clear_faults(hub: Hub, request: Request, _: Instant) -> Any:
    number = request.params().get("id")
    if number:
        return {"removed": hub.faults.remove(int(number))}
    hub.faults.clear()
    return {"removed": True}


def _no_demo(hub: Hub, _: Request, __: Instant) -> Any:
    hub.routines = [routine for routine in hub.routines if not isinstance(routine, Demo)]
    return {"running": False}


def _no_firehose(hub: Hub, _: Request, __: Instant) -> Any:
    hub.routines = [routine for routine in hub.routines if not isinstance(routine, Firehose)]
    return {"running": False}


def _reset(hub: Hub, _: Request, now: Instant) -> Any:
    hub.reset(now)
    return {"reset": True}


Reader = Callable[[Hub, Request, Instant], Any]
_READERS: Final[dict[tuple[str, str], Reader]] = {
    ("GET", "health"): lambda *_: {"status": "ok"},
    ("GET", "stats"): _stats,
    ("GET", "events"): _events,
    ("GET", "connections"): _connections,
    ("GET", "markets"): _markets,
    ("GET", "journal"): _journal,
    ("GET", "accounts"): _accounts,
    ("GET", "orders"): _orders,
    ("GET", "faults"): _list_faults,
    ("DELETE", "faults"): _clear_faults,
    ("DELETE", "demo"): _no_demo,
    ("DELETE", "firehose"): _no_firehose,
    ("POST", "reset"): _reset,
}


def _add_account(hub: Hub, body: AccountBody, _: Instant) -> Any:
    key = controls.api_key(body.key, body.secret, body.passphrase)
    wallets = wallets_from_text(body.wallets) if body.wallets is not None else None
    return {"account": controls.add_account(hub, body.venue, key, body.account_id, wallets).account_id}


def _place(hub: Hub, body: PlaceBody, now: Instant) -> Any:
    return controls.place(hub, body.account, body.exchange, body, now, hold=body.hold)


def _fill(hub: Hub, body: ChangeBody, now: Instant) -> Any:
    return controls.fill(hub, body.ref(), now, quantity=body.quantity, price=body.price, maker=body.maker)


def _cancel(hub: Hub, body: ChangeBody, now: Instant) -> Any:
    return controls.cancel(hub, body.ref(), now, request_id=body.request_id)


def _amend(hub: Hub, body: ChangeBody, now: Instant) -> Any:
    return controls.amend(hub, body.ref(), now, quantity=body.quantity, price=body.price, client_id=body.new_client_id)


def _modify(hub: Hub, body: ChangeBody, now: Instant) -> Any:
    return controls.modify(hub, body.ref(), now, quantity=body.quantity, price=body.price)


def _liquidate(hub: Hub, body: LiquidateBody, now: Instant) -> Any:
    return controls.liquidate(
        hub, body.account, body.exchange, body.symbol, now, side=body.side, quantity=body.quantity, fills=body.fills
    )


def _transfer(hub: Hub, body: TransferBody, now: Instant) -> Any:
    return controls.transfer(hub, body.account, body.exchange, body.asset, body.delta, now, reason=body.reason)


def _price(hub: Hub, body: PriceBody, now: Instant) -> Any:
    controls.set_price(hub, body.exchange, body.symbol, body.price, now)
    return {"price": str(body.price)}


def _listing(hub: Hub, body: ListingBody, _: Instant) -> Any:
    controls.list_symbol(hub, body.exchange, body.symbol, body.state)
    return {"state": body.state}


def _candle(hub: Hub, body: CandleBody, now: Instant) -> Any:
    return {"start_ms": controls.close_candle(hub, body.exchange, body.symbol, body.interval, now)}


def _demo(hub: Hub, body: DemoBody, now: Instant) -> Any:
    _no_demo(hub, Request(method="DELETE", host="", path=""), now)
    demo = Demo(hub, seed=body.seed)
    hub.routines.append(demo)
    return {"accounts": demo.accounts()}


def _firehose(hub: Hub, body: FirehoseBody, now: Instant) -> Any:
    _no_firehose(hub, Request(method="DELETE", host="", path=""), now)
    hub.routines.append(Firehose(hub, rate=body.rate, exchanges=body.exchanges))
    return {"running": True}


Writer = Callable[[Hub, Any, Instant], Any]
_WRITERS: Final[dict[str, tuple[type[Any], Writer]]] = {
    "accounts": (AccountBody, _add_account),
    "orders": (PlaceBody, _place),
    "fill": (ChangeBody, _fill),
    "cancel": (ChangeBody, _cancel),
    "expire": (ChangeBody, lambda hub, body, now: controls.expire(hub, body.ref(), now)),
    "reject": (ChangeBody, lambda hub, body, now: controls.reject(hub, body.ref(), now, reason=body.reason)),
    "amend": (ChangeBody, _amend),
    "modify": (ChangeBody, _modify),
    "liquidate": (LiquidateBody, _liquidate),
    "transfer": (TransferBody, _transfer),
    "price": (PriceBody, _price),
    "listing": (ListingBody, _listing),
    "candle": (CandleBody, _candle),
    "faults": (Fault, controls.inject),
    "demo": (DemoBody, _demo),
    "firehose": (FirehoseBody, _firehose),
}


def exists(method: str, name: str) -> bool:
    """Whether there is such a call."""
    return (method, name) in _READERS or (method == "POST" and name in _WRITERS)


def handle(hub: Hub, request: Request, now: Instant) -> Reply:
    """One request; `request.path` still has the prefix."""
    name = request.path.removeprefix(PREFIX).strip("/")
    if not name:
        return Reply(200, (__doc__ or "").encode(), {"Content-Type": "text/plain; charset=utf-8"})
    reader = _READERS.get((request.method, name))
    writer = _WRITERS.get(name) if request.method == "POST" else None
    try:
        if reader is not None:
            return json_reply(reader(hub, request, now))
        if writer is not None:
            body = msgspec.json.decode(request.body or b"{}", type=writer[0], strict=False)
            return json_reply(writer[1](hub, body, now))
    except (Refused, ValueError, KeyError) as problem:
        return json_reply({"error": str(problem)}, 400)
    return json_reply({"error": f"no {request.method} {request.path}"}, 404)
