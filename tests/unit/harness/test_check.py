"""The campaign's oracle: what it accepts, and what it must never let through."""

from __future__ import annotations

from decimal import Decimal

import pytest

from harness.campaign.accounts import Canaries
from harness.campaign.check import Seen, Transition, judge, read_event
from harness.campaign.report import percentile

LIFE = [("NEW", "0"), ("PARTIALLY_FILLED", "1"), ("PARTIALLY_FILLED", "2"), ("FILLED", "3")]


def journal(*steps: tuple[str, str], exchange: str = "okx") -> list[Transition]:
    return [
        Transition(float(at), "u", exchange, "o", status, Decimal(executed), Decimal(executed))
        for at, (status, executed) in enumerate(steps)
    ]


def published(*steps: tuple[str, str], quote: str = "0") -> list[Seen]:
    return [
        Seen(
            at=at + 0.25, message_id=f"{status}:{executed}", stream="u", kind="executionReport", order="o", status=status,
            executed=Decimal(executed), quote=Decimal(quote),
        )
        for at, (status, executed) in enumerate(steps)
    ]  # fmt: skip


def test_a_whole_life_in_order_is_good() -> None:
    verdict = judge(journal(*LIFE), published(*LIFE))
    assert verdict.good
    assert (verdict.transitions, verdict.collapsed, verdict.repeated) == (4, 0, 0)
    assert verdict.lags == [0.25] * 4


def test_partial_fills_may_collapse_into_one_event() -> None:
    verdict = judge(journal(*LIFE), published(("NEW", "0"), ("PARTIALLY_FILLED", "2"), ("FILLED", "3")))
    assert verdict.good
    assert verdict.collapsed == 1


def test_repetitions_under_the_same_id_are_dropped_by_the_consumer() -> None:
    verdict = judge(journal(*LIFE), [*published(*LIFE), *published(*LIFE[2:])])
    assert verdict.good
    assert verdict.repeated == 2


def test_a_missing_final_state_is_lost() -> None:
    verdict = judge(journal(*LIFE), published(*LIFE[:3]))
    assert verdict.lost == ["u o: FILLED 3 was not published"]
    assert "FILLED" in verdict.offenders[0]


def test_an_order_nobody_heard_of_is_lost_whole() -> None:
    assert len(judge(journal(*LIFE), []).lost) == 4


@pytest.mark.parametrize(
    "late",
    [
        [("FILLED", "3"), ("PARTIALLY_FILLED", "2")],
        [("PARTIALLY_FILLED", "2"), ("PARTIALLY_FILLED", "1"), ("FILLED", "3")],
    ],
)
def test_nothing_goes_backwards(late: list[tuple[str, str]]) -> None:
    assert judge(journal(*LIFE), published(("NEW", "0"), *late)).backwards


def test_new_behind_a_fill_is_backwards() -> None:
    assert judge(journal(*LIFE), published(("PARTIALLY_FILLED", "1"), ("NEW", "0"), *LIFE[2:])).backwards


def test_two_different_final_events_are_a_duplicate() -> None:
    verdict = judge(journal(*LIFE), published(*LIFE, ("CANCELED", "3")))
    assert verdict.duplicated


def test_a_final_event_that_is_short_is_wrong_and_lost() -> None:
    verdict = judge(journal(*LIFE), published(("NEW", "0"), ("FILLED", "2")))
    assert verdict.wrong
    assert verdict.lost


def test_a_final_event_of_an_open_order_is_wrong() -> None:
    assert judge(journal(*LIFE[:2]), published(*LIFE[:2], ("CANCELED", "1"))).wrong


def test_bybit_inverse_swaps_its_totals() -> None:
    events = published(("NEW", "0")) + published(("FILLED", "0.001"), quote="3")
    assert judge(journal(("NEW", "0"), ("FILLED", "3"), exchange="bybitInverse"), events).good


def test_a_told_gap_of_a_venue_without_history_is_not_a_loss() -> None:
    verdict = judge(journal(*LIFE), published(*LIFE[:2]), gaps={"u": [(1.5, 3.5)]})
    assert verdict.good
    assert verdict.told == 2


def test_without_coverage_only_order_and_repetition_count() -> None:
    assert judge(journal(*LIFE), published(*LIFE[:2]), coverage=False).good
    assert judge(journal(*LIFE), published(LIFE[1], LIFE[0]), coverage=False).backwards


def test_events_are_read_as_the_backend_reads_them() -> None:
    canceled = {
        "eventType": "executionReport",
        "orderStatus": "CANCELED",
        "newClientOrderId": "c",
        "originalClientOrderId": "o",
    }
    assert read_event(canceled)[0] == "o"
    assert read_event({**canceled, "orderStatus": "NEW"})[0] == "c"
    assert read_event({"eventType": "ORDER_TRADE_UPDATE", "clientOrderId": "f", "orderStatus": "NEW"})[0] == "f"
    assert read_event({"eventType": "outboundAccountPosition"})[0] == ""


def test_a_canary_is_found_and_not_shown() -> None:
    canaries = Canaries(["canaryS0123456789abcdef"])
    found = canaries.found(b'{"secret":"canaryS0123456789abcdef"}')
    assert found is not None
    assert "0123456789abcdef" not in found
    assert canaries.found(b"canaryS") is None


def test_every_line_of_a_pem_key_is_a_canary() -> None:
    canaries = Canaries(["-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIExampleLine\n-----END EC PRIVATE KEY-----\n"])
    assert canaries.found(b"... MHcCAQEEIExampleLine ...")
    assert canaries.found(b"-----BEGIN EC PRIVATE KEY-----") is None


def test_percentiles_are_nearest_ranks() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100), percentile([], 50)) == (
        50,
        99,
        100,
        0,
    )
