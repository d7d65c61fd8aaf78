"""Keys, logins and allowances: what the venue refuses is told as what it is."""

from __future__ import annotations

import pytest

from exchanges._adapter import ClockOffset, Fail, FailKind, Note
from tests.unit.exchanges.pair import Pair, Seat, client_text, facts, rejections, seats, wrong_secret

SEATS = seats()
EVERY = pytest.mark.parametrize("seat", SEATS, ids=str)
REMEMBERING = pytest.mark.parametrize("seat", [s for s in SEATS if facts(s.exchange).remembers], ids=str)
KEYED = pytest.mark.parametrize(
    "seat", [s for s in SEATS if facts(s.exchange).key and not facts(s.exchange).waits_for_account], ids=str
)
REFUSING = pytest.mark.parametrize(
    ("seat", "code"),
    [pytest.param(s, c, id=f"{s}-{c}") for s in SEATS if not s.account for c in rejections(s.exchange)],
)
FLOOD = 4
"""So many times what is allowed."""


@KEYED
def test_a_wrong_secret_is_the_streams_own_failure(seat: Seat) -> None:
    pair = Pair(seat)
    resume = None if pair.facts.join_is_signed else pair.books.resume(pair.now.wall_ms)
    pair.user(resume, wrong_secret(pair.key))
    pair.wait_for_failure()
    refused = pair.of(Fail)
    if pair.facts.join_is_signed:
        assert refused, pair.out
        assert refused[0].kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE)
        assert refused[0].stream_id == "u"
        assert not pair.live()
    else:
        assert refused or pair.missing(), "the gap could not be read, and nothing says so"
    assert not pair.orders()


@REFUSING
def test_a_key_that_the_venue_refuses_is_told_as_that(seat: Seat, code: str) -> None:
    pair = Pair(seat)
    pair.fault("reject_key", account=pair.account, params={"code": code})
    pair.user()
    pair.wait_for_failure()
    if pair.facts.waits_for_account:
        assert not pair.of(Fail)
        assert pair.of(Note)
        return
    fail = pair.of(Fail)[0]
    assert fail.kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE), fail
    assert fail.stream_id == "u"
    assert not pair.live()
    assert pair.adapter is not None
    pair.take(pair.adapter.remove("u", pair.now))  # what follows a failure of one stream
    pair.wait(60.0)
    assert not pair.live()


@pytest.mark.parametrize("seat", [seat for seat in SEATS if facts(seat.exchange).skew], ids=str)
@pytest.mark.parametrize("skew_ms", [-120_000, 120_000])
def test_a_clock_that_goes_wrong_delays_but_does_not_keep_out(seat: Seat, skew_ms: int) -> None:
    pair = Pair(seat)
    pair.fault("clock_skew", venue=pair.name, standing=True, params={"ms": str(skew_ms)})
    pair.user()
    pair.until(pair.live, seconds=60)


@REMEMBERING
def test_a_call_that_waited_for_its_budget_is_not_too_old_when_it_is_made(seat: Seat) -> None:
    """Two hundred accounts of KuCoin that opened at once never got live: what they asked was older than 5 s by then, and each
    time the venue's refusal was taken for a clock that is off."""
    pair = Pair(seat)
    pair.queue_s = 40.0
    pair.joined()
    order = pair.place("DBO1")
    pair.until(lambda: pair.status(client_text(seat.exchange, "DBO1")) == "NEW")
    pair.drop()
    pair.fill(order)
    pair.again()
    pair.until(lambda: pair.status(client_text(seat.exchange, "DBO1")) == "FILLED")
    assert not pair.of(Fail)
    assert not pair.of(ClockOffset)


@EVERY
def test_a_venue_that_does_not_answer_a_login_is_left(seat: Seat) -> None:
    pair = Pair(seat)
    pair.fault("half_open", venue=pair.name, standing=True)
    pair.user()
    if not pair.facts.join_is_signed:  # the address of the socket is the login
        pair.until(pair.live)
        return
    began = pair.t
    pair.wait_for_failure(180)
    assert pair.of(Fail), "nothing ends a login that is never answered"
    assert pair.t - began <= pair.venue.limits(seat.exchange, "user").join_timeout_s + 1
    assert "ping" not in pair.of(Fail)[0].reason, "what was not answered is the login"
    assert not pair.live()


@pytest.mark.parametrize(
    "seat",
    [s for s in SEATS if s.name != "paper" and not s.account and facts(s.exchange).public_limit],
    ids=str,
)
def test_a_half_refuses_more_calls_than_the_venue_allows(seat: Seat) -> None:
    """A half that is kinder than its venue hides that an adapter asks too much."""
    for limited in (True, False):
        pair = Pair(seat, limits=limited)
        loader = pair.venue.instruments(seat.exchange, {})
        call = loader.start()[0]
        rates = pair.venue.limits(seat.exchange, "user").rest
        most = FLOOD * max(rate.limit // call.weight for rate in rates.values())
        good = pair.rest(call)
        refused = next((number for number in range(most) if pair.rest(call).status != good.status), None)
        assert (refused is not None) == limited, f"{most} calls at once"
