"""Market data that waits: complete without pressure, newest per key under it."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from connector.core.messages import CandleMessage, TickerMessage
from connector.sinks._backlog import RunningCandles, TickerBacklog


def frame(*rows: tuple[str, int], exchange: str = "okx") -> TickerMessage:
    return TickerMessage(
        exchange=exchange,
        symbols=[symbol for symbol, _ in rows],
        bodies=[b"%d" % value for _, value in rows],
        received_mono=0.0,
    )


def rows_of(frames: list[TickerMessage]) -> list[tuple[str, str, bytes]]:
    return [
        (each.exchange, symbol, body) for each in frames for symbol, body in zip(each.symbols, each.bodies, strict=True)
    ]


def candle(start: int, body: str, *, closed: bool = False, symbol: str = "BTC") -> CandleMessage:
    return CandleMessage(
        exchange="kraken",
        symbol=symbol,
        interval="1",
        event_id=body,
        start_ms=start,
        body=body.encode(),
        closed=closed,
        received_mono=0.0,
    )


def test_without_pressure_every_row_comes_out_in_order() -> None:
    backlog = TickerBacklog(limit_rows=100)
    backlog.add(frame(("A", 1), ("B", 2)))
    backlog.add(frame(("A", 3)))
    assert rows_of(backlog.take(10)) == [("okx", "A", b"1"), ("okx", "B", b"2"), ("okx", "A", b"3")]
    assert backlog.conflated == 0


def test_take_splits_a_frame_and_keeps_the_rest() -> None:
    backlog = TickerBacklog(limit_rows=100)
    backlog.add(frame(("A", 1), ("B", 2), ("C", 3)))
    assert [row[1] for row in rows_of(backlog.take(2))] == ["A", "B"]
    assert backlog.rows == 1
    assert [row[1] for row in rows_of(backlog.take(2))] == ["C"]
    assert backlog.rows == 0


def test_restored_rows_come_first() -> None:
    backlog = TickerBacklog(limit_rows=100)
    backlog.add(frame(("A", 1)))
    taken = backlog.take(10)
    backlog.add(frame(("A", 2)))
    backlog.restore(taken)
    assert [row[2] for row in rows_of(backlog.take(10))] == [b"1", b"2"]


def test_rows_restored_while_a_large_frame_is_half_taken_come_once_and_first() -> None:
    backlog = TickerBacklog(100)
    backlog.add(frame(("A", 1), ("B", 2), ("C", 3), ("D", 4)))
    first, second = backlog.take(1), backlog.take(2)
    backlog.restore([*first, *second])
    assert backlog.rows == 4
    assert rows_of(backlog.take(100)) == rows_of([frame(("A", 1), ("B", 2), ("C", 3), ("D", 4))])
    assert backlog.rows == 0


def test_rows_that_are_taken_do_not_come_again_when_the_rest_of_their_frame_is_conflated() -> None:
    backlog = TickerBacklog(100)
    backlog.add(frame(("A", 1), ("B", 2), ("C", 3)))
    backlog.add(frame(("B", 4)))
    taken = backlog.take(1)
    backlog.conflate()
    assert rows_of(taken) == rows_of([frame(("A", 1))])
    assert rows_of(backlog.take(100)) == rows_of([frame(("B", 4), ("C", 3))])
    assert (backlog.rows, backlog.conflated) == (0, 1)


def test_what_is_left_of_a_large_frame_is_not_copied_with_each_part() -> None:
    class Rows(list[str]):
        copied = 0

        def __getitem__(self, key: object) -> Any:
            part = super().__getitem__(cast("slice", key))
            Rows.copied += len(part)
            return Rows(part)

    backlog = TickerBacklog(100_000)
    symbols = Rows(str(number) for number in range(2_000))
    bodies = [b""] * len(symbols)
    backlog.add(TickerMessage(exchange="okx", symbols=symbols, bodies=bodies, received_mono=0.0))
    while backlog.rows:
        backlog.take(250)
    assert Rows.copied == 2_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["okx", "bybit"]),
            st.lists(st.tuples(st.sampled_from("ABCDE"), st.integers(0, 99)), max_size=6),
        ),
        max_size=60,
    ),
    st.integers(1, 20),
)
def test_under_pressure_memory_is_bounded_and_the_newest_row_of_each_symbol_survives(
    frames: list[tuple[str, list[tuple[str, int]]]], limit: int
) -> None:
    backlog = TickerBacklog(limit_rows=limit)
    newest: dict[tuple[str, str], bytes] = {}
    added = 0
    for exchange, rows in frames:
        backlog.add(frame(*rows, exchange=exchange))
        added += len(rows)
        newest |= {(exchange, symbol): b"%d" % value for symbol, value in rows}
        assert backlog.rows <= max(limit, 2 * len(newest))
    out = rows_of(backlog.take(10_000))
    assert {(exchange, symbol): body for exchange, symbol, body in out} == newest
    assert len(out) + backlog.conflated == added
    assert backlog.progress.added - backlog.progress.settled == len(out)


def test_running_updates_of_one_period_replace_one_another() -> None:
    running = RunningCandles()
    assert running.add(candle(1, "a")) == ()
    assert running.add(candle(1, "b")) == ()
    assert [message.body for message in running.take(5)] == [b"b"]
    assert running.conflated == 1


def test_the_last_update_of_a_period_is_not_replaced_by_the_next_period() -> None:
    running = RunningCandles()
    running.add(candle(1, "a"))
    assert [message.body for message in running.add(candle(2, "b"))] == [b"a"]
    assert [message.body for message in running.take(5)] == [b"b"]


def test_a_closed_candle_replaces_the_running_one_of_its_period_only() -> None:
    running = RunningCandles()
    running.add(candle(1, "a"))
    assert [message.body for message in running.add(candle(1, "A", closed=True))] == [b"A"]
    running.add(candle(2, "b"))
    assert [message.body for message in running.add(candle(3, "C", closed=True))] == [b"b", b"C"]
    assert len(running) == 0


@given(st.lists(st.tuples(st.sampled_from("XY"), st.integers(0, 3), st.booleans()), max_size=40))
def test_whatever_is_conflated_each_period_ends_with_its_last_values(steps: list[tuple[str, int, bool]]) -> None:
    running = RunningCandles()
    clock: dict[str, int] = {}
    out: list[CandleMessage] = []
    expected: dict[tuple[str, int], bytes] = {}
    for index, (symbol, advance, closed) in enumerate(steps):
        clock[symbol] = clock.get(symbol, 0) + advance
        message = candle(clock[symbol], str(index), closed=closed, symbol=symbol)
        expected[(symbol, message.start_ms)] = message.body
        out += running.add(message)
    out += running.take(100)
    last = {(message.symbol, message.start_ms): message.body for message in out}
    assert last == expected
    for symbol in "XY":
        starts = [message.start_ms for message in out if message.symbol == symbol]
        assert starts == sorted(starts)
