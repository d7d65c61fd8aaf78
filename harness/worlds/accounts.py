"""The accounts of a world: one uuid, one exchange id, one key each; all of it follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges import venue_of
from exchanges.credentials import credentials
from exchanges.ids import FAMILIES, PAPER_TO_REAL, is_paper, real_id
from simulator import controls
from simulator._values import ApiKey
from simulator.hub import Hub
from simulator.venues.kraken import DERIVATIVES_KEY

USER_ID = "64f0c2a9b1d3e4f5a6b7c8d9"


@dataclass
class Account:
    """One account stream. `stream` is the uuid that the backend uses, and the account's id in the simulator."""

    stream: str
    exchange: str
    key: str = ""
    secret: str = ""
    passphrase: str = ""
    keys_type: str | None = None
    old: list[str] = field(default_factory=list)
    """Key material that was replaced."""

    @property
    def market(self) -> str:
        return real_id(self.exchange)

    @property
    def venue(self) -> str:
        if is_paper(self.exchange):
            return "paper"
        return next(name for name, members in FAMILIES.items() if self.exchange in members)

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

    def digest(self) -> str:
        """Of the key material, as the service has it."""
        return credentials(self.key, self.secret, self.passphrase or None, keys_type=self.keys_type).digest

    def renew(self, chance: random.Random) -> None:
        """New key material, as after its user made a new key."""
        self.old += [text for text in (self.key, self.secret, self.passphrase) if text]
        classic = self.key.startswith(DERIVATIVES_KEY)
        self.key, self.secret, self.passphrase = material(self.venue, chance, self.exchange, classic=classic)

    def secrets(self) -> list[str]:
        """What must stand nowhere. An address is public."""
        own = [self.secret, self.passphrase, *self.old]
        return [text for text in [*own, self.key if self.venue != "hyperliquid" else ""] if text]


CLASSIC_SHARE: Final = 0.5
"""Of the accounts of Kraken's perpetuals: keys of the classic API, the others of the unified socket."""


def material(venue: str, chance: random.Random, exchange: str = "", *, classic: bool = True) -> tuple[str, str, str]:
    """Fresh key, secret, passphrase in the venue's style. `classic`: Kraken's may be one of the API that ends, which nobody
    goes back to."""
    mark = f"{chance.getrandbits(64):016x}"
    if venue == "coinbase":
        return f"organizations/canary{mark}/apiKeys/key{mark}", _pem(chance.getrandbits(250)), ""
    if venue == "hyperliquid":
        return f"0x{mark}{chance.getrandbits(96):024x}", "", ""
    passphrase = f"canaryP{mark}" if venue in {"okx", "kucoin", "bitget"} else ""
    old = exchange == "krakenUsdm" and classic and chance.random() < CLASSIC_SHARE
    kind = DERIVATIVES_KEY if old else ""
    return f"{kind}canaryK{mark}", f"canarySS{mark}{chance.getrandbits(64):016x}", passphrase


def _pem(number: int) -> str:
    private = ec.derive_private_key(number, ec.SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def exchanges_of(hub: Hub, venues: tuple[str, ...]) -> list[str]:
    """Every exchange id of these venues that the service serves and the simulator plays."""
    markets = set(hub.world.markets.exchanges())
    found = [
        exchange
        for family, members in FAMILIES.items()
        if family in venues
        for exchange in members
        if exchange in markets and venue_of(exchange) is not None
    ]
    if "paper" in venues:
        found += [paper for paper in ("paperBinance", "paperBinanceUsdm") if PAPER_TO_REAL[paper] in markets]
    return found


def make_account(hub: Hub, exchange: str, stream: str, chance: random.Random) -> Account:
    account = Account(stream, exchange)
    account.key, account.secret, account.passphrase = material(account.venue, chance, exchange)
    account.keys_type = "cloud" if account.venue == "coinbase" else None
    controls.add_account(hub, account.venue, key_of(account), account.stream)
    return account


def key_of(account: Account) -> ApiKey:
    return controls.api_key(account.key, account.secret, account.passphrase)
