"""Lists of streams and the story of one: as pages for people, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import parse_qsl, quote

from connector.streams.lifecycle import CONNECTED_STATES
from connector.streams.stories import ENDED, UNOWNED, Move
from workers.pages import age, page, table
from workers.streams_seen import LIMIT, Asked, Row, StreamList, StreamPage

COLUMNS: Final = ("stream", "exchange", "user", "state", "since", "next try", "why", "what to do")
_FIELDS: Final = frozenset({"not_live", "exchange", "text", "limit"})
_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})


def query_of(query: str) -> Asked:
    """`not_live`, `exchange`, `text`, `limit` out of a query string. Raises `ValueError` naming what can't be used."""
    fields = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise ValueError(f"{unknown[0]}: takes {', '.join(sorted(_FIELDS))}")
    not_live = (fields.get("not_live") or "true").lower()
    if not_live not in _TRUE | _FALSE:
        raise ValueError("not_live: takes true or false")
    limit = fields.get("limit") or str(LIMIT)
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= LIMIT:
        raise ValueError(f"limit: takes 1 to {LIMIT}")
    return Asked(
        not_live=not_live in _TRUE,
        exchange=fields.get("exchange", ""),
        text=fields.get("text", ""),
        limit=int(limit),
    )


def cells(row: Row, now_ms: int) -> tuple[str, ...]:
    """One line of a list, as text; the columns are `COLUMNS`."""
    told = row.told
    next_try = age(told.next_try_ms - now_ms) if told.next_try_ms > now_ms else "now" if told.next_try_ms else ""
    return (
        told.stream_id,
        told.exchange,
        told.user_id,
        told.state,
        age(now_ms - told.since_ms) if told.since_ms else "",
        next_try,
        told.reason,
        row.advice,
    )


def rows_table(title: str, listed: StreamList) -> str:
    """The list as HTML, each stream with a link to its story."""
    rows = []
    for row in listed.rows:
        name, *others = cells(row, listed.now_ms)
        link = f'<a href="/streams/{quote(name, safe="")}">{escape(name)}</a>'
        rows.append((link, *(escape(text) for text in others)))
    return table(title, COLUMNS, rows, cards=True)


def list_page(listed: StreamList, asked: Asked) -> bytes:
    live = "" if asked.not_live else " checked"
    search = (
        '<form action="/streams"><input name="text" aria-label="stream or user" placeholder="stream or user" '
        f'value="{escape(asked.text)}"> <input name="exchange" aria-label="exchange id" placeholder="exchange id" '
        f'value="{escape(asked.exchange)}"> <label><input type="checkbox" name="not_live" value="false"{live}> '
        'also those that are live</label> <input type="submit" value="Show"></form>'
    )
    more = f'<p class="quiet">Only the first {len(listed.rows)}: narrow the search.</p>' if listed.cut else ""
    title = "Streams that are not live" if asked.not_live else "Streams"
    return page(title, f'<h1><a href="/">websocket-connector</a></h1>{search}{rows_table(title, listed)}{more}')


def _facts(found: StreamPage) -> list[tuple[str, str]]:
    story = found.story
    facts = [
        ("stream", story.stream_id),
        ("exchange", story.exchange),
        ("user", story.user_id),
        ("state", story.state),
        ("since", f"{age(found.now_ms - story.since_ms)} ({moment(story.since_ms)})" if story.since_ms else ""),
        ("why", story.reason),
        ("what to do", found.advice),
        ("next try", moment(story.next_try_ms) if story.next_try_ms else ""),
        ("run by", found.owner or "nobody"),
        ("subscribers", "" if is_market(found) else str(found.subscribers)),
    ]
    if found.last_event_ms:
        facts.append(("last event", f"{age(found.now_ms - found.last_event_ms)} ago ({moment(found.last_event_ms)})"))
    gap = story.last_gap
    if gap is not None:
        since = moment(gap.from_ms) if gap.from_ms else "nobody knows when"
        missing = f"; could not be repaired: {', '.join(gap.missing)}" if gap.missing else "; repaired"
        facts.append(("last gap", f"{since} to {moment(gap.to_ms)}{missing}"))
    return [(name, text) for name, text in facts if text]


def is_market(found: StreamPage) -> bool:
    """Whether it is a stream of tickers or candles, not an account's."""
    return found.story.feed not in {"", "user"}


def notes(found: StreamPage) -> list[tuple[str, str]]:
    """The newest first: when, what was noticed."""
    return [(_when(note), note.reason) for note in reversed(found.story.notes)]


def moves(found: StreamPage) -> list[tuple[str, str, str]]:
    """The newest first: when, state, why."""
    return [(_when(move), move.state, move.reason) for move in reversed(found.story.moves)]


def _when(move: Move) -> str:
    return (
        moment(move.at_ms)
        if move.times == 1
        else f"{moment(move.at_ms)}, {move.times} times until {moment(move.last_ms)}"
    )


def is_live(found: StreamPage) -> bool:
    """Whether its bots see what happens."""
    return found.story.state in {state.value for state in CONNECTED_STATES}


def story_page(found: StreamPage, *, control: bool = False) -> bytes:
    """`control`: whoever has the token can act on it."""
    bad = found.story.state != ENDED and not is_live(found)
    kind = "bad" if bad else "doubt" if _lost(found) else "ok"
    answer = f'<p class="answer {kind}">{escape(_answer(found))}</p>'
    facts = table("Now", ("", ""), [(escape(name), escape(text)) for name, text in _facts(found)])
    noticed = [tuple(escape(cell) for cell in row) for row in notes(found)]
    seen = table("Noticed", ("when", "what"), noticed, cards=True) if noticed else ""
    before = [tuple(escape(cell) for cell in row) for row in moves(found)]
    told = table("Before", ("when", "state", "why"), before, cards=True)
    head = '<h1><a href="/">websocket-connector</a></h1>'
    here = quote(found.story.stream_id, safe="")
    form = f'<p><a href="/streams/{here}/control">Restart it, or try its key now</a></p>'
    act = form if control and not is_market(found) else ""
    return page(f"Stream {found.story.stream_id}", f"{head}{answer}{act}{facts}{seen}{told}")


def control_page(stream_id: str) -> bytes:
    """Does not renew itself: somebody types a token here."""
    here = f"/streams/{quote(stream_id, safe='')}"
    form = (
        f'<form method="post" action="{here}/restart"><p><input type="password" name="token" required '
        'aria-label="CONTROL_TOKEN" placeholder="CONTROL_TOKEN" autocomplete="current-password"></p>'
        "<p><button>Restart the stream</button> "
        f'<button formaction="{here}/try-key">Try the refused key now</button></p></form>'
        '<p class="quiet">A restart closes the connection and opens a new one; the gap is repaired and told. A key that is '
        "refused again cools down for longer. Each use is a line in the log.</p>"
    )
    name = escape(stream_id)
    head = f'<h1><a href="/">websocket-connector</a></h1><p>Stream <a href="{here}">{name}</a></p>'
    return page(f"Stream {stream_id}", head + form, refresh_s=0)


def _answer(found: StreamPage) -> str:
    state = found.story.state
    if state == ENDED:
        return "This stream ended" if is_market(found) else "Nobody wants this stream any more"
    if state == UNOWNED:
        return "Blind: no process runs this stream"
    if is_live(found):
        return "Live, but not all of the last gap could be read" if _lost(found) else "Live"
    return f"Blind: {state}"


def _lost(found: StreamPage) -> bool:
    """Whether something of the last gap is not known: its bots have to look for themselves. Before an account's first
    connection nothing is ever known."""
    gap = found.story.last_gap
    return is_live(found) and gap is not None and gap.from_ms > 0 and bool(gap.missing)


def story_text(found: StreamPage) -> str:
    """The story for a terminal."""
    width = max(len(name) for name, _ in _facts(found))
    lines = [_answer(found), *(f"  {name.ljust(width)}  {text}" for name, text in _facts(found))]
    if noticed := notes(found):
        lines += ["", "Noticed", *text_table(("when", "what"), noticed)]
    lines += ["", "Before"]
    return "\n".join([*lines, *text_table(("when", "state", "why"), moves(found))])


def list_text(listed: StreamList) -> str:
    lines = text_table(COLUMNS, [cells(row, listed.now_ms) for row in listed.rows]) if listed.rows else ["  none"]
    return "\n".join([*lines, *(["  … and more: narrow the search"] if listed.cut else [])])


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *rows)
    ]


def moment(ms: int) -> str:
    """UTC, to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
