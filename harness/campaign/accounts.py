"""The accounts of a campaign: one or more per exchange id, each with canary credentials that must never be seen again."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges import venue_of
from exchanges.ids import FAMILIES, PAPER_TO_REAL, is_paper, real_id
from simulator.simulator import Simulator
from simulator.venues import halves
from simulator.venues.kraken import DERIVATIVES_KEY
from simulator.venues.kucoin import UNIFIED_KEY

USER_ID = "64f0c2a9b1d3e4f5a6b7c8d9"
HEAD_BYTES = 12
"""Shorter texts are no canaries."""


@dataclass
class Account:
    """One account stream. `stream` is the uuid that the backend uses, and the account's id in the simulator."""

    stream: str
    exchange: str
    key: str
    secret: str
    passphrase: str = ""
    keys_type: str | None = None
    variant: str = ""
    """Another kind of key, and with it another protocol at some venues; empty = the common one."""
    old_secrets: list[str] = field(default_factory=list)

    @property
    def market(self) -> str:
        """Exchange id on which its orders trade."""
        return real_id(self.exchange)

    @property
    def venue(self) -> str:
        """The simulator's half that serves it."""
        return (
            "paper"
            if is_paper(self.exchange)
            else next(name for name, members in FAMILIES.items() if self.exchange in members)
        )

    @property
    def history(self) -> bool:
        """Whether the venue can tell later what happened in a gap; the paper service can't (contract 5)."""
        return not is_paper(self.exchange)

    def api(self) -> dict[str, object]:
        """The `api` object of an open command (contract 1.3)."""
        return {
            "provider": self.exchange, "key": self.key, "secret": self.secret, "passphrase": self.passphrase or None,
            "bybitHost": None, "keysType": self.keys_type, "okxSource": None, "subaccount": False,
        }  # fmt: skip

    def renew(self) -> None:
        """New key material, as after a key was replaced by its user."""
        self.old_secrets += self.secrets()
        self.key, self.secret, self.passphrase = material(self.venue, self.variant)

    def secrets(self) -> list[str]:
        return [text for text in (self.key, self.secret, self.passphrase) if text]


VARIANTS = (("binance", "ed25519"), ("kucoin", "unified"), ("kucoinLinear", "unified"), ("coinbase", "legacy"))
"""Kinds of keys beside the common one, by exchange id."""


def material(venue: str, variant: str = "") -> tuple[str, str, str]:
    """Fresh key, secret, passphrase in the venue's style."""
    mark = secrets.token_hex(8)
    if venue == "coinbase" and variant != "legacy":
        return f"organizations/canary{mark}/apiKeys/key{mark}", _pem(ec.generate_private_key(ec.SECP256R1())), ""
    if venue == "hyperliquid":  # the account's address is the key, and there is no secret
        return f"0x{mark}{secrets.token_hex(12)}", "", ""
    passphrase = f"canaryP{mark}" if venue in {"okx", "kucoin", "bitget"} else ""
    prefix = {"unified": UNIFIED_KEY, "derivatives": DERIVATIVES_KEY}.get(variant, "")
    secret = f"canarySS{mark}{secrets.token_hex(8)}"  # also good as base64, which Kraken's are
    if variant == "ed25519":
        secret = _pem(ed25519.Ed25519PrivateKey.generate())
    return f"{prefix}canaryK{mark}", secret, passphrase


def _pem(private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    style = PrivateFormat.PKCS8 if isinstance(private, ed25519.Ed25519PrivateKey) else PrivateFormat.TraditionalOpenSSL
    return private.private_bytes(Encoding.PEM, style, NoEncryption()).decode()


def make_accounts(sim: Simulator, venues: Sequence[str] = (), copies: int = 1) -> list[Account]:
    """Accounts on every exchange id that both the service and the simulator know, or on those of `venues`, and one of each
    further kind of key."""
    exchanges = served(sim, venues)
    common = [
        make_account(sim, exchange, f"chaos-{exchange}-{number}") for exchange in exchanges for number in range(copies)
    ]
    others = [
        make_account(sim, exchange, f"chaos-{exchange}-{variant}", variant)
        for exchange, variant in VARIANTS
        if exchange in exchanges
    ]
    return [*common, *others]


def make_account(sim: Simulator, exchange: str, stream: str, variant: str = "") -> Account:
    if exchange == "krakenUsdm":
        variant = "derivatives"  # the classic way: a gap of the unified one can't tell orders that came and went
    account = Account(stream, exchange, "", "", variant=variant)
    account.key, account.secret, account.passphrase = material(account.venue, variant)
    account.keys_type = "cloud" if account.venue == "coinbase" and not variant else None
    sim.account(account.venue, account.key, account.secret, account.passphrase, account_id=stream)
    return account


def served(sim: Simulator, venues: Sequence[str] = ()) -> list[str]:
    known = set(halves())
    markets = set(sim.hub.world.markets.exchanges())
    found = [
        exchange
        for family, members in FAMILIES.items()
        for exchange in members
        if family in known and exchange in markets and venue_of(exchange) is not None and _chosen(family, venues)
    ]
    if "paper" in known and _chosen("paper", venues):
        found += [
            paper
            for paper in ("paperBinance", "paperBinanceUsdm")
            if PAPER_TO_REAL[paper] in markets and venue_of(paper) is not None
        ]
    return found


def _chosen(name: str, venues: Sequence[str]) -> bool:
    return not venues or name in venues


class Canaries:
    """Looks for secrets of all accounts, old ones included, in whatever is shown to it.

    By the first bytes of each secret, because every message of a campaign is searched for those of hundreds of accounts.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._needles: dict[bytes, set[bytes]] = {}
        self.add(texts)

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            for line in text.splitlines():
                needle = line.encode()
                if len(needle) >= HEAD_BYTES and "-----" not in line:
                    self._needles.setdefault(needle[:HEAD_BYTES], set()).add(needle)

    def found(self, data: bytes) -> str | None:
        """A description without the secret itself, or None."""
        heads = self._needles
        for start in range(len(data) - HEAD_BYTES + 1):
            head = data[start : start + HEAD_BYTES]
            if head in heads and any(data.startswith(needle, start) for needle in heads[head]):
                return self._describe(data, start)
        return None

    def _describe(self, data: bytes, start: int) -> str:
        around = data[max(0, start - 60) : start].decode("utf-8", "replace")
        return f"{data[start : start + 10].decode()}… after {around!r}"
