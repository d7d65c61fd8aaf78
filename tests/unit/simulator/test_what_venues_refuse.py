"""The simulator refuses what the venue refuses: a test that passes because our own server is kinder proves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchanges._adapter import Call, Send
from simulator._venue import Frame
from tests.unit.exchanges.pair import Pair, Seat


def frames(pair: Pair) -> list[Any]:
    """What the venue has sent since, decoded. The adapter does not see it."""
    assert pair.link is not None
    found = [action.data for action in pair.link.take(pair.now.mono) if isinstance(action, Frame)]
    return [json.loads(data) for data in found]


def test_an_address_that_asks_kucoin_too_often_is_refused_before_anything_is_weighed() -> None:
    """A further account's calls count as well: what stands before the venue knows no accounts."""
    pair = Pair(Seat("kucoin"))
    call = Call(tag="t", method="GET", url="https://api.kucoin.com/api/v1/timestamp")
    answers = [pair.rest(call) for _ in range(520)]
    refused = [answer for answer in answers if answer.status == 429]
    assert 10 <= len(refused) <= 25, "500 in ten seconds, of which the symbol list took some"
    assert (refused[0].body, refused[0].headers["retry-after"]) == (b"error code: 1015", "30")
    pair.t += 10.0
    assert pair.rest(call).status == 200


def test_a_second_login_on_one_okx_connection_is_refused_as_a_repeated_one() -> None:
    pair = Pair(Seat("okx")).joined()
    login = next(send.text for send in pair.of(Send) if "login" in send.text)
    assert pair.link is not None
    pair.hub.received(pair.link, login, pair.now)
    assert [frame["code"] for frame in frames(pair)] == ["60031"]


@pytest.mark.parametrize("seat", [Seat("bitget", "unified"), Seat("bitgetUsdm", "unified")], ids=str)
def test_an_unfilled_order_of_a_unified_bitget_account_has_a_fee_of_nulls(seat: Seat) -> None:
    """The page's own sample; it made a whole answer unreadable."""
    pair = Pair(seat).joined()
    pair.place("DBO1")
    assert frames(pair)[0]["data"][0]["feeDetail"] == [{"feeCoin": None, "fee": None}]


def test_inverse_perpetuals_of_bitget_count_in_contracts_and_have_a_name_of_their_own() -> None:
    pair = Pair(Seat("bitgetCoinm", "unified")).joined()
    pair.fill(pair.place("DBO1", 800))
    row = [frame["data"][0] for frame in frames(pair) if frame["arg"].get("topic") == "order"][-1]
    assert row["symbol"].endswith("_CM")
    assert row["cumExecQty"] == row["cumExecValue"] == row["qty"] == "800"


@pytest.mark.parametrize("refused", [False, True], ids=["with", "without"])
def test_a_spot_list_of_a_unified_kucoin_account_wants_a_symbol(refused: bool) -> None:
    pair = Pair(Seat("kucoin", "unified")).joined()
    pair.place("DBO1")
    pair.wait(0.5)
    pair.drop()
    pair.again()
    calls = [call for call in pair.calls if "order/open-list" in call.url]
    call = next(call for call in calls if ("symbol=" in call.url) is not refused)
    assert (json.loads(pair.rest(call).body)["code"] != "200000") is refused
