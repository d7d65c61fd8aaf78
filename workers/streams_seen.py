"""Which account is blind, and why: read from what the processes that run the streams tell (`connector.streams.stories`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from connector.core.log import get_logger
from connector.core.ports import Clock, Role, State, Wanted
from connector.streams.advice import advice
from connector.streams.stories import (
    BLIND,
    ENDED,
    MARKETS,
    STORY,
    UNOWNED,
    Blind,
    Story,
    read_blind,
    read_markets,
    read_story,
)
from exchanges._adapter import FailKind
from exchanges.ids import family_of

log = get_logger(__name__)

LIMIT: Final = 500
"""Streams of one answer."""
LOOKED_AT: Final = 20_000
"""Streams that are looked through for one answer, when those that are live are asked for, too."""
CHUNK: Final = 500
UNOWNED_REASON: Final = "no process runs it: every process is full, or none knows its key"
UNOWNED_ADVICE: Final = "start more processes or raise MAX_STREAMS; see CREDENTIALS_KEYS in docs/settings.md"
WAIT: Final = "wait: it is tried again by itself"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to see."""

    not_live: bool = True
    exchange: str = ""
    text: str = ""
    """Part of the stream's or the user's id."""
    limit: int = LIMIT


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One stream, with what to do about it."""

    told: Blind
    advice: str = ""


class StreamList(msgspec.Struct, frozen=True, kw_only=True):
    now_ms: int
    rows: tuple[Row, ...] = ()
    cut: bool = False
    """There are more than were asked for."""


class StreamPage(msgspec.Struct, frozen=True, kw_only=True):
    """The story of one stream and what the state holds of it."""

    now_ms: int
    story: Story
    advice: str = ""
    subscribers: int = 0
    """0: nobody wants it."""
    owner: str = ""
    """Who runs it now; empty = nobody."""
    last_event_ms: int = 0
    """When an event of it went out on Redis last; 0 = none did, or not there."""


class StreamsSeen:
    """Any thread. Every method may raise `StateUnavailable`."""

    def __init__(self, state: State, role: Role | None, clock: Clock) -> None:
        """`role` None: accounts and markets."""
        self._state, self._role, self._clock = state, role, clock

    def listed(self, asked: Asked) -> StreamList:
        found: list[Row] = []
        for told in self._all() if not asked.not_live else self._blind():
            if not _matches(told, asked):
                continue
            if len(found) >= asked.limit:
                return StreamList(now_ms=self._clock.wall_ms(), rows=tuple(found), cut=True)
            found.append(Row(told=told, advice=advice_for(told)))
        return StreamList(now_ms=self._clock.wall_ms(), rows=tuple(found))

    def _blind(self) -> list[Blind]:
        """Those that the living processes tell of, the longest blind first; who runs one knows it better than the others."""
        owners = [worker.owner for worker in self._state.workers(self._role)]
        texts = self._state.get_all([BLIND + owner for owner in owners])
        rows: dict[str, Blind] = {}
        for owner, text in zip(owners, texts, strict=True):
            for told in _readable(owner, text):
                if told.state != UNOWNED or told.stream_id not in rows:
                    rows[told.stream_id] = told
        nobodys = [name for name, told in rows.items() if told.state == UNOWNED][:LIMIT]
        rows |= {name: _nobodys(name, wanted) for name, wanted in self._state.wanted(nobodys).items()}
        return sorted(rows.values(), key=lambda told: (told.since_ms, told.stream_id))

    def _all(self) -> Iterator[Blind]:
        accounts = self._state.wanted_ids() if self._role != "price" else set[str]()
        markets = self._markets() if self._role != "user" else set[str]()
        ids = sorted(accounts | markets)[:LOOKED_AT]
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            texts = self._state.get_all([STORY + name for name in chunk])
            untold = [name for name, text in zip(chunk, texts, strict=True) if text is None and name in accounts]
            wanted = self._state.wanted(untold) if untold else {}
            for stream_id, text in zip(chunk, texts, strict=True):
                story = _story(stream_id, text)
                if story is not None:
                    yield story
                elif stream_id in accounts:
                    yield _nobodys(stream_id, wanted.get(stream_id))

    def _markets(self) -> set[str]:
        """Ticker and candle streams that the living processes name."""
        owners = [worker.owner for worker in self._state.workers(self._role)]
        found: set[str] = set()
        for owner, text in zip(owners, self._state.get_all([MARKETS + one for one in owners]), strict=True):
            try:
                found.update(read_markets(text) if text is not None else ())
            except msgspec.DecodeError:
                log.debug("a list of streams can't be read: another version wrote it", owner=owner)
        return found

    def page(self, stream_id: str) -> StreamPage | None:
        """None for a stream that nobody wants and of which nothing is known."""
        wanted = self._state.wanted([stream_id]).get(stream_id)
        story = _story(stream_id, self._state.get(STORY + stream_id))
        if wanted is None and story is None:
            story = self._told_of(stream_id)
        if wanted is None and story is None:
            return None
        owner = self._state.owners([stream_id]).get(stream_id, "")
        if story is None and wanted is not None:
            story = Story(**msgspec.structs.asdict(_nobodys(stream_id, wanted)))
        if story is None:
            return None
        if story.feed not in {"", "user"}:  # a market's: nobody has to want it
            return self._of_market(story)
        if wanted is None:
            story = msgspec.structs.replace(story, state=ENDED)  # who ran it tells so within a second
        elif not owner:
            story = msgspec.structs.replace(story, state=UNOWNED, reason=UNOWNED_REASON)
        return StreamPage(
            now_ms=self._clock.wall_ms(),
            story=story,
            advice=advice_for(story),
            subscribers=wanted.count if wanted is not None else 0,
            owner=owner,
            last_event_ms=self._state.last_event_ms(stream_id),
        )

    def _told_of(self, stream_id: str) -> Story | None:
        """What its process lists: that it is not live, and why. For a state that was emptied, or an older process."""
        rows = [told for told in self._blind() if told.stream_id == stream_id]
        return Story(**msgspec.structs.asdict(rows[0])) if rows else None

    def _of_market(self, story: Story) -> StreamPage:
        living = {worker.owner for worker in self._state.workers()}
        owner = story.owner if story.owner in living and story.state != ENDED else ""
        if not owner and story.state != ENDED:
            story = msgspec.structs.replace(story, state=UNOWNED)
        return StreamPage(now_ms=self._clock.wall_ms(), story=story, owner=owner)


_TRIED: Final = frozenset({"waiting", "opening", "joining"})


def advice_for(told: Blind) -> str:
    """What a person can do about it, one sentence; empty = there is nothing to do."""
    if told.state == UNOWNED:
        return UNOWNED_ADVICE
    if not told.refusal:
        return WAIT if told.state in _TRIED else ""
    return advice(family_of(told.exchange), FailKind(told.refusal), told.reason)


def _nobodys(stream_id: str, wanted: Wanted | None) -> Blind:
    """A stream that no process runs, with what the state knows of it."""
    exchange, user_id = (wanted.exchange, wanted.user_id) if wanted is not None else ("", "")
    return Blind(stream_id=stream_id, exchange=exchange, user_id=user_id, state=UNOWNED, reason=UNOWNED_REASON)


def _matches(told: Blind, asked: Asked) -> bool:
    if asked.exchange and told.exchange != asked.exchange:
        return False
    return asked.text in told.stream_id or asked.text in told.user_id


def _story(stream_id: str, text: str | None) -> Story | None:
    if text is None:
        return None
    try:
        return read_story(text)
    except msgspec.DecodeError:
        log.debug("a story can't be read: another version wrote it", stream=stream_id)
        return None


def _readable(owner: str, text: str | None) -> Iterable[Blind]:
    try:
        return () if text is None else read_blind(text)
    except msgspec.DecodeError:
        log.debug("a list of streams can't be read: another version wrote it", owner=owner)
        return ()
