"""The four Binance markets: where they live, what they allow, what their streams are called.

Sources: Binance spot API docs (state of 2026-07), derivatives docs (after the COIN-M merge of 2026-06-30).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal

import msgspec

from exchanges._venue import Limits, Rate
from exchanges.credentials import Credentials
from exchanges.ids import Feed


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange id of this venue."""

    exchange: str
    rest: str
    """REST origin."""
    api: str
    """Path prefix of the REST interface."""
    balances_path: str
    balances_query: str = ""
    listen_key_path: str | None
    """Where listen keys are made; None = the account stream comes over the WebSocket API."""
    user_url: str
    """The WebSocket API, or the account socket with `{key}` for the listen key."""
    stream_url: str
    """Combined-stream socket for market data."""
    ticker_stream: str
    row_kind: int | None
    """Value of `st` in the all-market rows of this market; None = the socket carries only this market."""
    pool: str
    """Name of the REST weight budget. USD-M and COIN-M share one since 2026-06-30."""
    history: Literal["symbol", "account", "pair"]
    """What `allOrders` answers for: one symbol, the whole account (USD-M since 2026-08-25), or all contracts of a pair."""
    weight_per_min: int
    control_per_s: int
    """Client frames per second and connection, pings and pongs included."""
    topics: int
    """Streams per market connection."""
    watched: bool = True
    """Whether silence of market data means a stall; Binance.US is too quiet for that (contract 4.7)."""

    @property
    def spot(self) -> bool:
        """Spot-shaped events and REST answers (Binance.US included)."""
        return self.api == "/api/v3"

    def url(self, path: str) -> str:
        """REST URL of a path below the interface's prefix."""
        return f"{self.rest}{self.api}/{path}"


MARKETS: Final = MappingProxyType(
    {
        market.exchange: market
        for market in (
            Market(
                exchange="binance",
                rest="https://api.binance.com",
                api="/api/v3",
                balances_path="/api/v3/account",
                balances_query="omitZeroBalances=true",
                listen_key_path=None,
                user_url="wss://ws-api.binance.com:443/ws-api/v3",
                stream_url="wss://stream.binance.com:9443/stream",
                ticker_stream="!miniTicker@arr",
                row_kind=None,
                pool="spot",
                history="symbol",
                weight_per_min=6000,
                control_per_s=5,
                topics=500,
            ),
            Market(
                exchange="binanceUS",
                rest="https://api.binance.us",
                api="/api/v3",
                # Without `omitZeroBalances`: the docs of Binance.US don't have it, and list -1104 for parameters unread.
                balances_path="/api/v3/account",
                listen_key_path="/api/v3/userDataStream",
                user_url="wss://stream.binance.us:9443/ws/{key}",
                stream_url="wss://stream.binance.us:9443/stream",
                ticker_stream="!miniTicker@arr",
                row_kind=None,
                pool="us",
                history="symbol",
                weight_per_min=1200,
                control_per_s=5,
                topics=500,
                watched=False,
            ),
            Market(
                exchange="binanceUsdm",
                rest="https://fapi.binance.com",
                api="/fapi/v1",
                balances_path="/fapi/v3/balance",
                listen_key_path="/fapi/v1/listenKey",
                # Since 2026-04-23 a URL without /private or /market connects, acknowledges and stays silent.
                user_url="wss://fstream.binance.com/private/ws?listenKey={key}",
                stream_url="wss://fstream.binance.com/market/stream",
                ticker_stream="!ticker@arr",
                row_kind=1,
                pool="futures",
                history="account",
                weight_per_min=2400,
                control_per_s=10,
                topics=200,
            ),
            Market(
                exchange="binanceCoinm",
                rest="https://dapi.binance.com",
                api="/dapi/v1",
                balances_path="/dapi/v1/balance",
                listen_key_path="/dapi/v1/listenKey",
                user_url="wss://dstream.binance.com/ws/{key}",
                stream_url="wss://dstream.binance.com/stream",
                ticker_stream="!ticker@arr",
                row_kind=2,
                pool="futures",
                history="pair",
                weight_per_min=2400,
                control_per_s=10,
                topics=200,
            ),
        )
    }
)

TESTNETS: Final = MappingProxyType(
    {
        "binance": ("https://testnet.binance.vision", "wss://ws-api.testnet.binance.vision/ws-api/v3"),
        "binanceUsdm": (
            "https://testnet.binancefuture.com",
            "wss://fstream.binancefuture.com/private/ws?listenKey={key}",
        ),
        "binanceCoinm": ("https://testnet.binancefuture.com", "wss://dstream.binancefuture.com/ws/{key}"),
    }
)
"""REST origin and account socket for accounts with `environment: sandbox`; prices stay those of the live market."""


def market_of(market: Market, credentials: Credentials) -> Market:
    """Where an account of a market lives. Its id must have a testnet, or be live."""
    if credentials.environment != "sandbox":
        return market
    rest, user_url = TESTNETS[market.exchange]
    return msgspec.structs.replace(market, rest=rest, user_url=user_url)


ACCOUNTS_PER_SOCKET: Final = 200
"""The WebSocket API allows 1,000 accounts on a connection; one lost socket should not take that many along."""

_LIFETIME_S: Final = 23 * 3600.0
"""Every connection is cut at 24 h."""
_CONNECTS: Final = Rate(280, 300.0)
"""300 attempts in 5 min and IP, less a margin for other users of the address."""


def limits(exchange: str, feed: Feed) -> Limits:
    market = MARKETS[exchange]
    websocket_api = feed == "user" and market.listen_key_path is None
    per_connection = 1
    if feed == "candle":
        per_connection = market.topics
    elif websocket_api:
        per_connection = ACCOUNTS_PER_SOCKET
    return Limits(
        connects=_CONNECTS,
        # The WebSocket API counts weight, not frames: 20 subscribes a second use 2,400 of 6,000 weight a minute.
        messages=Rate(20, 1.0) if websocket_api else Rate(market.control_per_s - 1, 1.0),
        rest={market.pool: Rate(market.weight_per_min * 9 // 10, 60.0)},
        used_headers={market.pool: "x-mbx-used-weight-1m"},
        bans={403: 300.0, 418: 120.0, 429: 60.0},
        subscriptions_per_connection=per_connection,
        lifetime_s=_LIFETIME_S,
        ping_interval_s=20.0,
        silence_s=60.0,
        data_silence_s=50.0 if feed != "user" and market.watched else None,
        join_timeout_s=60.0 if feed == "user" else 30.0,
    )
