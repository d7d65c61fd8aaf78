"""Whatever leaves the service in simulated worlds of each venue, on RabbitMQ and on Redis, keeps to its schema.

So does everything in the two hundred worlds of `test_worlds_campaign`.
"""

from __future__ import annotations

import pytest

from harness.worlds.plan import VENUES, draw
from harness.worlds.play import play
from harness.worlds.stage import staged
from tests.unit.harness.listening import listening


@pytest.mark.parametrize("venue", VENUES)
def test_everything_that_is_published_keeps_to_its_schema(venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [draw(3, kind="price", venues=(venue,)), draw(5, kind="venue", venues=(venue,))]
    plans.append(draw(7, kind="keys", venues=(venue,)))
    with listening(monkeypatch) as listener, staged():
        for plan in plans:
            play(plan)
    assert listener.wrong == []
    orders = {"ExecutionReport", "OrderTradeUpdate"}
    assert {"Info", "InfoText", "Ticker", "Restart", "StreamGapMessage"} <= listener.heard.keys()
    assert orders & listener.heard.keys()
    assert listener.heard.total() > 500, listener.heard
