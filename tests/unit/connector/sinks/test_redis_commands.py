"""Account messages as Redis commands, and what the answers mean."""

from __future__ import annotations

from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError

from connector.core.messages import AccountMessage, InfoMessage, StreamClosed, TickerMessage
from connector.sinks._redis_commands import AccountBatch, ChannelNames, Outcome, Settled
from connector.sinks._redis_lanes import AccountItem, RedisLanes
from connector.sinks._redis_link import command, forbidden, passing


def event(number: int, event_type: str = "executionReport", field: str | None = None) -> AccountMessage:
    return AccountMessage(
        stream_id="u",
        exchange="okx",
        event_type=event_type,
        event_id=str(number),
        event_time_ms=1,
        body=b"{%d}" % number,
        received_mono=0.0,
        order_field=field,
        order_ttl_s=300 if field else 0,
    )


def test_an_order_event_is_stored_with_its_expiry_before_it_is_published() -> None:
    batch = AccountBatch([event(1, field="D-BO-1")], 1_000, has_hexpire=True)
    assert batch.packed == b"".join(
        [
            command(b"ZADD", b"stream:lastEventTime", b"GT", b"1000", b"u"),
            command(b"HSET", b"orders", b"D-BO-1", b"{1}"),
            command(b"HEXPIRE", b"orders", b"300", b"FIELDS", b"1", b"D-BO-1"),
            command(b"PUBLISH", b"u", b"{1}"),
        ]
    )


def test_without_hexpire_the_deadline_is_written_before_the_field() -> None:
    batch = AccountBatch([event(1, field="D-BO-1")], 1_000, has_hexpire=False)
    assert batch.packed == b"".join(
        [
            command(b"ZADD", b"stream:lastEventTime", b"GT", b"1000", b"u"),
            command(b"ZADD", b"wsc:orders:expiry", b"301000", b"D-BO-1"),
            command(b"HSET", b"orders", b"D-BO-1", b"{1}"),
            command(b"PUBLISH", b"u", b"{1}"),
        ]
    )


def test_infos_and_closes_keep_their_place() -> None:
    items: list[AccountItem] = [event(1), InfoMessage(stream_id="u", exchange="okx"), StreamClosed(stream_id="u")]
    batch = AccountBatch(items, 1_000, has_hexpire=True)
    assert batch.packed.endswith(
        command(b"PUBLISH", b"userStreamInfou", b"Subscribed to user u")
        + command(b"ZREM", b"stream:lastEventTime", b"u")
    )
    assert batch.count == 4


def test_answers_that_are_missing_make_only_the_later_items_unknown() -> None:
    items = [event(1), event(2, "balanceUpdate"), event(3)]
    batch = AccountBatch(items, 1_000, has_hexpire=True)
    # ZADD and PUBLISH of the first, ZADD of the second; then the connection broke.
    outcomes = batch.outcomes([1, 1, 1])
    assert outcomes == [Outcome.DONE, Outcome.UNKNOWN, Outcome.UNKNOWN]
    settled = Settled(items, outcomes)
    assert settled.done == [items[0]]
    assert settled.again == [items[2]]
    assert settled.unknown == 1


def test_a_balance_update_that_the_server_refused_for_now_is_sent_again() -> None:
    items = [event(1, "balanceUpdate")]
    batch = AccountBatch(items, 1_000, has_hexpire=True)
    outcomes = batch.outcomes([1, ResponseError("MASTERDOWN Link with MASTER is down")])
    assert outcomes == [Outcome.REFUSED]
    assert Settled(items, outcomes).again == items


def test_a_forbidden_publish_is_given_up() -> None:
    items = [event(1)]
    outcomes = AccountBatch(items, 1_000, has_hexpire=True).outcomes([1, NoPermissionError("no")])
    assert outcomes == [Outcome.FORBIDDEN]
    assert Settled(items, outcomes).forbidden == 1


def test_a_server_that_takes_no_writes_is_left_although_the_event_went_out() -> None:
    batch = AccountBatch([event(1)], 1_000, has_hexpire=True)
    assert batch.outcomes([ReadOnlyError("replica"), 1]) == [Outcome.DONE]
    assert batch.reconnect


def test_a_full_server_still_publishes() -> None:
    batch = AccountBatch([event(1, field="D-BO-1")], 1_000, has_hexpire=True)
    full = OutOfMemoryError("full")
    assert batch.outcomes([full, full, full, 0]) == [Outcome.DONE]
    assert not batch.reconnect
    assert batch.side_errors


def test_error_replies_are_told_apart() -> None:
    assert forbidden(ResponseError("wrong number of arguments", status_code="ERR"))
    assert forbidden(NoPermissionError("x"))
    assert not forbidden(ResponseError("BUSY script"))
    assert passing(ResponseError("BUSY script"))
    assert not passing(OutOfMemoryError("x"))
    assert not passing(b"OK")


def test_ids_that_are_not_valid_text_cost_a_character_and_not_the_lane() -> None:
    odd = AccountMessage(
        stream_id="u\ud800",
        exchange="okx",
        event_type="x",
        event_id="1",
        event_time_ms=1,
        body=b"{}",
        received_mono=0.0,
    )
    assert b"u?" in AccountBatch([odd], 1, has_hexpire=True).packed


def test_channel_names_are_made_once() -> None:
    names = ChannelNames()
    frame = TickerMessage(exchange="okx", symbols=["A", "B"], bodies=[b"1", b"22"], received_mono=0.0)
    expected = [b"$11\r\ntrade@A@okx\r\n$1\r\n1\r\n", b"$11\r\ntrade@B@okx\r\n$2\r\n22\r\n"]
    assert names.pairs(frame) == expected
    assert names.pairs(frame) == expected


def lanes(**limits: int) -> RedisLanes:
    return RedisLanes(**{"account_limit": 2, "candle_limit": 10, "service_limit": 10, "ticker_rows": 10} | limits)


def test_a_full_buffer_loses_the_oldest_and_knows_whose_they_were() -> None:
    waiting = lanes()
    assert sum(waiting.add(event(number)) for number in range(4)) == 2
    assert [item.event_id for item in waiting.take_account(9) if isinstance(item, AccountMessage)] == ["2", "3"]
    assert list(waiting.lost_streams) == ["u"]
    assert waiting.lost == 2
    assert waiting.account_progress.pending == 2


def test_a_closed_stream_is_not_told_about_its_losses_but_still_closed() -> None:
    waiting = lanes()
    waiting.add(event(1))
    waiting.add(StreamClosed(stream_id="u"))
    for _ in range(2):
        waiting.add(InfoMessage(stream_id="other", exchange="okx"))
    assert list(waiting.missed_closes) == ["u"]
    assert not waiting.lost_streams


def test_a_stream_that_came_back_after_its_close_is_not_closed() -> None:
    waiting = lanes(account_limit=1)
    waiting.add(StreamClosed(stream_id="u"))
    waiting.add(event(1))
    waiting.add(event(2))
    assert not waiting.missed_closes
    assert list(waiting.lost_streams) == ["u"]
