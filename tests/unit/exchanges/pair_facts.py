"""What the shared suites must know of an exchange id, and what they join it with: accounts, keys, names.

What differs from venue to venue stands in `FACTS`; a new exchange id needs a line there only where it differs.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges import example_of
from exchanges.credentials import Credentials, credentials
from exchanges.ids import Feed, family_of, is_paper
from simulator import controls
from simulator._values import ApiKey
from simulator.demo import demo_key
from simulator.venues import halves
from tests.unit.exchanges.every_venue import load, venue_names

PAPER_SEATS = ("paperBinance", "paperBinanceUsdm")
"""The paper ids are all alike: one of spot and one of futures stand for them."""


class Seat(NamedTuple):
    """One exchange id, and the kind of account where the venue has several."""

    exchange: str
    account: str = ""

    @property
    def name(self) -> str:
        """The venue's name: of its package and of its half."""
        return "paper" if is_paper(self.exchange) else family_of(self.exchange)

    def __str__(self) -> str:
        return f"{self.exchange}-{self.account}" if self.account else self.exchange


@dataclass(frozen=True)
class Facts:
    """What the suite must know about an exchange id."""

    accounts: tuple[str, ...] = ("",)
    """Kinds of accounts that speak another protocol; the half tells them by the beginning of the key."""
    wallet: bool = True
    """The account stream tells balances."""
    remembers: bool = True
    """The venue can tell later what happened in a gap."""
    key: bool = True
    """Whoever joins proves who they are."""
    join_is_signed: bool = True
    """A wrong secret shows at the join; else with the first signed call, which a gap makes."""
    symbols: Mapping[str, str] = field(default_factory=dict)
    """Kind of account → part of the venue's code of what it trades; else the first symbol."""
    waits_for_account: bool = False
    """A key that is not known may become known: no failure, but a note."""
    skew: bool = True
    """The venue refuses stamps of a wrong clock, and tells its time."""
    contracts: bool = False
    """`totalTradeQuantity` counts contracts (contract 2.1); else units of the base currency."""
    swapped: bool = False
    """The two totals are exchanged on the wire (contract 2.1)."""
    symbol_topics: bool = True
    """Each symbol's ticker is subscribed by itself, and refused by itself."""
    liquidations: bool = True
    """Liquidations are told, though they have no client id of ours."""
    public_limit: bool = True
    """Calls without a key are counted, too: by address."""
    elsewhere: str = ""
    """What of a gap the venue can't be asked for: its report names this whenever anything may have happened there."""
    modify: bool = True
    """The venue changes open orders, and the half plays it."""


_OTHER_SYMBOLS = "closed orders on other symbols can't be asked for"
_OTHER_PAIRS = "closed orders on other pairs can't be asked for"

_NEW_SYMBOLS = "orders on symbols that were not used before can't be asked for"
ELSEWHERE = {"kucoin-unified": _NEW_SYMBOLS, "krakenUsdm-derivatives": ""}
"""The same by seat, where kinds of accounts differ in it."""
BY_SOCKET = frozenset({"krakenUsdm"})
"""Seats whose gaps the connection itself tells: REST is asked for nothing, and an order that came and went without a fill is
only named."""

VENUES: Mapping[str, Facts] = {
    "binance": Facts(skew=True, elsewhere=_OTHER_SYMBOLS),
    "kucoin": Facts(accounts=("", "unified"), elsewhere=_OTHER_SYMBOLS),
    "bitget": Facts(accounts=("", "unified")),
    "coinbase": Facts(wallet=False),
    "kraken": Facts(skew=False, public_limit=False),
    "hyperliquid": Facts(wallet=False, key=False, skew=False, liquidations=False, symbol_topics=False),
    "paper": Facts(remembers=False, waits_for_account=True, skew=False),
}

FACTS: Mapping[str, Facts] = {
    "binanceUsdm": Facts(join_is_signed=False, skew=False),
    "binanceCoinm": Facts(join_is_signed=False, skew=False, contracts=True, elsewhere=_OTHER_PAIRS),
    "binanceUS": Facts(join_is_signed=False, skew=False, elsewhere=_OTHER_SYMBOLS),
    "bybitInverse": Facts(swapped=True),
    "okxLinear": Facts(accounts=("", "xperp"), symbols={"xperp": "_XPERP"}, contracts=True),
    "bitgetCoinm": Facts(accounts=("", "unified", "unified-dated"), symbols={"unified": "_CM"}),
    "okxInverse": Facts(contracts=True),
    "krakenUsdm": Facts(
        accounts=("", "derivatives"),
        skew=False,
        public_limit=False,
        elsewhere="orders placed and cancelled unfilled in the gap can't be asked for",
    ),
    "kucoinLinear": Facts(accounts=("", "unified"), contracts=True),
    "kucoinInverse": Facts(accounts=("", "unified"), contracts=True),
}
"""By exchange id where it differs from its venue."""


def facts(exchange: str) -> Facts:
    found = FACTS.get(exchange)
    return found if found is not None else VENUES.get(Seat(exchange).name, Facts())


def rejections(exchange: str) -> tuple[str, ...]:
    """Codes by which the venue says that a key is no good (any more)."""
    known = halves()[Seat(exchange).name].rejections
    return known[exchange] if exchange in known else known[""]


def seats() -> list[Seat]:
    """Every kind of account of every exchange id that has both an adapter and a half."""
    ids = [e for name in venue_names() if name in halves() and name != "paper" for e in load(name).exchanges]
    return [Seat(exchange, account) for exchange in (*ids, *PAPER_SEATS) for account in facts(exchange).accounts]


def markets(feed: Feed) -> list[str]:
    """Every exchange id with a half that has this feed."""
    return [e for name in venue_names() if name in halves() and feed in load(name).feeds for e in load(name).exchanges]


def key_of(seat: Seat) -> ApiKey:
    key = demo_key(seat.name)
    return controls.api_key(f"{seat.account}{key.key}", key.secret, key.passphrase)


def material(key: ApiKey) -> Credentials:
    """What an open command brings for a key."""
    keys_type = "cloud" if key.kind == "ecdsa" else None
    return credentials(key.key, key.secret, key.passphrase or None, keys_type=keys_type)


def wrong_secret(key: ApiKey) -> ApiKey:
    """A key of the same form with another secret."""
    if key.kind == "ecdsa":
        other = ec.derive_private_key(7, ec.SECP256R1())
        secret = other.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    else:
        secret = b64encode(b"another secret of this length").decode()
    return controls.api_key(key.key, secret, key.passphrase)


def client_text(exchange: str, text: str) -> str:
    """A client id as the venue takes it."""
    if halves()[Seat(exchange).name].hex_client_ids:
        return f"0x{text.encode().hex():0>32}"
    return text


def interval_of(exchange: str) -> str:
    """The 5-minute candle of an exchange id: the one that all have."""
    example = example_of(exchange)
    assert example is not None
    return next(code for code in example.intervals if code in ("5m", "5", "5min", "candle5m"))
