"""One process of a hand-over by itself: `me`, with an `other` that is only a heartbeat and what it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from connector.core.clock import Chance
from connector.core.loop import Loop
from connector.core.ports import WorkerInfo
from connector.streams.handover import (
    Handover,
)
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline
from connector.streams.position_store import PositionStore
from connector.streams.positions import decode_position
from connector.streams.supervisor import Supervisor
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import FakeSupervisor
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState, user
from tests.unit.connector.streams.test_tracker import report

TTL_S = 8.0


class Desk:
    """Process `me` with its side of the protocol; `other` is only a heartbeat, and what it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.state.notify = self._notify  # type: ignore[method-assign]
        self.sink = FakeSink()
        self.pipeline = Pipeline(self.sink, Chance(1))
        self.supervisor = FakeSupervisor(self.clock, self.pipeline)
        self.leases = Leases(self.state, "me", "user", TTL_S, self.clock)
        self.loop = Loop("test", self.clock, threaded=False)
        self.starts = self.room = True
        self.fenced: list[str] = []
        self.handover = Handover(
            self.state,
            self.leases,
            cast(Supervisor, self.supervisor),
            self.pipeline,
            self.clock,
            self.loop,
            self._start,
            PositionStore(self.state, None),
            lambda: self.room,
            self._fence,
        )
        self.drained: list[bool] = []
        self.alive = ["me", "other"]
        self.draining: set[str] = set()
        self.beat()

    def _notify(self, owner: str, text: str) -> None:
        if text == "sweep":
            return  # for everybody: a dead process was buried
        assert owner == "other"
        message = json.loads(text)
        self.told.append((message.pop("t"), message))

    def _fence(self, stream_ids: Sequence[str]) -> None:
        self.fenced.extend(stream_ids)
        for stream_id in stream_ids:
            self.handover.end(stream_id)

    def _start(self, stream_id: str) -> bool:
        if self.starts:
            self.supervisor.want(user(stream_id), hold=True)
        return self.starts

    def beat(self) -> None:
        for name in self.alive:
            info = WorkerInfo(
                owner=name, role="user", host="h", pid=1, started_ms=0, capacity=9, streams=0,
                draining=name in self.draining,
            )  # fmt: skip
            if name == "me":
                self.leases.beat(info)
            else:
                self.state.heartbeat(info, TTL_S)
        self.leases.look_around()

    def runs(self, stream_id: str = "u1") -> int:
        """The stream is live here; the fence of its lease."""
        self.leases.claim([stream_id])
        self.supervisor.want(user(stream_id))
        fence = self.leases.fence(stream_id)
        assert fence is not None
        return fence

    def publish(self, status: str = "NEW", executed: str = "0", stream_id: str = "u1") -> None:
        self.pipeline.account(Emit(stream_id, report(status, executed)), 1.0)

    def passes(self, seconds: float) -> None:
        """Time with a turn of the loop, but without beats and checks."""
        self.clock.seconds += seconds
        while self.loop.turn():
            pass

    def checked(self, seconds: float = 1.0) -> None:
        """A second like those of production: a beat and a check."""
        self.passes(seconds)
        self.beat()
        self.handover.check()
        while self.loop.turn():
            pass

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]

    def say(self, kind: str, stream_id: str = "u1", **fields: object) -> None:
        self.handover.message(kind, stream_id, fields)
        while self.loop.turn():
            pass

    def saved(self, stream_id: str = "u1") -> list[tuple[str, str]] | None:
        position = decode_position(self.state.positions([stream_id]).get(stream_id))
        return None if position is None else [(order.order_id, order.status) for order in position.orders]
