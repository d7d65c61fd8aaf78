"""What a seed decides."""

from __future__ import annotations

import pytest

from harness.campaign.accounts import Account, material
from harness.campaign.check import Verdict
from harness.campaign.faults import FAULTS, REJECTED
from harness.campaign.report import Report
from harness.campaign.run import Recovery, Result, Scenario

ACCOUNTS = [
    Account(f"chaos-{exchange}-0", exchange, "k", "s")
    for exchange in ("binance", "binanceUsdm", "okx", "bybitInverse", "kucoin", "bitget", "coinbase", "paperBinance")
]


def plan(seed: int, *, node: bool = True) -> Scenario:
    return Scenario(seed, ACCOUNTS, 2, node=node)


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_gives_the_same_scenario(seed: int) -> None:
    one, two = plan(seed), plan(seed)
    assert one.plans == two.plans
    assert one.plans
    assert [account.stream for account in one.accounts] == [account.stream for account in two.accounts]
    assert (one.seconds, one.rate, one.traffic_seed) == (two.seconds, two.rate, two.traffic_seed)


def test_every_fault_is_drawn_and_fits_its_accounts() -> None:
    scenarios = [plan(seed) for seed in range(600)]
    assert {fault.kind for scenario in scenarios for fault in scenario.plans} == set(FAULTS)
    for scenario in scenarios:
        streams = {account.stream: account.venue for account in scenario.accounts}
        for fault in scenario.plans:
            kind = FAULTS[fault.kind]
            assert 0.2 <= fault.at <= scenario.seconds
            assert bool(fault.account) == (kind.scope == "account")
            assert bool(fault.venue) == (kind.scope == "venue")
            if fault.account and kind.venues:
                assert streams[fault.account] in kind.venues


def test_only_one_server_or_service_restarts_in_a_run() -> None:
    restarts = {name for name, kind in FAULTS.items() if kind.kills or kind.redis or kind.needs_node} | {"sigterm"}
    for seed in range(300):
        assert sum(fault.kind in restarts for fault in plan(seed).plans) <= 1


def test_a_broker_that_is_not_ours_is_not_restarted() -> None:
    assert not any(FAULTS[fault.kind].needs_node for seed in range(300) for fault in plan(seed, node=False).plans)


def test_every_venue_has_a_word_for_a_rejected_key() -> None:
    assert {account.venue for account in ACCOUNTS} <= set(REJECTED)


def test_a_new_key_keeps_the_old_one_for_the_search_for_secrets() -> None:
    account = Account("u", "okx", *material("okx"))
    before = account.secrets()
    account.renew()
    assert account.old_secrets == before
    assert not set(before) & set(account.secrets())


def test_the_report_sums_runs_and_names_the_bad_ones() -> None:
    report = Report()
    good = Result(1, ["a"], [], Verdict(transitions=5, events=9, lags=[0.1, 0.2]), Verdict(events=8))
    good.recoveries = [Recovery("sigkill", "a", 8.0), Recovery("sigkill", "b", 9.0)]
    bad = Result(2, ["a"], plan(3).plans, Verdict(transitions=2, lost=["x"]), Verdict(backwards=["y"]))
    report.add(good)
    report.add(bad)
    totals = report.totals()
    assert (totals["runs"], totals["order events"], totals["lost"]) == (2, 7, 1)
    assert totals["lost / duplicated / out of order on Redis"] == "0 / 0 / 1"
    assert not report.good
    text = report.text()
    assert "FAILED seed 2" in text
    assert "sigkill" in text
