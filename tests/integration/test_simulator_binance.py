"""What is special of the Binance adapters against the simulated venue, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges._adapter import Emit, Fail, FailKind, Live, Rotate, TickerSubscription, UserSubscription
from exchanges.binance import VENUE
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, of

pytestmark = pytest.mark.integration


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=3, venues=("binance",), symbols=4, tick_s=0.2, quiet=0.0, limits=False) as simulator:
        yield simulator


def account(stream: str, key: str, secret: str = "secret") -> UserSubscription:
    return UserSubscription(stream_id=stream, exchange="binance", credentials=credentials(key, secret))


def reports(found: VenueClient) -> list[Emit]:
    return [emit for emit in of(found.outputs, Emit) if isinstance(emit.event, ExecutionReport)]


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_many_accounts_with_all_kinds_of_keys_share_one_connection(sim: Simulator) -> None:
    secrets = {
        "hmac": "secret",
        "ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
        "rsa": pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).replace("\n", " "),
    }
    owners = {name: sim.account("binance", f"key-{name}", secret) for name, secret in secrets.items()}
    sim.account("binance", "key-late", "secret")
    subscriptions = [account(name, f"key-{name}", secret) for name, secret in secrets.items()]
    with client(VENUE, "binance", "user", sim.gateway).begin(*subscriptions) as found:
        found.wait(Live, 3)
        for owner in owners.values():
            sim.place(owner, "binance", symbol="BTCUSDT", side="BUY", quantity="0.1", price="60000")
        found.until(lambda _: len(reports(found)) >= 3)
        assert sorted(emit.stream_id for emit in reports(found)) == sorted(owners)
        found.add(account("late", "key-late"))
        assert found.wait(Live, 4)[-1] == Live("late")
        found.add(account("bad", "key-unknown"))
        (fail,) = found.wait(Fail)
        assert (fail.stream_id, fail.kind) == ("bad", FailKind.CREDENTIAL)


@pytest.mark.parametrize("feed", ["user", "ticker"])
def test_a_maintenance_notice_rotates(sim: Simulator, feed: str) -> None:
    sim.account("binance", "key1", "secret")
    one = account("a", "key1") if feed == "user" else TickerSubscription(stream_id="a", exchange="binance")
    with client(VENUE, "binance", feed, sim.gateway).begin(one) as found:
        found.wait(Live)
        sim.fault("maintenance", venue="binance", seconds=30)
        assert found.wait(Rotate)
