"""What Coinbase's ticker and candle connections do about a refused product and a refused key of the deployment."""

from __future__ import annotations

import pytest

from exchanges._adapter import Fail, FailKind, Instant, Note, Output
from exchanges._failures import Failure
from exchanges.coinbase._connection import HEARTBEATS, Request
from exchanges.coinbase._market import MarketLink, market_signer
from tests.unit.exchanges.test_coinbase import KEY, NOW, PEM, TABLE, setup

OPTIONS = {"COINBASE_API_KEY": KEY, "COINBASE_API_SECRET": PEM}


class Link(MarketLink):
    """Notes which products are unknown."""

    gone: tuple[str, ...] = ()

    def _acknowledged(self, *_: object) -> list[Output]:
        return []

    def _data(self, *_: object) -> list[Output]:
        return []

    def _requests(self) -> list[Request]:
        return []

    def _unknown(self, products: list[str], reason: str, now: Instant) -> list[Output]:
        self.gone = (*self.gone, *products)
        return [Note(reason)]


def link(**options: str) -> Link:
    return Link(setup(TABLE, **options))


def declined(one: Link, reason: str, *ids: str, channel: str = "candles") -> list[object]:
    return list(one._declined(Request("subscribe", channel, ids), Failure(FailKind.REQUEST, reason), NOW))


@pytest.mark.parametrize("request_", [Request("subscribe", HEARTBEATS, ("A-USD",)), Request("subscribe", "status", ())])
def test_a_refusal_that_is_no_products_ends_the_connection(request_: Request) -> None:
    one = link()
    (fail,) = one._declined(request_, Failure(FailKind.REQUEST, "no A-USD"), NOW)
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.reason, one.gone) == (FailKind.TRANSIENT, "no A-USD", ())


@pytest.mark.parametrize(
    "reason", ["no such product: B-USD", "'B-USD' is unknown.", "B-USD. is delisted", "product -B-USD-"]
)
def test_the_product_that_is_named_is_left_out_and_the_others_asked_for_again(reason: str) -> None:
    one = link()
    assert declined(one, reason, "A-USD", "B-USD", "AB-USD") == [Note(reason)]
    assert one.gone == ("B-USD",)
    assert list(one._queue) == [Request("subscribe", "candles", ("A-USD", "AB-USD"))]


def test_one_product_alone_is_the_one_that_is_refused() -> None:
    one = link()
    assert declined(one, "internal", "A-USD") == [Note("internal")]
    assert (one.gone, list(one._queue)) == (("A-USD",), [])


def test_a_frame_of_which_no_product_is_named_is_halved() -> None:
    one = link()
    ids = ("A-USD", "B-USD", "C-USD", "D-USD", "E-USD", "F-USD", "G-USD")
    assert declined(one, "internal", *ids) == []
    assert one.gone == ()
    assert list(one._queue) == [Request("subscribe", "candles", ids[:3]), Request("subscribe", "candles", ids[3:])]


def test_tickers_have_nobody_to_tell_of_an_unknown_product() -> None:
    assert MarketLink._unknown(link(), ["A-USD"], "why", NOW) == []


@pytest.mark.parametrize(
    "options",
    [{}, {"COINBASE_API_KEY": KEY}, {"COINBASE_API_SECRET": PEM}, {**OPTIONS, "COINBASE_API_KEY": ""},
     {**OPTIONS, "COINBASE_API_SECRET": "no key"}],
)  # fmt: skip
def test_half_a_key_and_one_that_can_not_sign_is_none(options: dict[str, str]) -> None:
    assert market_signer(setup(TABLE, **options)) is None


def test_a_refused_key_of_the_deployment_is_given_up_once() -> None:
    one = link(**OPTIONS)
    signer = market_signer(setup(TABLE, **OPTIONS))
    assert signer is not None
    assert signer.cloud
    (note,) = one._unauthorised(Failure(FailKind.CREDENTIAL, "unauthorised"), NOW)
    assert isinstance(note, Note)
    assert (note.what, note.level) == ("the Coinbase market data key is refused; going on without it", "error")
    (fail,) = one._unauthorised(Failure(FailKind.CREDENTIAL, "unauthorised"), NOW)
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "unauthorised")
