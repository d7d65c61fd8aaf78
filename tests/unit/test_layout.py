"""One layout for every venue: who knows one package finds the way in all of them.

The agreed file names are those of the template (`tests/template`, CONTRIBUTING). Two protocols in one venue take the same
name with a suffix (`_user_spot`, `_user_futures`), so that they sort together, and so do two files where one would be too
long (`_user_account`). A file beyond the list stands here with its reason.
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

FILES = {
    # --- adapters: what only one venue has ---
    "exchanges/binance/_clock": "the clock is read by the socket and by REST",
    "exchanges/binance/_odd": "frames in which something is odd",
    "exchanges/bitget/_asking": "orders that a push leaves open",
    "exchanges/bitget/_mode": "classic or unified is asked for",
    "exchanges/bitget/_report": "one order in two vocabularies",
    "exchanges/coinbase/_market": "the deployment's key on price connections",
    "exchanges/coinbase/_series": "intervals put together from five minutes",
    "exchanges/hyperliquid/_clients": "client orders across modifies",
    "exchanges/hyperliquid/_ends": "cancels that may be modifies",
    "exchanges/hyperliquid/_fills": "fills wait for the state of their order",
    "exchanges/hyperliquid/_join": "states without prices joined with fills",
    "exchanges/kraken/_balances": "balances every 20 s at the most",
    "exchanges/kraken/_book": "finished orders are kept for late rows",
    "exchanges/kraken/_line": "nonces: one signed call at a time",
    "exchanges/kraken/_route": "two ways to one market",
    "exchanges/kraken/_wallet": "a balance from two channels",
    "exchanges/kucoin/_alter": "orders that go on under another id",
    "exchanges/kucoin/_ledger": "average prices from matches",
    "exchanges/okx/_intervals": "an interval that has to be put together",
    "exchanges/whitebit/_chain": "sizes of an order across modifies",
    "exchanges/whitebit/_clients": "client orders across modifies",
    # --- halves ---
    "simulator/venues/binance/_context": "what REST, in four files, is given",
    "simulator/venues/kucoin/_context": "what REST, in three files, is given",
    "simulator/venues/binance/_listen_keys": "sockets are opened with keys that end",
    "simulator/venues/binance/_weights": "weights of an address, for REST and a socket together",
}
NAMES: dict[str, set[str]] = {
    "exchanges/binance/_gap": {"AccountRepair"},
    "exchanges/bitget/_connection": {"Socket"},
    "exchanges/bitget/_gap": {"ClassicGap", "UnifiedGap"},
    "exchanges/bitget/_signer": set(),
    "exchanges/coinbase/_connection": {"Link"},
    "exchanges/kraken/_ticker": {"SpotTicker", "FuturesTicker", "UnifiedTicker"},
    "exchanges/kraken/_candle": {"SpotCandle", "FuturesCandle", "UnifiedCandle"},
    "exchanges/kucoin/_connection": {"Link"},
    "exchanges/kucoin/_signer": {"KeyVersion"},
}
"""Classes that have another name than the agreed one; two or three where one file speaks several protocols, none
where functions do. A `Link` and a `Socket` carry accounts, too; an `AccountRepair` carries its plan out itself."""
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
