"""The hand-over as a table: every phase x cue."""

from __future__ import annotations

import pytest

from connector.streams.passing import GIVING, HEARD, MOVES, TAKING, Cue, IllegalCue, Phase, follow

EVERY = [(phase, cue) for phase in Phase for cue in Cue]


@pytest.mark.parametrize(("phase", "cue"), EVERY, ids=lambda value: value.value)
def test_every_pair_leads_somewhere_or_is_a_bug(phase: Phase, cue: Cue) -> None:
    if (phase, cue) in MOVES:
        assert follow(phase, cue) is MOVES[phase, cue]
    else:
        with pytest.raises(IllegalCue, match=phase.value):
            follow(phase, cue)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("cue", sorted(HEARD, key=lambda cue: cue.value))
def test_what_others_say_may_come_at_any_time(phase: Phase, cue: Cue) -> None:
    assert (phase, cue) in MOVES


def test_every_phase_has_a_way_back_and_is_reached() -> None:
    assert {phase for _, phase in MOVES.items()} == set(Phase)
    for phase in GIVING | TAKING:
        reached, todo = set(), [phase]
        while todo:
            at = todo.pop()
            if at not in reached:
                reached.add(at)
                todo += [to for (start, _), to in MOVES.items() if start is at]
        assert Phase.OURS in reached


@pytest.mark.parametrize("phase", sorted(GIVING, key=lambda phase: phase.value))
def test_a_giver_is_never_a_taker_before_it_has_ended(phase: Phase) -> None:
    assert {to for (start, _), to in MOVES.items() if start is phase} <= GIVING | {Phase.OURS}


def test_once_the_last_event_is_published_only_the_sinks_end_it() -> None:
    assert {cue for (phase, cue), to in MOVES.items() if phase is Phase.LEAVING and to is not phase} == {Cue.CONFIRMED}


def test_giving_and_taking_are_all_but_settled() -> None:
    assert GIVING | TAKING | {Phase.OURS} == set(Phase)
    assert not GIVING & TAKING
