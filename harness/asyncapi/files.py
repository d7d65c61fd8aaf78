"""The generated files, as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import yaml

from harness.asyncapi import schemas
from harness.asyncapi.document import document
from harness.asyncapi.examples import examples
from harness.asyncapi.page import page
from harness.asyncapi.types import types

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
HEAD: Final = "# Made by `make contract`; change the classes and harness/asyncapi instead.\n"


def files() -> dict[Path, str]:
    """Path → what must stand there."""
    contract = document(examples())
    written = yaml.safe_dump(contract, sort_keys=False, allow_unicode=True, width=120)
    return {
        DOCS / "asyncapi.yaml": HEAD + written,
        DOCS / "messages.md": page(contract),
        DOCS / "events.schema.json": json.dumps(schemas.document(), indent=1, ensure_ascii=False) + "\n",
        ROOT / "examples" / "types.d.ts": types(),
    }
