"""`connector check` against the simulated venues: every exchange id, every way that it can end."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.main import main
from exchanges import venues
from exchanges.ids import DEAD, FAMILIES, PAPER_TO_REAL, family_of, is_paper
from harness.proxies import RealProxy
from simulator.simulator import Simulator

pytestmark = pytest.mark.integration

WAIT_S = 30.0
PLAYED = ("binance", "kucoin", "bybit", "okx", "bitget", "coinbase", "whitebit")
ONE_OF_EACH = (
    "binance",
    "binanceUsdm",
    "kucoin",
    "kucoinLinear",
    "bybit",
    "okx",
    "bitget",
    "coinbase",
    "whitebit",
    "paperBinance",
)
"""One exchange id per adapter and way to log in."""
ALL = tuple(exchange for family in PLAYED for exchange in FAMILIES[family]) + tuple(PAPER_TO_REAL)

PHRASE = "phrase-of-the-check"
REFUSALS = {
    "binance": ("-2015", "-2015"),
    "kucoin": ("400003", "400003"),
    "bybit": ("10003", "10003"),
    "okx": ("60005", "50111"),
    "bitget": ("40006", "40006"),
    "coinbase": ("401", "authentication failure"),
    "whitebit": ("10", "Unauthorized request"),
}
"""Code given to the fault, and what the answer must then show (OKX is asked over REST first, which has other codes)."""


def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


CDP_KEY = "organizations/11111111-1111-1111-1111-111111111111/apiKeys/22222222-2222-2222-2222-222222222222"


def material(exchange: str, number: int = 1) -> tuple[str, str]:
    if exchange == "coinbase":
        return CDP_KEY, pem()
    return f"key-of-the-check-{number}", f"secret-of-the-check-{number}"


def simulated(exchange: str) -> str:
    return "paper" if is_paper(exchange) else family_of(exchange)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=5, symbols=3) as simulator:
        yield simulator


class Check:
    """Runs the command against one address."""

    def __init__(self, gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("VENUE_GATEWAY", gateway)
        monkeypatch.setenv("PAPER_WS", gateway)
        monkeypatch.setenv("PHRASE", PHRASE)

    def __call__(self, exchange: str, key: str, secret: str, timeout_s: float = WAIT_S) -> tuple[int, dict[str, Any]]:
        self._monkeypatch.setenv("KEY", key)
        self._monkeypatch.setenv("SECRET", secret)
        names = ["--key-env", "KEY", "--secret-env", "SECRET", "--passphrase-env", "PHRASE"]
        code = main(["check", "--exchange", exchange, *names, "--json", "--timeout", str(timeout_s)])
        out, err = self._capsys.readouterr()
        for hidden in (secret, PHRASE):
            assert hidden not in out + err
        assert err == ""
        found: dict[str, Any] = json.loads(out)
        assert found["exchange"] == exchange
        return code, found


@pytest.fixture
def check(sim: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(sim.gateway, monkeypatch, capsys)


def test_every_live_and_paper_id_is_tried_here() -> None:
    served = {
        exchange for venue in venues().values() if venue.name in (*PLAYED, "paper") for exchange in venue.exchanges
    }
    assert set(ALL) == served - DEAD


@pytest.mark.parametrize("exchange", ALL)
def test_a_good_key_is_accepted(sim: Simulator, check: Check, exchange: str) -> None:
    key, secret = material(exchange)
    sim.account(simulated(exchange), key, secret, PHRASE)
    code, found = check(exchange, key, secret)
    assert (code, found["result"]) == (0, "accepted"), found


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
def test_a_wrong_secret_is_rejected(sim: Simulator, check: Check, exchange: str) -> None:
    key, secret = material(exchange)
    sim.account(simulated(exchange), key, secret, PHRASE)
    code, found = check(exchange, key, material(exchange, 2)[1])
    assert (code, found["result"]) == (2, "rejected"), found
    assert found["reason"]
    assert found["advice"]


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
def test_a_key_that_the_venue_refuses_is_rejected_in_the_venues_words(
    sim: Simulator, check: Check, exchange: str
) -> None:
    key, secret = material(exchange)
    account = sim.account(simulated(exchange), key, secret, PHRASE)
    code_, shown = REFUSALS.get(simulated(exchange), ("refused", "does not know this account"))
    sim.reject_key(account, code_)
    code, found = check(exchange, key, secret)
    assert (code, found["result"]) == (2, "rejected"), found
    assert shown in found["reason"]
    assert found["advice"]
    sim.accept_key(account)
    assert check(exchange, key, secret)[0] == 0


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
def test_of_a_replaced_key_only_the_new_one_is_accepted(sim: Simulator, check: Check, exchange: str) -> None:
    key, secret = material(exchange)
    account = sim.account(simulated(exchange), key, secret, PHRASE)
    new_key, new_secret = material(exchange, 2)
    sim.replace_key(account, new_key, new_secret, PHRASE)
    assert check(exchange, new_key, new_secret)[0] == 0
    code, found = check(exchange, key, secret)
    assert (code, found["result"]) == (2, "rejected"), found


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
def test_nobody_there_is_unreachable(
    exchange: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: connects are refused
        check = Check(f"127.0.0.1:{free.getsockname()[1]}", monkeypatch, capsys)
        code, found = check(exchange, *material(exchange), timeout_s=5)
    assert (code, found["result"]) == (3, "unreachable"), found
    assert "Connection" in found["reason"]
    assert "[redacted]" not in found["reason"]
    assert "VENUE_GATEWAY" in found["advice"]


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
def test_a_venue_that_takes_connections_and_says_nothing_is_unreachable(
    exchange: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check = Check(f"127.0.0.1:{silent.getsockname()[1]}", monkeypatch, capsys)
        code, found = check(exchange, *material(exchange), timeout_s=1)
    assert (code, found["result"]) == (3, "unreachable"), found
    # Which of the limits ends it first depends on the machine: the probe's own, or one of connect, read and upgrade.
    words = ("imed out", "no answer", "did not open", "ReadTimeout")
    assert any(word in found["reason"] for word in words), found["reason"]


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
def test_a_socket_that_hangs_after_the_upgrade_is_unreachable(sim: Simulator, check: Check, exchange: str) -> None:
    key, secret = material(exchange)
    sim.account(simulated(exchange), key, secret, PHRASE)
    sim.fault("half_open", venue=simulated(exchange), standing=True)
    code, found = check(exchange, key, secret, timeout_s=2)
    if exchange == "binanceUsdm":  # logs in over REST alone: the URL of the socket is the proof
        assert code == 0
        return
    assert (code, found["result"]) == (3, "unreachable"), found
    assert "the WebSocket is open, but login and subscribe were not confirmed within" in found["reason"]


@pytest.mark.parametrize("exchange", ["binanceUsdm", "kucoin"])
def test_rest_that_hangs_is_unreachable_and_named(sim: Simulator, check: Check, exchange: str) -> None:
    key, secret = material(exchange)
    sim.account(simulated(exchange), key, secret, PHRASE)
    sim.fault("rest_slow", venue=simulated(exchange), standing=True, seconds=20)
    code, found = check(exchange, key, secret, timeout_s=2)
    assert (code, found["result"]) == (3, "unreachable"), found
    assert "https://" in found["reason"]


def test_a_rate_limit_is_no_judgement_about_the_key(sim: Simulator, check: Check) -> None:
    sim.account("okx", "key-of-the-check-1", "secret-of-the-check-1", PHRASE)
    sim.fault("refuse", venue="okx", standing=True, status=429, retry_after=60)
    code, found = check("okx", "key-of-the-check-1", "secret-of-the-check-1")
    assert (code, found["result"], found["retryAfterS"]) == (3, "unreachable", 60.0)
    assert "the key was not judged" in found["advice"]


def test_one_lost_connection_is_tried_again(sim: Simulator, check: Check) -> None:
    sim.account("okx", "key-of-the-check-1", "secret-of-the-check-1", PHRASE)
    sim.fault("refuse", venue="okx", times=1, status="reset")
    assert check("okx", "key-of-the-check-1", "secret-of-the-check-1")[0] == 0


def test_a_check_leaves_the_listen_key_to_those_who_use_it(sim: Simulator, check: Check) -> None:
    sim.account("binance", "key-of-the-check-1", "secret-of-the-check-1")
    assert check("binanceUsdm", "key-of-the-check-1", "secret-of-the-check-1")[0] == 0
    assert "DELETE" not in {call["method"] for call in sim.events("calls")}


def test_it_works_over_tls(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Simulator(tls=True, symbols=3, venues=("okx",)) as sim:
        sim.account("okx", "key-of-the-check-1", "secret-of-the-check-1", PHRASE)
        origin = "wss://ws.okx.com:8443"
        monkeypatch.setenv("VENUE_ENDPOINTS", json.dumps({
            origin: f"{sim.ws_url}/ws.okx.com:8443", "https://openapi.okx.com": f"{sim.url}/openapi.okx.com",
        }))  # fmt: skip
        check = Check("", monkeypatch, capsys)
        code, found = check("okx", "key-of-the-check-1", "secret-of-the-check-1", timeout_s=5)
        assert (code, found["result"]) == (3, "unreachable")  # its authority is not known
        assert "certificate" in found["reason"].lower()
        monkeypatch.setenv("VENUE_CA_FILE", str(sim.ca_file))
        assert check("okx", "key-of-the-check-1", "secret-of-the-check-1")[0] == 0


def lines_of_the_docs() -> dict[str, str]:
    """What docs/keys.md shows of `connector check`, by the exchange id; two lines each."""
    page = (Path(__file__).parents[3] / "docs" / "keys.md").read_text()
    found = re.findall(r"^    ((?:rejected|accepted) +(\w+): [^\n]*\n    +→ [^\n]*)$", page, re.MULTILINE)
    return {exchange: re.sub(r"^    ", "", lines, flags=re.MULTILINE) for lines, exchange in found}


def shown(lines: str) -> dict[str, str]:
    result, rest = lines.split(maxsplit=1)
    exchange, said = rest.split(": ", 1)
    reason, todo = said.split("\n")
    return {"exchange": exchange, "result": result, "reason": reason, "advice": todo.strip().removeprefix("→ ")}


UNKNOWN = ("binance", "bybit", "okx", "kucoin", "bitget", "kraken", "coinbase", "whitebit", "paperBinance")


@pytest.mark.parametrize("exchange", UNKNOWN)
def test_a_key_that_the_exchange_does_not_know_looks_as_the_docs_say(check: Check, exchange: str) -> None:
    key, secret = material(exchange)
    if exchange == "kraken":
        secret = "c2VjcmV0LW9mLXRoZS1jaGVjaw=="
    _, found = check(exchange, key, secret)
    told = shown(lines_of_the_docs()[exchange])
    assert {name: found[name] for name in told} == told


def test_keys_of_kraken_s_perpetuals_look_as_the_docs_say(sim: Simulator, check: Check) -> None:
    """An old key, which is good until 2027-03-01."""
    secret = "c2VjcmV0LW9mLXRoZS1jaGVjaw=="
    sim.account("kraken", "derivatives-key-of-the-check", secret)
    page = (Path(__file__).parents[3] / "docs" / "keys.md").read_text()
    for key in ("derivatives-key-of-the-check", "key-of-the-check-1"):
        _, found = check("krakenUsdm", key, secret)
        assert f"    {found['result']:<12}krakenUsdm: {found['reason']}\n" in page
        assert f"    {'':<12}→ {found['advice']}\n" in page


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_it_goes_through_the_proxy_of_the_exchange_and_says_so(
    sim: Simulator, check: Check, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    sim.account("okx", "key-of-the-check-1", "secret-of-the-check-1", PHRASE)
    with RealProxy(kind, "user-of-the-proxy", "secret-of-the-proxy") as proxy:
        monkeypatch.setenv("PROXY_OKX", proxy.url)
        code, found = check("okx", "key-of-the-check-1", "secret-of-the-check-1")
        assert (code, found["through"]) == (0, proxy.label)
    code, found = check("okx", "key-of-the-check-1", "secret-of-the-check-1", timeout_s=5)
    assert (code, found["result"]) == (3, "unreachable")
    assert f"{proxy.label} can't be reached" in found["reason"]
    assert "-of-the-proxy" not in str(found)


def test_the_process_ends_although_the_venue_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code = "import sys; from cli.main import main; sys.exit(main(sys.argv[1:]))"
        ran = subprocess.run(
            [sys.executable, "-c", code, "check", "--exchange", "kucoin", "--keys", "-", "--timeout", "1"],
            input='{"key":"key-of-the-check-1","secret":"secret-of-the-check-1","passphrase":"p"}',
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "VENUE_GATEWAY": f"127.0.0.1:{silent.getsockname()[1]}"},
            check=False,
        )
    assert ran.returncode == 3
    assert ran.stdout.startswith("unreachable kucoin: ")
    assert ran.stderr == ""


def test_a_key_that_the_venue_will_refuse_one_day_is_accepted_with_what_to_make(sim: Simulator, check: Check) -> None:
    secret = "c2VjcmV0LW9mLXRoZS1jaGVjaw=="
    sim.account("kraken", "derivatives-key-of-the-check", secret)
    code, found = check("krakenUsdm", "derivatives-key-of-the-check", secret)
    assert (code, found["result"]) == (0, "accepted"), found
    assert "Settings → API" in found["advice"]
