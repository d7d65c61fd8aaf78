"""What is left of the exchanges' limits, and who bars which of our addresses until when, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from connector.core.limit_use import LimitUse
from workers.pages import age

TITLE: Final = "Limits of the exchanges"
COLUMNS: Final = ("exchange", "address", "state", "in use")
MOST_ROWS: Final = 40
"""Exchanges and addresses with a row of their own: those that are barred or have least left."""
MOST_BARS: Final = 3
"""Lines at the top of the page; the table has all of them."""
OWN: Final = "the host's own"
_DAY_MS: Final = 86_400_000

_HELP: Final = "a restart does not help. If it comes back: more addresses (EGRESS_IPS, EGRESS_PROXIES)"
_CONNECT_ADVICE: Final = f"Connections that are up go on, new ones wait by themselves; {_HELP}."
_REST_ADVICE: Final = f"Live streams go on, openings and repairs of gaps wait by themselves; {_HELP}."


def bars(limits: Sequence[LimitUse], now_ms: int) -> list[str]:
    """One line, with what to do, for each bar that is in force."""
    barred = sorted((use for use in limits if use.barred_until_ms > now_ms), key=lambda use: -use.barred_until_ms)
    lines = [_line(use, now_ms) for use in barred[:MOST_BARS]]
    if len(barred) > MOST_BARS:
        lines.append(f"… and {len(barred) - MOST_BARS} more: see {TITLE}")
    return lines


def _line(use: LimitUse, now_ms: int) -> str:
    address = f"address {use.egress}" if use.egress else "this host's own address"
    advice = _REST_ADVICE if use.kind.startswith("rest-") else _CONNECT_ADVICE
    return f"{use.venue} takes no {_what(use.kind)} from {address} {_until(use, now_ms)}. {advice}"


def _what(kind: str) -> str:
    if kind == "rest-requests":
        return "requests"
    if kind.startswith("rest-"):
        return f"requests ({kind.removeprefix('rest-')})"
    return {"connect": "connections", "connect-own": "account connections"}.get(kind, kind)


def _until(use: LimitUse, now_ms: int) -> str:
    left_ms = use.barred_until_ms - now_ms
    form = "%H:%M:%S UTC" if left_ms < _DAY_MS else "%Y-%m-%d %H:%M UTC"
    at = datetime.fromtimestamp(use.barred_until_ms / 1000, UTC).strftime(form)
    return f"until {at} (in {age(left_ms)}): {use.why or 'another process was told'}"


def limit_rows(limits: Sequence[LimitUse], now_ms: int) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[bool]]:
    """A row for each exchange and address, the fullest first: columns, rows of text, and which of them are barred."""
    found: defaultdict[tuple[str, str], list[LimitUse]] = defaultdict(list)
    for use in limits:
        found[use.venue, use.egress].append(use)
    ordered = sorted(found.items(), key=lambda row: (-_fullness(row[1], now_ms), row[0]))
    shown, rest = ordered[:MOST_ROWS], ordered[MOST_ROWS:]
    rows: list[tuple[str, ...]] = [
        (venue, egress or OWN, _state(uses, now_ms), _taken(uses)) for (venue, egress), uses in shown
    ]
    red = [_fullness(uses, now_ms) > 1 for _, uses in shown]
    if rest:
        barred = sum(_fullness(uses, now_ms) > 1 for _, uses in rest)
        rows.append((f"{len(rest)} more", "", f"{barred} of them barred" if barred else "free", ""))
        red.append(bool(barred))
    return COLUMNS, rows, red


def _fullness(uses: Sequence[LimitUse], now_ms: int) -> float:
    """0 = nothing is taken, 1 = all of a limit; more = barred."""
    if any(use.barred_until_ms > now_ms for use in uses):
        return 2.0
    return max((min(1.0, use.used / use.limit) for use in uses if use.limit), default=0.0)


def _taken(uses: Sequence[LimitUse]) -> str:
    """Of each limit of which something is taken."""
    taken = [use for use in uses if use.limit and use.used]
    return "; ".join(f"{_what(use.kind)} {use.used} of {use.limit} in {_span(use.per_s)}" for use in taken) or "nothing"


def _span(seconds: float) -> str:
    return age(int(seconds * 1000)) if seconds.is_integer() else f"{seconds:g} s"


def _state(uses: Sequence[LimitUse], now_ms: int) -> str:
    barred = [f"no {_what(use.kind)} {_until(use, now_ms)}" for use in uses if use.barred_until_ms > now_ms]
    full = [f"no more {_what(use.kind)} for now" for use in uses if use.limit and use.used >= use.limit]
    return "; ".join(barred or full) or "free"
