"""The picture of a hand-over in docs/architecture.md is drawn from the table. Run this file as a script to draw it."""

from __future__ import annotations

from pathlib import Path

from connector.streams.passing import MOVES, Phase

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
HEADING = "### Hand-over"


def picture() -> str:
    """The table as a Mermaid state diagram; cues between the same two phases share an arrow, those that change nothing have
    none."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, cue), to in MOVES.items():
        if to is not phase:
            arrows.setdefault((phase, to), []).append(cue.value)
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.OURS.value}"]
    lines += [f"    {phase.value} --> {to.value}: {', '.join(cues)}" for (phase, to), cues in arrows.items()]
    return "\n".join(lines)


def parts(text: str) -> tuple[str, str, str]:
    before, _, section = text.partition(f"{HEADING}\n")
    head, _, rest = section.partition("```mermaid\n")
    block, _, tail = rest.partition("\n```")
    return f"{before}{HEADING}\n{head}```mermaid\n", block, f"\n```{tail}"


def test_the_picture_is_the_table() -> None:
    assert parts(PAGE.read_text())[1] == picture()


if __name__ == "__main__":
    before, _, after = parts(PAGE.read_text())
    PAGE.write_text(before + picture() + after)
