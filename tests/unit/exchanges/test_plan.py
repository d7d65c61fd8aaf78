"""Plans of gap repairs: no order is left out without a word."""

from __future__ import annotations

from collections.abc import Sequence

from exchanges._adapter import Answer, Call, Instant, Live, Output, Resume, UserSubscription
from exchanges._plan import Singles, Steps, left_out
from exchanges._repair import GapRepair, Repaired
from exchanges.credentials import credentials

LISTS = Call(tag="open orders", method="GET", url="https://venue/orders")
GOOD = Answer(200, {}, b"{}")
NOW = Instant(0.0, 0)


def singles(order_ids: Sequence[str]) -> list[Call]:
    return [Call(tag="order", method="GET", url=f"https://venue/orders/{order_id}") for order_id in order_ids]


def read(steps: Steps) -> tuple[int, Live]:
    """Answer everything that is asked; returns how many single orders were, and the end."""
    account = UserSubscription(
        stream_id="u", exchange="okx", credentials=credentials("k", "s"), resume=Resume(since_ms=0)
    )
    gap = GapRepair(account, then=steps.then)
    todo: list[Output] = gap.begin([LISTS], NOW)
    asked = 0
    while True:
        output = todo.pop(0)
        if isinstance(output, Live):
            return asked, output
        assert isinstance(output, Call)
        asked += output.tag == "order"
        todo += gap.answered(output, GOOD, lambda *_: Repaired(), NOW)


def test_orders_beyond_the_maximum_are_named_in_the_report() -> None:
    asked, live = read(Steps(Singles(lambda: [str(n) for n in range(250)], singles, most=100, step=30)))
    assert asked == 100
    assert live.gap is not None
    assert live.gap.missing == (left_out(150),)


def test_as_many_orders_as_the_maximum_are_all_asked_for() -> None:
    asked, live = read(Steps(Singles(lambda: ["a", "b"], singles, most=2, step=1)))
    assert asked == 2
    assert live.gap is not None
    assert live.gap.missing == ()


def test_what_a_step_without_calls_tells_is_told_with_the_next_one() -> None:
    steps = Steps(lambda _: Repaired(missing=["candles of the moon"]), Singles(lambda: ["a"], singles))
    first = steps.then(NOW)
    assert (len(first.calls), list(first.missing)) == (1, ["candles of the moon"])
    assert steps.then(NOW) == Repaired(events=[], missing=[])
