"""The picture of the life cycle in docs/architecture.md is drawn from the table. Run this file as a script to draw it."""

from __future__ import annotations

from pathlib import Path

from connector.streams.lifecycle import MOVES, Signal, StreamState

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"


def picture() -> str:
    """The table as a Mermaid state diagram, without `stop`; signals between the same two states share an arrow."""
    arrows: dict[tuple[StreamState, StreamState], list[str]] = {}
    for (state, signal), to in MOVES.items():
        if signal is not Signal.STOP:
            arrows.setdefault((state, to), []).append(signal.value)
    lines = ["stateDiagram-v2", f"    [*] --> {StreamState.WAITING.value}"]
    lines += [f"    {state.value} --> {to.value}: {', '.join(signals)}" for (state, to), signals in arrows.items()]
    return "\n".join([*lines, f"    {StreamState.STOPPED.value} --> [*]"])


def test_the_picture_is_the_table() -> None:
    block = PAGE.read_text().split("```mermaid\n", 1)[1].split("\n```", 1)[0]
    assert block == picture()


if __name__ == "__main__":
    text = PAGE.read_text()
    head, _, rest = text.partition("```mermaid\n")
    PAGE.write_text(f"{head}```mermaid\n{picture()}\n```{rest.split('```', 1)[1]}")
