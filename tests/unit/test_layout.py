"""One layout for every venue: who knows one package finds the way in all of them.

The agreed file names are those of the template (`tests/template`, CONTRIBUTING). Two protocols in one venue take the same
name with a suffix (`_rest_spot`, `_rest_futures`), so that they sort together. A file beyond the list stands here with its
reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ADAPTER = {
    "__init__": "VENUE: sources, ids, limits, factories",
    "_hosts": "addresses and environments",
    "_errors": "codes and texts → what to do next, and what a person can do",
    "_signer": "who signs: logins and calls",
    "_symbols": "wire code ↔ pair id, intervals, the lists",
    "_connection": "what the venue's sockets share",
    "_ticker": "tickers",
    "_candle": "candles",
    "_user": "an account's stream",
    "_rows": "account rows as the venue sends them",
    "_orders": "rows → events of orders and balances",
    "_positions": "rows → events of positions",
    "_gap": "which calls a gap needs, and what their answers mean",
}
HALF = {
    "__init__": "HALF",
    "_state": "what the half, its sockets and its REST share: a leaf",
    "_symbols": "hosts, markets, ids, intervals",
    "_auth": "`Failure`, who signed",
    "_frames": "what the engine knows, in the venue's words",
    "_peer": "one WebSocket connection",
    "_rest": "HTTP",
}
CLASSES = {
    "exchanges": {
        "_ticker": "TickerAdapter",
        "_candle": "CandleAdapter",
        "_user": "UserAdapter",
        "_gap": "GapPlan",
        "_signer": "Signer",
        "_connection": "PublicFeed",
    },
    "simulator/venues": {"_state": "State", "_auth": "Failure", "_rest": "Rest"},
}
"""The class that a file is there for."""
PEER = re.compile(r"(?:Public|Private|Classic|Unified|UnifiedPublic|UnifiedPrivate|Modern|Futures|Stream|WsApi)Peer")
"""Connections are called after what is told apart; a venue with one kind calls it after itself."""

OLDER = "an older name; the file does what the agreed one does"
TWO = "two protocols, told apart by a prefix that is older than the rule of suffixes"
FILES = {
    # --- adapters: names that are older than the list ---
    **dict.fromkeys((f"exchanges/{v}/_instruments" for v in ("bitget", "bybit", "okx")), f"{OLDER} (_symbols)"),
    **dict.fromkeys(
        (f"exchanges/{v}/_markets" for v in ("binance", "bitget", "hyperliquid", "kraken", "kucoin", "whitebit")),
        f"{OLDER} (_symbols, with hosts)",
    ),
    **dict.fromkeys(
        (f"exchanges/{v}/_rest" for v in ("bitget", "bybit", "kraken", "kucoin", "okx", "whitebit")),
        f"{OLDER} (_hosts, _signer and _errors in one: what a call needs)",
    ),
    **dict.fromkeys(
        (f"exchanges/{v}/_public" for v in ("bybit", "hyperliquid", "okx", "whitebit")), f"{OLDER} (_connection)"
    ),
    **dict.fromkeys((f"exchanges/{v}/_link" for v in ("coinbase", "kucoin")), f"{OLDER} (_connection)"),
    **dict.fromkeys((f"exchanges/{v}/_frames" for v in ("bitget", "kucoin")), f"{OLDER} (_rows)"),
    **dict.fromkeys((f"exchanges/{v}/_events" for v in ("binance", "bitget", "kucoin", "paper")), f"{OLDER} (_orders)"),
    **dict.fromkeys(
        (f"exchanges/{v}/_account" for v in ("hyperliquid", "okx", "whitebit")), "what outlives the phases of _user"
    ),
    "exchanges/bitget/_socket": f"{OLDER} (_connection)",
    "exchanges/hyperliquid/_wire": f"{OLDER} (_hosts and _errors; nothing is signed)",
    "exchanges/binance/_raw": f"{OLDER} (_rows)",
    "exchanges/binance/_repair": f"{OLDER} (_gap)",
    "exchanges/binance/_rest": "rows of REST, another vocabulary than the stream's",
    "exchanges/okx/_frames": "control frames, the same on three services",
    "exchanges/whitebit/_frames": "JSON-RPC, the same for prices and accounts",
    # --- adapters: what only one venue has ---
    "exchanges/binance/_clock": "the clock is read by the socket and by REST",
    "exchanges/binance/_history": "finished orders: a page per symbol, and what has to be left out",
    "exchanges/binance/_links": "many accounts on one connection",
    "exchanges/binance/_odd": "frames in which something is odd",
    "exchanges/binance/_wsapi": "requests over the socket",
    "exchanges/bitget/_asking": "orders that a push leaves open",
    "exchanges/bitget/_mode": "classic or unified is asked for",
    "exchanges/bitget/_report": "one order in two vocabularies",
    "exchanges/bitget/_unified": "rows of unified accounts",
    "exchanges/bybit/_keepalive": "a ping in JSON text",
    "exchanges/coinbase/_market": "the deployment's key on price connections",
    "exchanges/coinbase/_series": "intervals put together from five minutes",
    "exchanges/hyperliquid/_clients": "client orders across modifies",
    "exchanges/hyperliquid/_ends": "cancels that may be modifies",
    "exchanges/hyperliquid/_fills": "fills wait for the state of their order",
    "exchanges/hyperliquid/_join": "states without prices joined with fills",
    **dict.fromkeys(
        (
            f"exchanges/kraken/_{kind}_{role}"
            for kind, roles in (
                ("spot", ("account", "frames", "gap", "link", "orders", "user")),
                ("futures", ("account", "frames", "gap", "link", "orders", "rest", "rows", "user")),
                ("unified", ("account", "gap", "orders", "user")),
            )
            for role in roles
        ),
        TWO,
    ),
    "exchanges/kraken/_balances": "balances every 20 s at the most",
    "exchanges/kraken/_book": "finished orders are kept for late rows",
    "exchanges/kraken/_derivatives_user": "two ways to one account",
    "exchanges/kraken/_line": "nonces: one signed call at a time",
    "exchanges/kraken/_route": "two ways to one market",
    "exchanges/kraken/_topic": "what three protocols subscribe",
    "exchanges/kraken/_wallet": "a balance from two channels",
    **dict.fromkeys(
        (f"exchanges/kucoin/_{name}" for name in ("unified", "unified_events", "unified_gap", "classic")), TWO
    ),
    "exchanges/kucoin/_alter": "orders that go on under another id",
    "exchanges/kucoin/_ledger": "average prices from matches",
    "exchanges/kucoin/_telling": "what two gap plans share",
    "exchanges/okx/_intervals": "an interval that has to be put together",
    "exchanges/okx/_keepalive": "a ping in bare text",
    "exchanges/whitebit/_chain": "sizes of an order across modifies",
    "exchanges/whitebit/_clients": "client orders across modifies",
    **dict.fromkeys(
        (f"exchanges/binance/{name}" for name in ("candle", "symbols", "ticker", "user_listen_key", "user_spot")),
        "an older name, public",
    ),
    "exchanges/paper/user": "an older name, public",
    # --- halves ---
    "simulator/venues/binance/_context": "what REST, in four files, is given",
    "simulator/venues/kucoin/_context": "what REST, in three files, is given",
    "simulator/venues/binance/_listen_keys": "sockets are opened with keys that end",
    "simulator/venues/binance/_weights": "weights of an address, for REST and a socket together",
}
NAMES = {
    "exchanges/bitget/_gap": {"ClassicGap", "UnifiedGap"},
    "exchanges/bitget/_user": {"User"},
    "exchanges/kraken/_ticker": {"SpotTicker", "FuturesTicker", "UnifiedTicker"},
    "exchanges/kraken/_candle": {"SpotCandle", "FuturesCandle", "UnifiedCandle"},
    "exchanges/kucoin/_gap": {"Gap"},
    "exchanges/kucoin/_user": {"User"},
    "exchanges/whitebit/_candle": {"WhitebitCandle"},
    "exchanges/whitebit/_gap": {"Gap"},
    "exchanges/whitebit/_ticker": {"WhitebitTicker"},
    "exchanges/whitebit/_user": {"User"},
}
"""Classes that have another name than the agreed one; two or three where one file speaks several protocols."""
MISSING = {
    "simulator/venues/hyperliquid": {"_auth": "nothing is signed: a key is an address"},
}


def packages(folder: str) -> list[Path]:
    return sorted(path.parent for path in (ROOT / folder).glob("*/__init__.py"))


def modules(folder: str) -> Iterator[Path]:
    for package in packages(folder):
        yield from sorted(package.glob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


def role_of(stem: str, agreed: dict[str, str]) -> str:
    """The agreed name of a file, also with a suffix; empty if it has none."""
    return next((role for role in agreed if stem == role or (role != "__init__" and stem.startswith(f"{role}_"))), "")


def classes(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}


EVERY = [(folder, path) for folder in ("exchanges", "simulator/venues") for path in modules(folder)]
AGREED = {"exchanges": ADAPTER, "simulator/venues": HALF}


@pytest.mark.parametrize(("folder", "path"), EVERY, ids=[name_of(path) for _, path in EVERY])
def test_a_file_has_an_agreed_name_and_holds_the_class_of_it(folder: str, path: Path) -> None:
    role, name, found = role_of(path.stem, AGREED[folder]), name_of(path), classes(path)
    assert bool(role) != (name in FILES), "an agreed name, or one with a reason in FILES; not both"
    wanted = CLASSES[folder].get(role)
    if name in NAMES:
        assert NAMES[name] <= found, "NAMES says what is not there"
        assert wanted not in found, f"{name} keeps to the agreed class by now: take it off NAMES"
    elif wanted is not None and path.stem == role:
        assert wanted in found


@pytest.mark.parametrize("package", packages("simulator/venues"), ids=lambda path: path.name)
def test_a_half_has_every_file_of_the_list(package: Path) -> None:
    there = {role_of(path.stem, HALF) for path in package.glob("*.py")}
    missing = MISSING.get(name_of(package), {})
    assert there >= HALF.keys() - missing.keys()
    assert not there & missing.keys()


@pytest.mark.parametrize("package", packages("simulator/venues"), ids=lambda path: path.name)
def test_connections_of_a_half_are_called_after_what_tells_them_apart(package: Path) -> None:
    found = {one for path in package.glob("_peer*.py") for one in classes(path) if one.endswith("Peer")}
    odd = {one for one in found if not one.startswith("_") and not PEER.fullmatch(one)}
    assert found
    assert {one.lower() for one in odd} <= {f"{package.name}peer"}


@pytest.mark.parametrize("package", packages("exchanges"), ids=lambda path: path.name)
def test_what_a_failure_is_is_written_once(package: Path) -> None:
    """`exchanges/_failures.py`: five venues had five classes for it."""
    assert not [path for path in package.glob("*.py") if "Failure" in classes(path)]


def test_no_exception_outlives_its_reason() -> None:
    there = {name_of(path) for _, path in EVERY}
    assert there >= FILES.keys()
    assert there >= NAMES.keys()


def test_the_template_keeps_to_the_list() -> None:
    for path in (ROOT / "tests/template/exchanges/template").glob("*.py"):
        assert path.stem in ADAPTER
        assert CLASSES["exchanges"].get(path.stem, "") in {"", *classes(path)}
