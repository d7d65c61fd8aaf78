"""The arithmetic of the order path's measurement: what it would not see must show here."""

from __future__ import annotations

import json

from bench.orders import judged, key_of_body, key_of_event_id, quantile, ratios
from bench.subscriber import messages
from bench.venue import account_of, framed, key_of, order_frame, unframed

NEW, FILLED = key_of(3_000_001, "New"), key_of(3_000_001, "Filled")


def test_the_steps_of_an_order_rise_and_belong_to_its_account() -> None:
    frames = [order_frame(3, number, 1)[0] for number in range(4)]
    assert frames == sorted(set(frames)) == [NEW, FILLED, key_of(3_000_002, "New"), key_of(3_000_002, "Filled")]
    assert {account_of(key) for key in frames} == {3}


def test_a_frame_holds_the_order_that_its_key_names() -> None:
    key, data = order_frame(3, 1, 1_790_000_000_000)
    order = json.loads(data[4:])["data"][0]
    assert (data[:2], int.from_bytes(data[2:4], "big")) == (b"\x81\x7e", len(data) - 4)
    assert key == key_of(int(order["orderId"]), order["orderStatus"]) == FILLED
    assert order["cumExecQty"] == order["qty"]


def test_events_are_found_again_on_both_sides() -> None:
    assert key_of_body(b'{"orderId":"3000001","price":"1","orderStatus":"FILLED"}') == FILLED
    assert key_of_body(b'{"orderStatus":"NEW","orderId":"3000001"}') == NEW
    assert key_of_body(b"Subscribed to user bench-3") is None
    assert key_of_event_id("bybitLinear:BTCUSDT:3000001:FILLED:0.015") == FILLED
    assert key_of_event_id("bybitLinear:wallet:1") is None


def test_loss_repetition_and_disorder_are_told_apart() -> None:
    sent = [(NEW, 1.0), (FILLED, 1.1), (key_of(4_000_001, "New"), 1.2)]
    good = judged(sent, [(key, mono + 0.005) for key, mono in sent], 0.0)
    assert (good["p50_ms"], good["lost"], good["doubled"], good["out_of_order"]) == (5.0, 0, 0, 0)
    assert judged(sent, [(NEW, 1.1), (FILLED, 1.2)], 0.0)["lost"] == 1
    assert judged(sent, [(NEW, 1.1), (NEW, 1.2)], 0.0)["doubled"] == 1
    assert judged(sent, [(FILLED, 1.2), (NEW, 1.3)], 0.0)["out_of_order"] == 1


def test_a_warm_up_is_not_timed_but_may_lose_nothing() -> None:
    sent = [(NEW, 1.0), (FILLED, 2.0)]
    told = judged(sent, [(FILLED, 2.003)], 1.5)
    assert (told["p99_ms"], told["lost"]) == (3.0, 1)


def test_a_quantile_of_nothing_is_none() -> None:
    assert quantile([], 0.99) is None
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 1.0)] == [1.0, 3.0, 4.0]


def test_ratios_are_those_of_the_medians() -> None:
    mine = [{"cpu_us": value, "amqp": {"p99_ms": 5.0}, "load": 9} for value in (1.0, 2.0, 90.0)]
    theirs = [{"cpu_us": value, "amqp": {"p99_ms": None}, "load": 1} for value in (4.0, 4.0, 4.0)]
    assert ratios(mine, theirs) == {"cpu_us": 0.5}


def test_a_message_came_with_the_bytes_that_end_it() -> None:
    pushed = b"*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\na1\r\n$4\r\nbody\r\n"
    chunks = [(1.0, pushed + pushed[:20]), (2.0, pushed[20:])]
    assert list(messages(chunks, "a*")) == [(1.0, "a1", b"body"), (2.0, "a1", b"body")]


def test_frames_of_a_client_are_read_whole_or_not_at_all() -> None:
    mask = b"\x01\x02\x03\x04"
    data = bytearray(b"\x81\x83" + mask + bytes([ord("a") ^ 1, ord("b") ^ 2, ord("c") ^ 3]))
    half = bytearray(data[:-1])
    assert (unframed(half), len(half)) == ([], len(data) - 1)
    assert (unframed(data), data) == ([(1, b"abc")], bytearray())
    assert framed(b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
