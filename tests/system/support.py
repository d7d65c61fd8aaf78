"""Accounts, orders and expectations that the system tests share."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.normalise import normalise
from exchanges import venue_of
from exchanges._adapter import Instant
from exchanges.ids import FAMILIES, LIVE, PAPER_TO_REAL, family_of, is_paper, real_id
from harness.backend import USER_QUEUE
from harness.servers import wait_for
from harness.stack import Stack
from harness.taps import Delivered, replayable
from simulator._values import Entry, Order, Symbol
from simulator.venues import halves

USER_ID = "64f0c2a9b1d3e4f5a6b7c8d9"
WAIT_S = 40.0
"""Patience of every wait; the machine may be busy."""

LIVE_IDS = sorted(exchange for exchange in LIVE if venue_of(exchange) and family_of(exchange) in halves())
PAPER_IDS = sorted(PAPER_TO_REAL)
CLOSED_CANDLES = ("binance", "bybit", "okx")
"""Families whose candles are published once, closed (contract 2.7)."""

PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)
"""The private key of all Coinbase accounts of this run; their key names differ."""

_numbers = itertools.count(1)


# --- accounts ---


@dataclass(frozen=True)
class Keys:
    key: str
    secret: str
    passphrase: str = ""

    @property
    def api(self) -> dict[str, object]:
        """The optional fields of an open command."""
        fields: dict[str, object] = {"passphrase": self.passphrase} if self.passphrase else {}
        return fields | ({"keysType": "cloud"} if self.key.startswith("organizations/") else {})


def new_keys(stack: Stack, venue: str) -> Keys:
    """Credentials of the kind that a venue gives out, each with a canary in it."""
    canaries = stack.evidence.canaries
    if venue == "coinbase":
        return Keys(f"organizations/{canaries.secret()}/apiKeys/{canaries.secret()}", canaries.register(PEM))
    if venue == "hyperliquid":  # the account's address is the key, and there is no secret
        return Keys(canaries.register(f"0x{secrets.token_hex(20)}"), "")
    phrase = canaries.secret("P") if venue in {"okx", "kucoin", "bitget"} else ""
    # Kraken's secrets are base64, which a canary of this length is, too.
    return Keys(canaries.secret("K"), canaries.secret("SSS" if venue == "kraken" else "S"), phrase)


@dataclass
class Stream:
    """One account stream of a test: what its bots do, and what came of it."""

    stack: Stack
    uuid: str
    exchange: str
    keys: Keys
    account: str
    opens: int = 0

    # --- commands ---

    def open(self, keys: Keys | None = None) -> None:
        keys = keys or self.keys
        self.stack.backend.open(self.uuid, self.exchange, keys.key, keys.secret, **keys.api)
        self.opens += 1

    def close(self) -> None:
        self.stack.backend.close_stream(self.uuid)
        self.opens -= 1

    def restart(self) -> None:
        self.stack.backend.restart(self.uuid)

    # --- the venue's side ---

    @property
    def symbol(self) -> Symbol:
        exchange = real_id(self.exchange)
        return self.stack.simulator.call(lambda hub, _: hub.world.markets.symbols(exchange)[0])

    def place(self, client_id: str | None = None) -> Order:
        """A limit order that rests."""
        symbol = self.symbol
        quantity = Decimal(4) if symbol.contract_size != 1 or not symbol.quantity_decimals else Decimal("0.4")
        return self.stack.simulator.place(
            self.account,
            real_id(self.exchange),
            symbol=symbol.wire,
            side="BUY",
            quantity=quantity,
            price="60000",
            client_id=client_id or f"DBO{next(_numbers):06d}",
        )

    def links(self) -> list[int]:
        return [row["connection"] for row in self.stack.links_of(self.uuid)]

    # --- what came of it ---

    @property
    def infos(self) -> int:
        return self.stack.backend.infos(self.uuid)

    def events(self) -> list[dict[str, Any]]:
        return self.stack.backend.events(self.uuid)

    def order_events(self, client_id: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if client_id_of(event) == client_id]

    def amqp_messages(self) -> list[Delivered]:
        return self.stack.events.user(self.uuid)

    def amqp_events(self) -> list[Delivered]:
        """Those that are on both sinks."""
        return [message for message in self.amqp_messages() if message.kind != POSITION_EVENT]

    def positions(self) -> list[dict[str, Any]]:
        return [message.json() for message in self.amqp_messages() if message.kind == POSITION_EVENT]

    def held_contracts(self) -> Decimal:
        """The venue's position in the symbol of `place`."""
        held = self.stack.simulator.call(
            lambda hub, _: hub.world.engine.account(self.account).positions(real_id(self.exchange))
        )
        return next((one.amount for one in held if one.symbol == self.symbol.wire), Decimal(0))

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
        wait_for(condition, timeout_s, f"{self.exchange}: {what}")

    def wait_live(self, infos: int = 1) -> None:
        self.wait(lambda: self.infos >= infos, f"announcement number {infos}")

    def prove_live(self) -> str:
        """Place an order and wait for it on both sinks; everything published earlier has arrived by then."""
        client_id = self.place().client_id
        self.wait(lambda: self.order_events(client_id), "an order event on Redis")
        self.wait(
            lambda: any(client_id_of(message.json()) == client_id for message in self.amqp_events()),
            "an order event on RabbitMQ",
        )
        return client_id

    def wait_closed(self) -> None:
        self.wait(lambda: not self.links() and self.stack.score(self.uuid) is None, "closing")


class Accounts:
    """Makes streams with accounts of their own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._made: list[Stream] = []

    def __call__(self, exchange: str) -> Stream:
        """A stream that is not open yet."""
        venue = "paper" if is_paper(exchange) else family_of(exchange)
        uuid = f"{next(_numbers):08x}-5a0f-4c0a-9a5e-{exchange.lower()[:12]}"
        keys = new_keys(self._stack, venue)
        account = self._stack.account(venue, uuid, keys.key, keys.secret, keys.passphrase)
        stream = Stream(self._stack, uuid, exchange, keys, account)
        self._made.append(stream)
        return stream

    def live(self, exchange: str) -> Stream:
        stream = self(exchange)
        stream.open()
        stream.wait_live()
        return stream

    def close(self) -> None:
        """Close what tests left open, and wait for it."""
        for stream in self._made:
            for _ in range(stream.opens):
                stream.close()
        for stream in self._made:
            stream.wait_closed()
        self._made.clear()


# --- what the start looked like ---


@dataclass
class Startup:
    """What tests have to tell later ones."""

    consumers: dict[str, int] = field(default_factory=dict)
    """Consumers that a command queue had at the moment of its role's announcement."""
    due_fields: list[str] = field(default_factory=list)
    """Fields of the `orders` hash whose time has come."""

    def watch(self, stack: Stack) -> Callable[[str, str], None]:
        def seen(channel: str, text: str) -> None:
            if channel == "serviceLog" and '"restart"' in text:
                role = json.loads(text)["restart"]
                queue = USER_QUEUE if role == "userStream" else "candlesRequests"
                self.consumers.setdefault(role, stack.consumers(queue))

        return seen


# --- expectations ---


POSITION_EVENT = "positionUpdate"


def tells_positions(exchange: str) -> bool:
    """Derivatives, but for the paper server, which tells none."""
    return not is_paper(exchange) and exchange not in FAMILIES and exchange != "binanceUS"


def client_id_of(event: dict[str, Any]) -> str | None:
    """The key under which the backend finds the order (contract 2.1)."""
    if event.get("orderStatus") == "CANCELED" and "originalClientOrderId" in event:
        return event["originalClientOrderId"]
    return event.get("newClientOrderId") or event.get("clientOrderId")


def totals(exchange: str, entry: Entry, price: Decimal) -> tuple[Decimal, Decimal | None]:
    """Executed quantity and value of a journal entry, in the units that the backend expects (contract 2.1)."""
    if exchange in {"binanceUsdm", "binanceCoinm"}:
        return entry.executed, None
    if exchange == "bybitInverse":
        return entry.value, entry.executed
    if exchange in {"okxLinear", "okxInverse", "kucoinLinear", "kucoinInverse"}:
        return entry.executed, entry.executed * price
    return entry.executed, entry.value


def same_number(found: str, expected: Decimal) -> bool:
    """Equal up to the digits of a double, in which the paper server counts."""
    return abs(Decimal(found) - expected) <= abs(expected) * Decimal("1e-12")


def mapped_frames(stream: Stream) -> list[dict[str, Any]]:
    """The events that the frames sent to this account become, by `connector normalise`, repetitions left out."""
    frames = stream.stack.frames.user(stream.account)
    names = context_of(stream.stack, stream.exchange)
    if stream.exchange == "krakenUsdm":  # an API key of the simulator opens Kraken's derivatives on the unified socket
        names["route"] = "unified"
    prior: list[msgspec.Raw] = []
    events: list[dict[str, Any]] = []
    seen: set[tuple[object, ...]] = set()
    for number, frame in enumerate(frames):
        raw = replayable(stream.exchange, "user", frame.text)
        context = {**names, "prior_frames": list(prior), "user": stream.keys.key}
        prior.append(raw)
        line = {"case": number, "exchange": stream.exchange, "feed": "user", "frame": raw, "context": context}
        result = normalise(msgspec.json.encode(line), Instant(0.0, 0))
        assert "error" not in result, (result, frame.text)
        for event in msgspec.json.decode(msgspec.json.encode(result["events"])):
            step = (event.get("orderId"), event.get("orderStatus"), event.get("totalTradeQuantity"))
            if "orderStatus" in event and step in seen:
                continue
            seen.add(step)
            events.append(event)
    return events


def context_of(stack: Stack, exchange: str) -> dict[str, object]:
    """What an adapter knows beside the frame: the pair ids, as the golden cases of the venue give them."""
    venue = family_of(exchange)
    key = {"kucoin": "symbols", "kraken": "symbol_map", "hyperliquid": "code_to_pair", "whitebit": "symbol_map"}.get(
        venue
    )
    if key is None or exchange not in LIVE_IDS:
        return {}
    # Hyperliquid's codes are unique over both markets, and its accounts trade on both.
    names = FAMILIES[venue] if venue == "hyperliquid" else (exchange,)
    found = [stack.simulator.call(lambda hub, _, name=name: hub.world.markets.symbols(name)) for name in names]
    return {key: {symbol.wire: symbol.pair_id for symbols in found for symbol in symbols}}


def comparable(event: dict[str, Any], exchange: str) -> dict[str, Any]:
    """An event without what a replayed frame can't know.

    Paper balances carry the time of their arrival, and Hyperliquid's bridged coins have their names from a list.
    """
    if is_paper(exchange) and "balances" in event:
        return {**event, "eventTime": 0, "uniqueMessageId": event["uniqueMessageId"].split(":", 2)[-1]}
    return {name: value for name, value in event.items() if name != "feeAsset"} if exchange == "hyperliquid" else event


THINNED = ("kraken", "krakenUsdm")
"""Balances of a period of 20 s are one event there (contract 4.8), so they don't follow from one frame."""


def after(events: Sequence[dict[str, Any]], moment_ms: int, exchange: str) -> list[dict[str, Any]]:
    """The events of a moment and later; balances of paper accounts have no time of the venue and all count."""
    return [
        comparable(event, exchange)
        for event in events
        if (event["eventTime"] >= moment_ms or (is_paper(exchange) and "balances" in event))
        and not (exchange in THINNED and "balances" in event)
    ]
