"""The form of a commit message (CONTRIBUTING, "Commits"): `python -m harness.commit_message FILE`, as git's hook calls it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SUBJECT_CHARACTERS: Final = 120
_ENDS: Final = ("ed", "ing", "s")
"""How a first word ends that tells what was done instead of what the commit does."""
_IMPERATIVES: Final = frozenset(
    {
        "bias",
        "bring",
        "cross",
        "embed",
        "exceed",
        "feed",
        "focus",
        "need",
        "ping",
        "proceed",
        "ring",
        "seed",
        "shed",
        "speed",
        "spring",
        "string",
        "swing",
    }
)
"""Verbs that end like that all the same; a double s (`process`) is one, too."""
_SCISSORS: Final = "# ------------------------ >8 ------------------------"


def problems(message: str) -> list[str]:
    """What is wrong with the message, one sentence each; comment lines and what `git commit -v` adds are not looked at."""
    text = message.split(_SCISSORS, maxsplit=1)[0]
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        lines.pop(0)
    if not lines:
        return ["there is no message"]
    found = _subject(lines[0])
    if len(lines) > 1 and lines[1]:
        found.append("the second line is not empty: the reason is a paragraph of its own")
    return found


def _subject(subject: str) -> list[str]:
    found = []
    word = re.split(r"[\s:,]", subject)[0]
    if subject.startswith(("fixup!", "squash!", "amend!")):
        return ["a fixup has to be squashed into the commit that it repairs"]
    if len(subject) > SUBJECT_CHARACTERS:
        found.append(f"the first line has {len(subject)} characters, more than {SUBJECT_CHARACTERS}")
    if not word[:1].isupper():
        found.append("the first line does not begin with a capital letter")
    if subject.endswith("."):
        found.append("the first line ends with a full stop")
    if not word.replace("'", "").isalpha() or word.upper() == "WIP":
        found.append(f"the first word is no verb: {word!r}")
    elif word.lower().endswith(_ENDS) and not word.endswith("ss") and word.lower() not in _IMPERATIVES:
        found.append(f"the first word is not an imperative: {word!r}")
    if " " not in subject:
        found.append("one word does not tell what changes")
    return found


def main(arguments: Sequence[str]) -> int:
    """0 when the form is right, else 1 with each problem on stderr."""
    (path,) = arguments
    found = problems(Path(path).read_text(encoding="utf-8"))
    for one in found:
        sys.stderr.write(f"commit message: {one}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
