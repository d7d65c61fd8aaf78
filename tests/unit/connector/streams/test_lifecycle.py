"""The life-cycle table, exhaustively."""

from __future__ import annotations

import itertools

import pytest

from connector.streams.lifecycle import CONNECTED_STATES, MOVES, IllegalMove, Signal, StreamState, move

ALL = list(itertools.product(StreamState, Signal))


@pytest.mark.parametrize(("state", "signal"), ALL, ids=lambda value: value.value)
def test_every_pair_either_moves_as_the_table_says_or_raises(state: StreamState, signal: Signal) -> None:
    if (state, signal) in MOVES:
        assert move(state, signal) is MOVES[state, signal]
    else:
        with pytest.raises(IllegalMove, match=state.value):
            move(state, signal)


@pytest.mark.parametrize("state", list(StreamState))
def test_stop_is_legal_everywhere(state: StreamState) -> None:
    assert move(state, Signal.STOP) is StreamState.STOPPED


def test_a_lost_stream_always_has_a_way_back_unless_it_is_handed_over() -> None:
    for state in CONNECTED_STATES - {StreamState.DRAINING}:
        assert move(state, Signal.LOST) is StreamState.WAITING
    assert move(StreamState.DRAINING, Signal.LOST) is StreamState.STOPPED


def test_a_refused_key_cools_down_from_every_active_state() -> None:
    for state in (StreamState.OPENING, StreamState.JOINING, StreamState.LIVE, StreamState.ROTATING):
        assert move(state, Signal.REFUSED) is StreamState.COOLING


def test_every_state_but_stopped_can_be_left() -> None:
    for state in set(StreamState) - {StreamState.STOPPED}:
        assert any(source is state and target is not state for (source, _), target in MOVES.items())
