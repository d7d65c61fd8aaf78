"""Processes that come, go and die, lost notifications, a state that goes away: who publishes what, always and in the end."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.connector.streams.cluster import Cluster, Process

STREAMS = ("u1", "u2", "u3", "u4")


class Processes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.cluster.lose = self._lose
        self.to_lose = 0
        self.wanted: dict[str, int] = {}
        self.number = 0

    def teardown(self) -> None:
        self._ends_well()

    def _lose(self, owner: str, text: str) -> bool:
        if self.to_lose and text.startswith("{"):
            self.to_lose -= 1
            return True
        return False

    def _alive(self) -> list[Process]:
        return [process for process in self.cluster.processes if process.alive]

    def _pick(self, index: int) -> Process | None:
        alive = self._alive()
        return alive[index % len(alive)] if alive else None

    @initialize()
    def begin(self) -> None:
        self.join()

    @precondition(lambda self: len(self._alive()) < 3 and not self.cluster.state.away)
    @rule()
    def join(self) -> None:
        self.number += 1
        self.cluster.process(f"p{self.number}")
        self.cluster.settle()

    @precondition(lambda self: not self.cluster.state.away)
    @rule(stream=st.sampled_from(STREAMS))
    def open(self, stream: str) -> None:
        self.cluster.open(stream)
        self.wanted[stream] = self.wanted.get(stream, 0) + 1
        self._wake(stream)

    @precondition(lambda self: not self.cluster.state.away)
    @rule(stream=st.sampled_from(STREAMS))
    def close(self, stream: str) -> None:
        self.cluster.state.close(stream)
        if stream in self.wanted:
            self.wanted[stream] -= 1
            if not self.wanted[stream]:
                del self.wanted[stream]
        self._wake(stream)

    def _wake(self, stream: str) -> None:
        owner = self.cluster.state.owners([stream]).get(stream, "*")
        self.cluster._notify(owner, json.dumps({"t": "reconcile", "id": stream}))
        self.cluster.settle()

    @rule(index=st.integers(0, 2), stream=st.sampled_from(STREAMS))
    def give(self, index: int, stream: str) -> None:
        process = self._pick(index)
        if process is not None and process.leases.holds(stream) and not process.accounts.draining:
            process.accounts.handover.give(stream)
            self.cluster.settle()

    @rule(index=st.integers(0, 2), stream=st.sampled_from(STREAMS))
    def fall_sick_or_recover(self, index: int, stream: str) -> None:
        """The exchange does not let this process in with this account, or does again."""
        process = self._pick(index)
        if process is None:
            return
        if stream not in process.supervisor.sick:
            if stream not in process.streams:
                process.supervisor.sick.add(stream)
            return
        process.supervisor.sick.discard(stream)
        if stream in process.streams:
            process.accounts.stream_live(stream, "bybit")
            self.cluster.settle()

    @rule(index=st.integers(0, 2))
    def drain(self, index: int) -> None:
        process = self._pick(index)
        if process is not None and not process.accounts.draining:
            process.drain()
            self.cluster.settle()

    @precondition(lambda self: not self.cluster.state.away)
    @rule(index=st.integers(0, 2))
    def leave(self, index: int) -> None:
        process = self._pick(index)
        if process is not None and process.accounts.draining:
            process.accounts.handover.abandon()
            if not process.gone:
                process.close_rest()
            self.cluster.settle()
            process.leave()

    @rule(index=st.integers(0, 2))
    def die(self, index: int) -> None:
        process = self._pick(index)
        if process is not None:
            process.die()

    @rule(count=st.integers(1, 3))
    def lose_notifications(self, count: int) -> None:
        self.to_lose = count

    @rule(seconds=st.sampled_from([1, 2, 5, 10, 20]))
    def state_goes_away(self, seconds: int) -> None:
        self.cluster.state.away = True
        self.cluster.tick(seconds)
        self.cluster.state.away = False

    @rule(seconds=st.sampled_from([1, 3, 8, 30, 60]))
    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.cluster.tick(1)
            self.never_two_publishers()

    @invariant()
    def never_two_publishers(self) -> None:
        for stream in STREAMS:
            assert len(self.cluster.publishers(stream)) <= 1, stream

    def _ends_well(self) -> None:
        """When nothing disturbs it any more, every wanted stream runs in one process, and nothing else runs anywhere."""
        self.to_lose = 0
        self.cluster.state.away = False
        for process in self._alive():
            if process.accounts.draining:
                process.accounts.handover.abandon()
                self.cluster.settle()
                process.close_rest()
                process.leave()
        if len(self._alive()) < 3:
            self.join()
        for process in self._alive():
            for stream in sorted(process.supervisor.sick):
                process.supervisor.sick.discard(stream)
                if stream in process.streams:
                    process.accounts.stream_live(stream, "bybit")
        self.cluster.tick(120)
        assert self.cluster.state.wanted_ids() == set(self.wanted)
        for stream in STREAMS:
            assert len(self.cluster.owners(stream)) == (stream in self.wanted), stream
            assert len(self.cluster.publishers(stream)) == (stream in self.wanted), stream
        owners = self.cluster.state.owners(STREAMS)
        for process in self._alive():
            assert set(process.leases.held()) == {stream for stream, owner in owners.items() if owner == process.name}
            assert process.streams == set(process.leases.held())
            assert not process.supervisor.draining
            assert not process.accounts.handover.busy


Processes.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestProcesses = Processes.TestCase
